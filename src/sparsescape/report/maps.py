"""Maps: the loss on a plane as filled contours, with points and paths marked on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .numbers import finite
from .panels import log_ticks
from .style import INK, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = 14


def levels(values: Sequence[float | None]) -> list[float]:
    """Heights at which contours are drawn: even steps of the logarithm over what is there.

    >>> [round(level, 3) for level in levels([0.01, 1.0])][:2], len(levels([0.01, 1.0]))
    ([0.01, 0.014], 15)
    """
    shown = sorted(float(v) for v in values if finite(v) and v > 0)
    low, high = (shown[0], shown[-1]) if shown else (0.5, 1.0)
    high = high if high > low * 1.001 else low * 1.001
    ratio = math.log(high / low) / _LEVELS
    return [low * math.exp(ratio * step) for step in range(_LEVELS + 1)]


def contours(axes: Axes, plane: Mapping[str, Any], key: str, heights: Sequence[float]) -> None:
    """Fill a panel with the contours of one measure of a plane.

    Args:
        axes: changed in place.
        plane: ``x``, ``y`` and, under ``key``, a row of values for each y.
        key: the measure.
        heights: from :func:`levels`; shared by panels that are compared.
    """
    from matplotlib.colors import LogNorm

    rows = [[v if finite(v) else math.nan for v in row] for row in plane[key]]
    held = [[min(max(v, heights[0]), heights[-1]) for v in row] for row in rows]
    norm = LogNorm(heights[0], heights[-1])
    shape = (plane["x"], plane["y"], held)
    axes.contourf(*shape, levels=heights, cmap="viridis", norm=norm)
    axes.contour(*shape, levels=heights, colors=PAPER, linewidths=0.25, alpha=0.6)
    axes.set(xlim=(plane["x"][0], plane["x"][-1]), ylim=(plane["y"][0], plane["y"][-1]))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=2)


def mark(axes: Axes, name: str, x: float, y: float) -> None:
    """A named point on a map."""
    axes.plot([x], [y], "o", color=PAPER, markeredgecolor=INK, markersize=4.5, zorder=5)
    axes.annotate(
        name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=6.5, color=PAPER, zorder=6
    )


def way(axes: Axes, x: Sequence[float], y: Sequence[float], **drawn: Any) -> None:
    """A path on a map."""
    axes.plot(x, y, color=PAPER, linewidth=1.2, zorder=4, **drawn)


def scale(axes: Axes, heights: Sequence[float], label: str) -> None:
    """What the colours of a map mean, as an upright bar filling a panel of its own."""
    from matplotlib.colors import LogNorm

    middle = [math.sqrt(a * b) for a, b in pairwise(heights)]
    norm = LogNorm(heights[0], heights[-1])
    axes.pcolormesh([0, 1], list(heights), [[m] for m in middle], cmap="viridis", norm=norm)
    axes.set(yscale="log", ylim=(heights[0], heights[-1]), xticks=[])
    ticks = log_ticks(heights[0], heights[-1])
    axes.yaxis.tick_right()
    axes.yaxis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.yaxis.set_ticks([], minor=True)
    axes.set_title(label, fontsize=6.5, loc="left")
