"""Forest plots: a row for each name, in families, with room for its seeds and their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from .style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, HEADING = 0.17, 0.27
"""Inches: the row of a name, and a family's heading with the room above it."""


def places(families: Mapping[str, Sequence[str]]) -> tuple[dict[str, float], float]:
    """Name → how many inches below the top its row is; and the height of all rows."""
    found, down = {}, 0.0
    for members in families.values():
        down += HEADING if down else HEADING - 0.1
        for name in members:
            found[name] = down + ROW / 2
            down += ROW
    return found, down + 0.04


def write_names(
    axes: Axes,
    families: Mapping[str, Sequence[str]],
    at: Mapping[str, float],
    inches: float,
    colour: Callable[[str], str],
) -> None:
    """The families and the names in them, from so many inches left of the panel on.

    Args:
        at: the :func:`places` of the names.
        colour: of a family.
    """
    for family, members in families.items():
        _write(axes, at[members[0]] - 0.19, family, inches, colour(family), "bold")
        for name in members:
            _write(axes, at[name], name, inches - 0.08, INK, "normal")


def _write(axes: Axes, y: float, text: str, inches: float, hue: str, weight: str) -> None:
    axes.annotate(
        text, xy=(0, y), xycoords=("axes fraction", "data"), xytext=(-72 * inches + 8, 0),
        textcoords="offset points", color=hue, fontweight=weight, fontsize=7, va="center",
    )  # fmt: skip
