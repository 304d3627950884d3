"""The choices of what to open first, each with one colour everywhere."""

from __future__ import annotations

from ..style import BLUE, GRAPHITE, GREEN, ORANGE, PINK, other

CHOICES = {
    "random": GRAPHITE,
    "gradient": ORANGE,
    "path-gradient": PINK,
    "distance": BLUE,
    "neighbours": GREEN,
}
"""Told apart in every common form of colour blindness (CIELAB distance at least 14 between any
two), and 3:1 or more against white."""


def colour(choice: str) -> str:
    """The colour of a choice.

    >>> colour("neighbours")
    '#088a6a'
    """
    return CHOICES.get(choice) or other(choice)
