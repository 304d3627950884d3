"""What every figure is laid out with: a size, a grid of panels, headings, axes, rows of dots.

Layouts are set by hand, in inches: solving for one costs more than drawing does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .numbers import finite
from .style import INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0
"""Inches: the text width of a page with two columns."""


def sheet(height: float) -> Figure:
    """An empty figure of the common width; height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height))


def grid(
    figure: Figure,
    rows: int,
    columns: int,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    gap: tuple[float, float],
) -> list[list[Axes]]:
    """Rows of panels of one size.

    Args:
        left, right, top, bottom: margins, in inches.
        gap: between two panels side by side, and between one and the next below; in inches.
    """
    width, height = (float(side) for side in figure.get_size_inches())
    wide = (width - left - right - gap[0] * (columns - 1)) / columns
    high = (height - top - bottom - gap[1] * (rows - 1)) / max(1, rows)

    def panel(row: int, column: int) -> Axes:
        x = left + column * (wide + gap[0])
        y = bottom + (rows - 1 - row) * (high + gap[1])
        return figure.add_axes((x / width, y / height, wide / width, high / height))

    return [[panel(row, column) for column in range(columns)] for row in range(rows)]


def heading(axes: Axes, title: str, below: str = "", *, rise: float = 13) -> None:
    """A title at the left above a panel, ``rise`` points up, and a smaller line under it."""
    for text, up, size, hue in ((title, rise, 7.5, INK), (below, 4, 6.5, MUTED)):
        axes.annotate(
            text,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(0, up),
            textcoords="offset points",
            fontsize=size,
            color=hue,
        )


def key(
    figure: Figure, *entries: tuple[Mapping[str, Any], str], left: float, down: float = 0.055
) -> None:
    """What lines and marks mean, in a row ``down`` inches from the top: (how drawn, meaning)."""
    from matplotlib.lines import Line2D

    figure.legend(
        [Line2D([], [], **drawn) for drawn, _ in entries],
        [meaning for _, meaning in entries],
        loc="upper left",
        bbox_to_anchor=(left / WIDTH, 1 - down / figure.get_figheight()),
        ncols=len(entries),
        columnspacing=2,
    )


def dots(
    axes: Axes, x: Sequence[float], y: Sequence[float], hue: str, *, size: float = 4.2
) -> None:
    """A dot for each measurement, set off from what lies under it."""
    edge: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.5}
    axes.plot(x, y, "o", color=hue, markersize=size, zorder=4, clip_on=False, **edge)


def beside(place: float, n: int, height: float) -> list[float]:
    """Where n dots of one row stand, so that equal ones do not hide each other.

    >>> beside(2, 3, 0.75)
    [1.75, 2.0, 2.25]
    """
    return [place + height * ((i + 0.5) / n - 0.5) for i in range(n)]


def mean_and_reach(
    axes: Axes,
    place: float,
    of: Mapping[str, Any],
    hue: str,
    scale: float = 1.0,
    row: float = 1.0,
) -> None:
    """The mean of a row as an upright line, its interval as a band; both end at the frame.

    Args:
        axes: changed in place.
        place: where the row is.
        of: an interval; what it lacks is not drawn.
        hue: its colour.
        scale: of the axis: 100 for shares that are shown as percentages.
        row: the height of a row.
    """
    left, right = axes.get_xlim()
    mean, low, high = (of.get(end) for end in ("mean", "low", "high"))
    if finite(low) and finite(high):
        reach = [min(max(end * scale, left), right) for end in (low, high)]
        axes.plot(reach, [place] * 2, color=hue, linewidth=7, alpha=0.2, solid_capstyle="butt")
    if finite(mean) and left <= mean * scale <= right:
        axes.plot(
            [mean * scale] * 2, [place - 0.3 * row, place + 0.3 * row], color=hue, linewidth=1.4
        )


def loss_axis(axes: Axes, which: str, values: Iterable[float | None]) -> None:
    """Limits, scale and ticks that fit the losses: logarithmic where they span a factor of 30.

    Args:
        axes: changed in place.
        which: ``"x"`` or ``"y"``.
        values: all losses to be seen on the axis; those that are not finite do not count.
    """
    shown = sorted(float(value) for value in values if finite(value))
    low, high = (shown[0], shown[-1]) if shown else (0.0, 1.0)
    if low > 0 and high / low >= 30:
        low = max(low, high * 1e-6)
        axes.set(**{f"{which}scale": "log", f"{which}lim": (low / 1.4, high * 1.4)})
        ticks = log_ticks(low / 1.4, high * 1.4)
    else:
        margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
        bottom = min(0.0, low) if low < 0.35 * high else low
        axes.set(**{f"{which}lim": (bottom - margin, high + margin)})
        ticks = linear_ticks(bottom, high)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def in_view(values: Sequence[float], better: int, means: Sequence[float]) -> list[float]:
    """The values to fit an axis to: all but those so bad that they would squash the rest.

    Bad is further on the worse side of the lower (or upper) quarter than three times what lies
    between the quarters of the means.

    Args:
        values: what may be shown.
        better: 1 where more is better, -1 where less is.
        means: what is typical; fewer than four say nothing.

    >>> in_view([97.0, 96.0, 10.0], 1, [98.0, 97.0, 96.0, 95.0, 10.0])
    [97.0, 96.0]
    """
    if len(means) < 4:
        return list(values)
    worst = sorted(better * mean for mean in means)
    low, high = worst[len(worst) // 4], worst[3 * len(worst) // 4]
    return [value for value in values if better * value >= low - 3 * (high - low)]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as can be to those wanted, in their order, at least ``gap`` apart.

    The nearest in least squares: neighbours that would overlap are pooled around their mean.

    Args:
        wanted: sorted from low to high.
        gap: the least distance.
        low, high: no place lies outside these, while there is room for all between them.

    >>> spread([0.5, 0.5, 0.9], 0.25, 0.0, 1.0)
    [0.375, 0.625, 0.9]
    """
    pools: list[tuple[float, int]] = []
    for i, want in enumerate(wanted):
        mean, size = want - i * gap, 1
        while pools and pools[-1][0] > mean:
            before, members = pools.pop()
            mean = (before * members + mean * size) / (members + size)
            size += members
        pools.append((mean, size))
    last = max(low, high - (len(wanted) - 1) * gap)
    starts = [min(max(mean, low), last) for mean, size in pools for _ in range(size)]
    return [start + i * gap for i, start in enumerate(starts)]


def log_ticks(low: float, high: float) -> list[float]:
    """At most six round numbers: powers of ten, with 2 and 5 between them where there is room.

    >>> log_ticks(0.02, 3), log_ticks(1e-4, 8)
    ([0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0], [0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: Sequence[int] = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def linear_ticks(low: float, high: float) -> list[float]:
    """Three to eight multiples of 1, 2 or 5 times a power of ten.

    >>> linear_ticks(0, 2.3)
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    width = (high - low) / 4 or 1.0
    power = 10.0 ** math.floor(math.log10(width))
    step = next(m for m in (1, 2, 5, 10) if m * power >= width * 0.7) * power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]
