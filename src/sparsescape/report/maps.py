"""Maps: the loss on a plane as filled contours, with points and paths marked on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .numbers import finite
from .panels import linear_ticks
from .style import INK, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = 14


def loss_levels(values: Sequence[float | None]) -> list[float]:
    """Where contours of losses are drawn: even steps of the logarithm over what is there.

    >>> [round(level, 3) for level in loss_levels([0.01, 1.0])][:2], len(loss_levels([0.01, 1.0]))
    ([0.01, 0.014], 15)
    """
    shown = sorted(float(v) for v in values if finite(v) and v > 0)
    low, high = (shown[0], shown[-1]) if shown else (0.5, 1.0)
    ratio = math.log(max(high / low, _FLAT)) / _LEVELS
    return [low * math.exp(ratio * step) for step in range(_LEVELS + 1)]


def share_levels(values: Sequence[float | None]) -> list[float]:
    """Where contours of accuracies are drawn: even steps over what is there.

    >>> [round(level, 2) for level in share_levels([0.3, 1.0])][:3]
    [0.3, 0.35, 0.4]
    """
    shown = sorted(float(v) for v in values if finite(v))
    low, high = (shown[0], shown[-1]) if shown else (0.0, 1.0)
    step = max(high - low, _FLAT - 1) / _LEVELS
    return [low + step * number for number in range(_LEVELS + 1)]


_FLAT = 1.001  # a map on which the loss differs by less than 0.1 % has one colour


def contours(axes: Axes, plane: Mapping[str, Any], key: str, heights: Sequence[float]) -> None:
    """Fill a panel with the contours of one measure of a plane.

    Args:
        axes: changed in place.
        plane: ``x``, ``y`` and, under ``key``, a row of values for each y.
        key: the measure.
        heights: ascending levels; shared by panels that are compared.
    """
    rows = [[v if finite(v) else heights[-1] for v in row] for row in plane[key]]
    held = [[min(max(v, heights[0]), heights[-1]) for v in row] for row in rows]
    shape = (plane["x"], plane["y"], held)
    axes.contourf(*shape, levels=heights, **_colours(heights))
    axes.contour(*shape, levels=heights, colors=PAPER, linewidths=0.25, alpha=0.6)
    axes.set(xlim=(plane["x"][0], plane["x"][-1]), ylim=(plane["y"][0], plane["y"][-1]))
    for side, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        ticks = linear_ticks(plane[side][0], plane[side][-1])
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=2)


def _colours(heights: Sequence[float]) -> dict[str, Any]:
    """One colour between each two levels, whatever their steps."""
    from matplotlib.colors import BoundaryNorm

    return {"cmap": "viridis", "norm": BoundaryNorm(heights, 256)}


def mark(axes: Axes, name: str, x: float, y: float) -> None:
    """A named point on a map."""
    axes.plot([x], [y], "o", color=PAPER, markeredgecolor=INK, markersize=4.5, zorder=5)
    axes.annotate(
        name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=6.5, color=PAPER, zorder=6
    )


def way(axes: Axes, x: Sequence[float], y: Sequence[float], **drawn: Any) -> None:
    """A path on a map."""
    axes.plot(x, y, color=PAPER, linewidth=1.2, zorder=4, **drawn)


def scale(axes: Axes, heights: Sequence[float]) -> None:
    """What the colours of a map mean, as an upright bar filling a panel of its own."""
    middle = [math.sqrt(a * b) if a > 0 else (a + b) / 2 for a, b in pairwise(heights)]
    places = range(len(heights))
    axes.pcolormesh([0, 1], places, [[m] for m in middle], **_colours(heights))
    ticks = [*places[::3], places[-1]] if len(places) % 3 != 1 else list(places[::3])
    axes.yaxis.tick_right()
    axes.set(xticks=[])
    axes.yaxis.set_ticks(ticks, labels=_told_apart([heights[tick] for tick in ticks]))
    for spine in axes.spines.values():
        spine.set_visible(False)


def _told_apart(values: Sequence[float]) -> list[str]:
    """The values with as few digits as tell neighbours apart, two at least.

    >>> _told_apart([0.05, 1.25, 7.0]), _told_apart([2.301, 2.302])
    (['0.05', '1.2', '7'], ['2.301', '2.302'])
    """
    for digits in range(2, 8):
        texts = [f"{float(f'{value:.{digits}g}'):g}" for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts
