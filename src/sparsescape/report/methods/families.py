"""The families of methods, each with one colour everywhere, and what stands in which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..style import BLUE, GRAPHITE, GREEN, ORANGE, PINK, RED, other
from ..tables import Results

FAMILIES = {
    "baseline": GRAPHITE,
    "fixed mask": ORANGE,
    "at initialization": BLUE,
    "dense to sparse": GREEN,
    "sparse to sparse": PINK,
    "structured": RED,
}
"""Told apart in every common form of colour blindness (CIELAB distance at least 14 between any
two), and 3:1 or more against white."""


def colour(family: str) -> str:
    """The colour of a family.

    >>> colour("dense to sparse")
    '#088a6a'
    """
    return FAMILIES.get(family) or other(family)


def family_of(results: Results) -> dict[str, str]:
    """Method → family, in the order of the study."""
    return {method["name"]: method["family"] for method in results["methods"]}


def in_families(results: Results, best_first: Sequence[str]) -> dict[str, list[str]]:
    """Family → its methods, best first; families in the order of the study.

    >>> methods = [{"name": n, "family": f} for n, f in (("set", "s"), ("snip", "i"), ("x", "s"))]
    >>> in_families({"methods": methods}, ["snip", "x", "set"])
    {'s': ['x', 'set'], 'i': ['snip']}
    """
    family = family_of(results)
    members: dict[str, list[str]] = {name: [] for name in dict.fromkeys(family.values())}
    for method in best_first:
        members[family[method]].append(method)
    return {name: methods for name, methods in members.items() if methods}


def colours(families: Iterable[str]) -> dict[str, str]:
    """Family → colour."""
    return {family: colour(family) for family in families}
