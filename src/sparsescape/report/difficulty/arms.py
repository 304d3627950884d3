"""The arms of a difficulty study, each with one colour everywhere."""

from __future__ import annotations

from ..style import BLUE, GRAPHITE, GREEN, INK, ORANGE, PINK, other

ARMS = {
    "dense": GRAPHITE,
    "pruned": GREEN,
    "lottery": BLUE,
    "scratch": ORANGE,
    "scratch-fan-in": PINK,
}
"""Told apart in every common form of colour blindness (CIELAB distance at least 14 between any
two), and 3:1 or more against white."""


def colour(name: str) -> str:
    """The colour of an arm; the initialization, which is no arm, is ink.

    >>> colour("pruned"), colour("initialization")
    ('#088a6a', '#1f2328')
    """
    if name == "initialization":
        return INK
    return ARMS.get(name) or other(name)
