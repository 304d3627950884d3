"""The figures of a difficulty study: one function each, from results to a matplotlib figure.

Lines are means over seeds; bands and dots show every seed, from the lowest to the highest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import panels
from ..numbers import finite, number
from ..style import FAINT, INK, MUTED
from ..tables import Results, Row
from .arms import colour
from .tables import degree

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTTED = (0, (1, 1.4))
_DASHES: Mapping[int, Any] = {2: "solid", 3: (0, (3.5, 1.4)), 0: "dashdot"}
_SPACES = {"sparse": "held in the sparse subspace", "dense": "free in all of weight space"}


def solutions(results: Results) -> Figure:
    """Where training ends: a row per arm, a dot per seed, the mean and its interval."""
    arms = list(results["arms"])
    accurate = any(finite(row["test_accuracy"]) for row in results["solutions"])
    second = ("test_accuracy", "test accuracy, %") if accurate else ("test_loss", "test loss")
    figure = panels.sheet(0.55 + 0.33 * len(arms))
    [[left, right]] = panels.grid(
        figure, 1, 2, left=0.98, right=0.15, top=0.06, bottom=0.42, gap=(0.35, 0)
    )
    _forest(left, results, "train_loss", "training loss")
    _forest(right, results, *second)
    for place, arm in enumerate(arms):
        _name(left, place, arm, [row for row in results["solutions"] if row["arm"] == arm])
    return figure


def lines(results: Results) -> Figure:
    """The loss along each straight line, a little beyond both of its ends."""
    names = list(dict.fromkeys(row["name"] for row in results["lines"]))
    columns = min(4, max(1, len(names)))
    rows = max(1, -(-len(names) // columns))
    figure = panels.sheet(0.4 + 1.62 * rows)
    grid = panels.grid(
        figure, rows, columns, left=0.56, right=0.1, top=0.62, bottom=0.4, gap=(0.16, 0.6)
    )
    cells = [axes for row in grid for axes in row]
    seen = _losses(results["lines"], "train_loss", "test_loss")
    for place, (axes, name) in enumerate(zip(cells, names, strict=False)):
        walks = [row for row in results["lines"] if row["name"] == name]
        first, last = walks[0]["from"], walks[0]["to"]
        hue = colour(last if first == "initialization" else first)
        _along(axes, walks, "test_loss", color=MUTED, linestyle=_DOTTED, linewidth=0.9)
        mean = _along(axes, walks, "train_loss", color=hue, band=True)
        _dress(axes, walks[0]["t"], seen)
        _ends(axes, walks[0]["t"], mean, first, last)
        axes.set_xlabel("t" if place + columns >= len(names) else "")
        panels.heading(axes, name, _summary(walks))
    for row_of_axes in grid:
        _share_losses(row_of_axes, "loss")
    for axes in cells[len(names) :]:
        axes.remove()
    training = {"color": INK, "linestyle": "solid"}
    test = {"color": MUTED, "linestyle": _DOTTED}
    panels.key(figure, (training, "training"), (test, "test"), left=0.56)
    return figure


def curves(results: Results) -> Figure:
    """The loss along the paths searched for: sparse beside dense, a row of panels per start."""
    starts = _distinct(results["curves"], "start")
    figure = panels.sheet(0.15 + 2.2 * len(starts))
    grid = panels.grid(
        figure,
        len(starts),
        len(_SPACES),
        left=0.56,
        right=0.1,
        top=0.62,
        bottom=0.4,
        gap=(0.3, 0.9),
    )
    for start, row in zip(starts, grid, strict=True):
        found = [walk for walk in results["curves"] if walk["start"] == start]
        straight = _straight(results, start)
        seen = _in_view(_losses(found, "train_loss"), _losses(straight, "train_loss"))
        for space, axes in zip(_SPACES, row, strict=True):
            here = [walk for walk in found if walk["space"] == space]
            _bundle(axes, start, straight, here)
            _dress(axes, [0.0, 1.0], seen)
            panels.heading(axes, f"{start} → pruned, {_SPACES[space]}", rise=31)
            axes.set_xlabel("t" if start == starts[-1] else "")
        _share_losses(row, "training loss")
    return figure


def effort(results: Results) -> Figure:
    """The smallest climb so far against the passes that were spent: sparse beside dense."""
    starts = _distinct(results["curves"], "start")
    figure = panels.sheet(0.25 + 1.75 * len(starts))
    grid = panels.grid(
        figure, len(starts), 2, left=0.66, right=0.1, top=0.45, bottom=0.4, gap=(0.3, 0.75)
    )
    for start, row in zip(starts, grid, strict=True):
        found = [walk for walk in results["curves"] if walk["start"] == start]
        courses = {space: _courses(found, space) for space in _SPACES}
        seen = [climb for of in courses.values() for course in of for _, climb in course]
        for space, axes in zip(_SPACES, row, strict=True):
            for course in courses[space]:
                passes, climbs = zip(*course, strict=True)
                axes.step(passes, climbs, color=colour(start), linewidth=1.0, where="post")
                panels.dots(axes, passes, climbs, colour(start), size=3.4)
            panels.loss_axis(axes, "y", seen)
            axes.set_xlim(0, None)
            axes.grid(True)
            panels.heading(axes, f"{start} → pruned", _SPACES[space])
            axes.set_xlabel("forward and backward passes" if start == starts[-1] else "")
        _share_losses(row, "smallest climb so far")
    return figure


def _courses(walks: Sequence[Row], space: str) -> list[list[tuple[int, float]]]:
    """For each seed, after every attempt: the passes spent until then, the smallest climb so far.

    >>> curve = {"seed": 0, "space": "sparse", "diverged": False, "climb": 0.5, "steps": 10}
    >>> trials = {**curve, "climb": 0.2, "attempts": [
    ...     {"passes": 5, "climb": 0.7}, {"passes": 8, "climb": 0.2}]}
    >>> _courses([curve, trials], "sparse")
    [[(10, 0.5), (15, 0.5), (23, 0.2)]]
    """
    courses: dict[int, list[tuple[int, float]]] = {}
    for walk in (w for w in walks if w["space"] == space and not w["diverged"]):
        whole = [{"passes": walk["steps"], "climb": walk["climb"]}]
        for attempt in walk.get("attempts", whole):
            course = courses.setdefault(walk["seed"], [])
            spent, best = course[-1] if course else (0, math.inf)
            climb = attempt["climb"] if finite(attempt["climb"]) else math.inf
            course.append((spent + attempt["passes"], min(best, climb)))
    found = ([(p, c) for p, c in course if finite(c)] for course in courses.values())
    return [course for course in found if course]


def _forest(axes: Axes, results: Results, key: str, label: str) -> None:
    """One measure of all arms, arm by arm from the top."""
    arms, scale = list(results["arms"]), 100.0 if key.endswith("accuracy") else 1.0
    intervals = {row["arm"]: row.get(key) or {} for row in results["table"]}
    measured = [row for row in results["solutions"] if finite(row[key])]
    panels.loss_axis(axes, "x", [row[key] * scale for row in measured])
    left, right = axes.get_xlim()
    axes.hlines(range(len(arms)), left, right, color=FAINT, linewidth=0.5, zorder=0)
    for place, arm in enumerate(arms):
        hue, dots = colour(arm), [row[key] * scale for row in measured if row["arm"] == arm]
        panels.mean_and_reach(axes, place, intervals.get(arm, {}), hue, scale)
        panels.dots(axes, dots, panels.beside(place, len(dots), 0.3), hue)
    axes.set(ylim=(len(arms) - 0.5, -0.5), yticks=[], xlabel=label)
    axes.spines["left"].set_visible(False)


def _name(axes: Axes, place: int, arm: str, rows: Sequence[Row]) -> None:
    """The name of an arm beside its row, and how many of its runs diverged."""
    where, hue = axes.get_yaxis_transform(), colour(arm)
    axes.text(-0.03, place, arm, transform=where, color=hue, ha="right", va="center", fontsize=8)
    lost = sum(row["diverged"] for row in rows)
    if lost:
        note = f"{lost} of {len(rows)} diverged"
        below = place + 0.36
        axes.text(
            -0.03, below, note, transform=where, color=MUTED, ha="right", va="center", fontsize=6
        )


def _bundle(axes: Axes, start: str, straight: Sequence[Row], walks: Sequence[Row]) -> None:
    """The straight line and the curves of each degree, from one start in one space."""
    label = f"straight line: {_summary(straight)}"
    _along(axes, straight, "train_loss", color=MUTED, linestyle=_DOTTED, label=label)
    for of in dict.fromkeys(walk["degree"] for walk in walks):
        same = [walk for walk in walks if walk["degree"] == of]
        dashes, label = _DASHES.get(of, "dashdot"), f"{degree(of)}: {_summary(same)}"
        hue = colour(start)
        mean = _along(axes, same, "train_loss", color=hue, linestyle=dashes, label=label, band=True)
        _ends(axes, same[0]["t"], mean, start, "pruned")
    if axes.lines:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.03))


def _along(
    axes: Axes, walks: Sequence[Row], key: str, *, band: bool = False, **line: Any
) -> np.ndarray | None:
    """Draw the mean over seeds; a seed without any finite loss is left out."""
    import numpy as np

    losses = [np.array(walk[key], dtype=float) for walk in walks]
    losses = [values for values in losses if np.isfinite(values).any()]
    if not losses:
        return None
    t, values = walks[0]["t"], np.stack(losses)
    values[~np.isfinite(values)] = np.nan
    if band and len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(t, low, high, color=line["color"], alpha=0.16, linewidth=0)
    mean: np.ndarray = values.mean(axis=0)
    axes.plot(t, mean, **line)
    return mean


def _ends(axes: Axes, t: Sequence[float], mean: np.ndarray | None, first: str, last: str) -> None:
    """A dot in its own colour for each of the two points that a path joins."""
    if mean is None:
        return
    for at, name in ((0.0, first), (1.0, last)):
        nearest = min(range(len(t)), key=lambda i: abs(t[i] - at))
        panels.dots(axes, [t[nearest]], [mean[nearest]], colour(name))


def _dress(axes: Axes, t: Sequence[float], losses: Iterable[float]) -> None:
    panels.loss_axis(axes, "y", losses)
    axes.set_xlim(min(t), max(t))
    axes.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axes.grid(True)
    axes.spines["left"].set_visible(False)


def _share_losses(row: Sequence[Axes], label: str) -> None:
    """Name the losses once, at the left of a row of panels."""
    row[0].set_ylabel(label)
    for axes in row[1:]:
        axes.tick_params(labelleft=False)


def _summary(walks: Sequence[Row]) -> str:
    """The mean climb, and in how many of the seeds that have one the path decreases."""
    measured = [walk for walk in walks if finite(walk["climb"])]
    if not measured:
        return "no finite loss"
    climb = sum(walk["climb"] for walk in measured) / len(measured)
    decreasing = sum(walk["decreasing"] is True for walk in measured)
    return f"climb {number(climb)}, decreasing {decreasing} of {len(measured)}"


def _straight(results: Results, start: str) -> list[Row]:
    """The straight lines from a start to the pruned point, between their ends."""
    found: list[Row] = []
    for line in results["lines"]:
        if (line["from"], line["to"]) == (start, "pruned"):
            inside = [i for i, t in enumerate(line["t"]) if -1e-9 <= t <= 1 + 1e-9]
            part = {key: [line[key][i] for i in inside] for key in ("t", "train_loss")}
            found.append({**line, **part})
    return found


def _losses(walks: Iterable[Row], *keys: str) -> list[float]:
    return [value for walk in walks for key in keys for value in walk[key] if finite(value)]


def _in_view(curves: Sequence[float], straight: Sequence[float]) -> list[float]:
    """The losses to fit an axis to: the curves', and the line's while it does not dwarf them."""
    if not curves:
        return list(straight)
    low, high = min(curves), max(curves)
    return [*curves, *(loss for loss in straight if loss <= high + (high - low))]


def _distinct(rows: Iterable[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))
