"""The families of ways out, each with one colour everywhere."""

from __future__ import annotations

from ..style import BLUE, GREEN, ORANGE, PINK, other
from ..tables import Results

FAMILIES = {
    "same mask": ORANGE,
    "drop and grow": PINK,
    "open and prune back": BLUE,
    "dense detour": GREEN,
}
"""Told apart in every common form of colour blindness (CIELAB distance at least 14 between any
two), and 3:1 or more against white."""


def colour(family: str) -> str:
    """The colour of a family.

    >>> colour("dense detour")
    '#088a6a'
    """
    return FAMILIES.get(family) or other(family)


def family_of(results: Results) -> dict[str, str]:
    """Way → family, in the order of the study."""
    return {way["name"]: way["family"] for way in results["ways"]}


def members(results: Results) -> dict[str, list[str]]:
    """Family → its ways, both in the order of the study."""
    found: dict[str, list[str]] = {}
    for way, family in family_of(results).items():
        found.setdefault(family, []).append(way)
    return found


def colours(results: Results) -> dict[str, str]:
    """Family → colour."""
    return {family: colour(family) for family in members(results)}
