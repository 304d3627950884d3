"""The figures of an escape study: how far every way gets, with how many weights, at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import forest, panels
from ..numbers import finite
from ..style import FAINT, MUTED
from ..tables import Results, Row
from . import tables
from .families import colour, family_of, members

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGL = (("rigl", (0, (1, 1.4))), ("rigl 0.1", (0, (4, 2))))


# ---------------------------------------------------------------------------- how far


def closed(results: Results) -> Figure:
    """A row per way, a dot per seed: the share of the gap closed, and the test accuracy beside it.

    An arrow at the frame is a seed that lies beyond it, a cross one that diverged.
    """
    families = members(results)
    places, height = forest.places(families)
    left = 0.2 + 0.06 * max([10, *map(len, places)])
    figure = panels.sheet(height + 0.86)
    [pair] = panels.grid(figure, 1, 2, left=left, right=0.15, top=0.42, bottom=0.44, gap=(0.25, 0))
    reach = _reach(results["runs"])
    for axes, (name, key, what) in zip(pair, _MEASURES, strict=True):
        values = [100 * run[key] for run in _judged(results) if finite(run[key])]
        low, high = reach if key == "closed" else (min(values, default=0), max(values, default=1))
        margin = 0.0 if key == "closed" else 0.06 * (high - low) or 1.0
        axes.set(xlim=(low - margin, high + margin), ylim=(height, 0), yticks=[], xlabel=what)
        axes.set_xticks(panels.linear_ticks(low, high))
        axes.spines["left"].set_visible(False)
        panels.heading(axes, name, rise=12)
        _ends(axes, results, key)
        _forest(axes, results, key, places)
    forest.write_names(pair[0], families, places, left, colour)
    return figure


_MEASURES = (
    ("Training loss", "closed", "gap to the pruned solution closed, %"),
    ("Test accuracy", "test_accuracy", "test accuracy, %"),
)


def _judged(results: Results) -> list[Row]:
    return [run for run in results["runs"] if finite(run["closed"])]


def _reach(runs: Iterable[Row]) -> tuple[float, float]:
    """From the worst to the best share closed, in per cent, but at most as far below 0 as 100 is
    above."""
    shares = [100 * run["closed"] for run in runs if finite(run["closed"])]
    return max(-100.0, min([0.0, *shares])) - 4, max([100.0, *shares]) + 4


def _ends(axes: Axes, results: Results, key: str) -> None:
    """Where the bad solutions and the pruned ones are."""
    where: dict[str, float | None] = {"bad": 0.0, "pruned": 1.0}
    if key != "closed":
        where = {"bad": _mean(results, "scratch", key), "pruned": _mean(results, "pruned", key)}
    low, high = axes.get_xlim()
    for name, side in (("bad", "right"), ("pruned", "left")):
        share = where[name]
        if finite(share) and low <= 100 * share <= high:
            axes.axvline(100 * share, color=MUTED, linewidth=0.6, zorder=0)
            side = side if 100 * share < high - 0.1 * (high - low) else "right"
            axes.text(
                100 * share, 1, f" {name} ", transform=axes.get_xaxis_transform(), ha=side,
                va="bottom", fontsize=6.3, color=MUTED,
            )  # fmt: skip


def _forest(axes: Axes, results: Results, key: str, places: Mapping[str, float]) -> None:
    low, high = axes.get_xlim()
    family, rows = family_of(results), tables.rows(results)
    axes.hlines(list(places.values()), low, high, color=FAINT, linewidth=0.5, zorder=0)
    for way, place in places.items():
        hue = colour(family[way])
        if way in rows:
            panels.mean_and_reach(axes, place, rows[way][key], hue, 100.0, forest.ROW)
        runs = [run for run in results["runs"] if run["way"] == way]
        for run, y in zip(runs, panels.beside(place, len(runs), 0.6 * forest.ROW), strict=True):
            _seed(axes, run, key, y, hue)


def _seed(axes: Axes, run: Row, key: str, y: float, hue: str) -> None:
    """A dot; an arrow where it lies beyond the frame, a cross where it diverged."""
    low, _ = axes.get_xlim()
    if run["diverged"]:
        axes.plot(low, y, "x", color=hue, markersize=3.2, zorder=4, clip_on=False)
    elif finite(run["closed"]) and finite(run[key]):
        inside = 100 * run[key] >= low
        if inside:
            panels.dots(axes, [100 * run[key]], [y], hue, size=3.6)
        else:
            axes.plot(low, y, "<", color=hue, markersize=3.2, zorder=4, clip_on=False)


# ---------------------------------------------------------------------------- how many


def sweep(results: Results) -> Figure:
    """What is reached against the number of weights that a round opens, beside RigL's."""
    figure = panels.sheet(2.5)
    [pair] = panels.grid(figure, 1, 2, left=0.55, right=0.15, top=0.62, bottom=0.46, gap=(0.5, 0))
    opened = [run for run in _judged(results) if run["opened"] is not None]
    counts = sorted({run["opened"] for run in opened}) or [1]
    beside = [run for run in _judged(results) if run["way"] in dict(_RIGL)]
    for axes, (name, key, what) in zip(pair, _MEASURES, strict=True):
        values = [100 * run[key] for run in (*opened, *beside) if finite(run[key])]
        low, high = _reach(opened) if key == "closed" else (min(values, default=0), 100.0)
        axes.set(xscale="log", xlim=(counts[0] / 1.6, counts[-1] * 1.6), ylim=(low, high))
        ticks = sorted({run["opened"] for run in opened if run["open"] != "measured"})
        axes.set_xticks(ticks, labels=[f"{count:g}" for count in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks(panels.linear_ticks(low, high))
        axes.grid(True)
        axes.set_xlabel("weights opened, at first")
        panels.heading(axes, name, what)
        _beside_rigl(axes, tables.rows(results), key)
        _swept(axes, results, opened, key)
    pink = colour("drop and grow")
    lines = [({"color": pink, "linestyle": dash, "linewidth": 1}, name) for name, dash in _RIGL]
    blue = {"color": colour("open and prune back")}
    panels.key(figure, (blue, "open and prune back, mean"), *lines, left=0.55)
    return figure


def _beside_rigl(axes: Axes, rows: Mapping[str, Row], key: str) -> None:
    for name, dash in _RIGL:
        mean = rows[name][key]["mean"] if name in rows else None
        if finite(mean):
            hue = colour("drop and grow")
            axes.axhline(100 * mean, color=hue, linestyle=dash, linewidth=1, zorder=1)


def _swept(axes: Axes, results: Results, runs: Sequence[Row], key: str) -> None:
    """The mean and its interval over the fixed numbers; a dot for every run."""
    hue, rows = colour("open and prune back"), tables.rows(results)
    fixed = sorted({run["opened"]: run["way"] for run in runs if run["open"] != "measured"}.items())
    means = [(x, rows[way][key]) for x, way in fixed if finite(rows[way][key]["mean"])]
    axes.plot([x for x, _ in means], [100 * of["mean"] for _, of in means], color=hue, zorder=3)
    reach = [(x, of) for x, of in means if finite(of["low"]) and finite(of["high"])]
    axes.fill_between(
        [x for x, _ in reach], [100 * of["low"] for _, of in reach],
        [100 * of["high"] for _, of in reach], color=hue, alpha=0.15, linewidth=0,
    )  # fmt: skip
    low, _ = axes.get_ylim()
    for run in runs:
        if finite(run[key]) and 100 * run[key] >= low:
            panels.dots(axes, [run["opened"]], [100 * run[key]], hue, size=3.2)


# ---------------------------------------------------------------------------- along the way


def trajectories(results: Results) -> Figure:
    """Training loss over all examples against FLOPs: a panel per family, means over bad seeds."""
    families = members(results)
    rows = max(1, (len(families) + 1) // 2)
    figure = panels.sheet(2.1 * rows + 0.2)
    grid = panels.grid(
        figure, rows, 2, left=0.5, right=0.12, top=0.42, bottom=0.46, gap=(0.45, 0.78)
    )
    axes = [panel for row in grid for panel in row]
    unit = tables.bad_flops(results) or 1.0
    found = {way: _mean_path(results, way, unit) for way in family_of(results)}
    ends = {arm: _mean(results, arm, "train_loss") for arm in ("scratch", "pruned")}
    losses = [y for path in found.values() for _, y in path] + list(ends.values())
    for panel, (family, ways) in zip(axes, families.items(), strict=False):
        panels.loss_axis(panel, "y", losses)
        panel.set_xlabel("training FLOPs, of the bad solution’s own")
        panel.grid(True)
        panels.heading(panel, family[:1].upper() + family[1:], "training loss")
        for arm, dash in (("scratch", (0, (4, 2))), ("pruned", (0, (1, 1.4)))):
            end = ends[arm]
            if finite(end):
                panel.axhline(end, color=MUTED, linewidth=0.7, linestyle=dash, zorder=0)
        _draw_paths(panel, {way: found[way] for way in ways}, colour(family))
    for panel in axes[len(families) :]:
        panel.remove()
    return figure


def _mean_path(results: Results, way: str, unit: float) -> list[tuple[float, float]]:
    """(FLOPs, loss) along the runs of a way, the means over its bad seeds."""
    runs = [
        run["trajectory"] for run in results["runs"] if run["way"] == way and finite(run["closed"])
    ]
    if not runs:
        return []
    length = min(len(run["train_loss"]) for run in runs)

    def mean(key: str, i: int) -> float:
        return sum(run[key][i] for run in runs) / len(runs)

    return [(mean("flops", i) / unit, mean("train_loss", i)) for i in range(length)]


def _mean(results: Results, arm: str, key: str) -> float | None:
    """What the bad seeds' solutions of one arm reach, in the mean."""
    bad = tables.bad_seeds(results)
    ends = [s for s in results["solutions"] if s["arm"] == arm and s["seed"] in bad]
    known = [s[key] for s in ends if finite(s[key])]
    return sum(known) / len(known) if known else None


_STROKES: Sequence[Any] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))


def _draw_paths(axes: Axes, paths: Mapping[str, Sequence[tuple[float, float]]], hue: str) -> None:
    """The ways of a family, told apart by their strokes and their strength."""
    for number, (way, path) in enumerate(paths.items()):
        strength = 1.0 - 0.5 * (number // len(_STROKES)) - 0.12 * (number % len(_STROKES))
        axes.plot(
            [x for x, _ in path], [y for _, y in path], color=hue, linewidth=1.1,
            linestyle=_STROKES[number % len(_STROKES)], alpha=max(0.35, strength), label=way,
        )  # fmt: skip
    axes.legend(loc="upper right", ncols=2 if len(paths) > 4 else 1, columnspacing=1.2)
