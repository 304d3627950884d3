"""The figures of a methods study: what every method reaches, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import forest, panels
from ..numbers import finite, number
from ..style import FAINT, INK, MUTED, PAPER
from ..tables import Results, Row
from . import standing
from .families import colour, colours, family_of, in_families
from .standing import BUDGETS, REFERENCE, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL = 0.135
"""Inches between the labels of two methods."""


def methods(results: Results) -> Figure:
    """A row per method, a dot per seed, the mean and its interval; equal steps beside equal FLOPs.

    Families in their order, the best at equal steps first in each; a cross at the frame is a run
    that diverged, an arrow one that lies beyond it.
    """
    by, budgets = standing.measure(results), standing.budgets(results)
    families = in_families(results, standing.best_first(results))
    places, height = forest.places(families)
    left = 0.2 + 0.06 * max([10, *map(len, places), *map(len, families)])
    gain = 0.88
    figure = panels.sheet(height + 0.82)
    [row_of_axes] = panels.grid(
        figure, 1, max(1, len(budgets)), left=left, right=gain, top=0.4, bottom=0.42,
        gap=(gain + 0.12, 0),
    )  # fmt: skip
    dots = [run[by.key] * by.scale for run in results["runs"] if finite(run[by.key])]
    means = [_mean(row, by) for row in results["table"]]
    seen = panels.in_view(dots, by.better, [mean for mean in means if finite(mean)])
    for axes, budget in zip(row_of_axes, budgets, strict=False):
        panels.loss_axis(axes, "x", seen)
        axes.set(ylim=(height, 0), yticks=[], xlabel=by.name)
        axes.spines["left"].set_visible(False)
        panels.heading(axes, f"At {BUDGETS[budget]}", rise=12)
        _forest(axes, results, budget, by, places)
    forest.write_names(row_of_axes[0], families, places, left, colour)
    return figure


def cost(results: Results) -> Figure:
    """What every method reaches against what its training cost, every point with its name."""
    by, budgets = standing.measure(results), standing.budgets(results)
    dense = standing.dense_flops(results)
    points = {budget: _points(results, budget, by, dense or 1.0) for budget in budgets}
    points = {budget: found for budget, found in points.items() if found}
    most = max(map(len, points.values()), default=0)
    figure = panels.sheet(max(2.6, _LABEL * most) + 0.9)
    wide = 0.3 + 0.058 * max([10, *(len(name) for found in points.values() for name in found)])
    [[axes]] = panels.grid(
        figure, 1, 1, left=wide if len(points) > 1 else 0.6, right=wide, top=0.46, bottom=0.44,
        gap=(0, 0),
    )  # fmt: skip
    everything = [point for found in points.values() for point in found.values()]
    _cost_axes(axes, everything, by, relative=dense is not None)
    cheap_first = sorted(
        points, key=lambda budget: _middle([x for x, _ in points[budget].values()])
    )
    family = family_of(results)
    for budget, side in zip(cheap_first[::-1], ("right", "left"), strict=False):
        _label(axes, side, points[budget], family)
        for name, (x, y) in points[budget].items():
            _mark(axes, x, y, budget, colour(family[name]))
    marks = {b: {"color": INK, "linestyle": "", **_MARKS[b]} for b in BUDGETS if b in points}
    panels.key(figure, *((marks[b], f"at {BUDGETS[b]}") for b in marks), left=0.1)
    there = dict.fromkeys(family[name] for found in points.values() for name in found)
    dots = [
        ({"color": hue, "linestyle": "", "marker": "o"}, f) for f, hue in colours(there).items()
    ]
    panels.key(figure, *dots, left=0.1, down=0.17)
    return figure


# ---------------------------------------------------------------------------- the forest


def _forest(
    axes: Axes, results: Results, budget: str, by: Measure, places: Mapping[str, float]
) -> None:
    left, right = axes.get_xlim()
    family, rows = family_of(results), standing.at(results, budget)
    reference = _mean(rows.get(REFERENCE, {}), by)
    if finite(reference) and left <= reference <= right:
        hue = colour(family[REFERENCE])
        axes.axvline(reference, color=hue, linewidth=0.7, linestyle=(0, (1, 1.4)), zorder=0)
    axes.hlines(list(places.values()), left, right, color=FAINT, linewidth=0.5, zorder=0)
    for method, place in places.items():
        runs = [
            run for run in results["runs"] if (run["method"], run["budget"]) == (method, budget)
        ]
        row, hue = rows.get(method, {}), colour(family[method])
        panels.mean_and_reach(axes, place, row.get(by.key) or {}, hue, by.scale, forest.ROW)
        _seeds(axes, place, runs, hue, by)
        _gain(axes, place, row, by)


def _seeds(axes: Axes, place: float, runs: Sequence[Row], hue: str, by: Measure) -> None:
    """A mark for each seed: a dot, an arrow to what is out of view, a cross where it diverged."""
    left, right = axes.get_xlim()
    beyond = left if by.better > 0 else right
    arrow = "<" if by.better > 0 else ">"
    seen: list[tuple[float, float]] = []
    for run, y in zip(runs, panels.beside(place, len(runs), 0.6 * forest.ROW), strict=True):
        value = run[by.key] * by.scale if finite(run[by.key]) else None
        if value is not None and left <= value <= right:
            seen.append((value, y))
        elif value is not None or run["diverged"]:
            marker = "x" if run["diverged"] else arrow
            axes.plot(beyond, y, marker, color=hue, markersize=3.2, zorder=4, clip_on=False)
    if seen:
        panels.dots(axes, [x for x, _ in seen], [y for _, y in seen], hue, size=3.6)


def _gain(axes: Axes, place: float, row: Row, by: Measure) -> None:
    """The gain in numbers, at the right of its row; faint where its interval holds 0."""
    if row and row["method"] == REFERENCE:
        text = "reference"
    else:
        text = by.gain_shown(row.get("gain")) if row else "not run"
    clear = standing.verdict(row.get("gain")) in ("beats", "behind")
    where = axes.get_yaxis_transform()
    hue = INK if clear and text != "reference" else MUTED
    axes.annotate(
        text, xy=(1, place), xycoords=where, xytext=(6, 0), textcoords="offset points",
        color=hue, va="center", fontsize=6.3,
    )  # fmt: skip


# ---------------------------------------------------------------------------- the cost

_MARKS: Mapping[str, Mapping[str, Any]] = {
    "steps": {"marker": "o"},
    "flops": {"marker": "o", "markerfacecolor": PAPER},
}


def _points(
    results: Results, budget: str, by: Measure, unit: float
) -> dict[str, tuple[float, float]]:
    """Method → (FLOPs, measure), the best first; what lacks one of them is left out."""
    found = {}
    for method, row in standing.at(results, budget).items():
        flops, value = (row.get("flops") or {}).get("mean"), _mean(row, by)
        if finite(flops) and flops > 0 and finite(value):
            found[method] = (flops / unit, value)
    return found


def _cost_axes(
    axes: Axes, points: Sequence[tuple[float, float]], by: Measure, *, relative: bool
) -> None:
    costs = [x for x, _ in points] or [1.0]
    low, high = min(costs) / 1.5, max(costs) * 1.5
    axes.set(xscale="log", xlim=(low, high))
    ticks = panels.log_ticks(low, high)
    axes.set_xticks(ticks, labels=[f"{tick:g}×" if relative else f"{tick:.0e}" for tick in ticks])
    axes.set_xticks([], minor=True)
    values = [y for _, y in points]
    panels.loss_axis(axes, "y", panels.in_view(values, by.better, values))
    axes.yaxis.set_ticks_position("left")
    axes.grid(True)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("training FLOPs, of those of dense training" if relative else "training FLOPs")
    axes.tick_params(axis="y", direction="in", pad=-3)
    for label in axes.get_yticklabels():
        label.set(horizontalalignment="left", verticalalignment="bottom", fontsize=6)
    axes.text(0, 1.01, by.name, transform=axes.transAxes, fontsize=7, color=MUTED)


def _mark(axes: Axes, x: float, y: float, budget: str, hue: str) -> None:
    """A point; one that is out of view is an arrow at the frame."""
    low, high = axes.get_ylim()
    inside = min(max(y, low), high)
    style = dict(_MARKS[budget], marker="o" if inside == y else "v" if y < low else "^")
    axes.plot(x, inside, color=hue, markersize=4.4, zorder=4, clip_on=False, **style)


def _label(
    axes: Axes,
    side: str,
    points: Mapping[str, tuple[float, float]],
    family: Mapping[str, str],
) -> None:
    """The names at one side, in the order of their points, each tied to its own."""
    low, high = axes.get_ylim()
    names = sorted(points, key=lambda name: points[name][1])
    to_frame = axes.transScale + axes.transLimits
    placed = [points[name] for name in names]
    framed = [to_frame.transform((x, min(max(y, low), high))) for x, y in placed]
    inches = axes.get_window_extent().height / axes.figure.dpi
    spots = panels.spread([float(y) for _, y in framed], _LABEL / inches, 0.0, 1.0)
    edge, bend, text = (1.0, 0.94, 1.02) if side == "right" else (0.0, 0.06, -0.02)
    for name, (x, y), spot in zip(names, framed, spots, strict=True):
        hue, value = colour(family[name]), points[name][1]
        out = "" if low <= value <= high else f" ({number(value)})"
        axes.plot([x, bend, edge, (edge + text) / 2], [y, y, spot, spot],
                  transform=axes.transAxes, color=hue, linewidth=0.5, alpha=0.45, zorder=1,
                  clip_on=False)  # fmt: skip
        axes.text(text, spot, name + out, transform=axes.transAxes, color=hue, fontsize=6.5,
                  ha="left" if side == "right" else "right", va="center")  # fmt: skip


def _mean(row: Row, by: Measure) -> float | None:
    mean = (row.get(by.key) or {}).get("mean")
    return mean * by.scale if finite(mean) else None


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
