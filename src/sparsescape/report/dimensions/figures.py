"""The figures of a dimensions study: the transition, and the layers that need the room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import panels
from ..numbers import finite
from ..style import FAINT, GRAPHITE, INK, MUTED, PAPER
from ..tables import Results, Row
from .choices import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NONE = 0.5  # where nothing opened stands on a logarithmic axis


def transition(results: Results) -> Figure:
    """Climb against opened weights: a panel per sparsity, a line per choice, a band over seeds."""
    sparsities = results["settings"]["sparsity"]
    figure = panels.sheet(2.75)
    [row] = panels.grid(
        figure, 1, len(sparsities), left=0.56, right=0.12, top=0.62, bottom=0.42, gap=(0.5, 0)
    )
    for sparsity, axes in zip(sparsities, row, strict=True):
        found = [r for r in _counted(results) if r["layer"] is None and r["sparsity"] == sparsity]
        seeds = len({r["seed"] for r in found})
        panels.heading(axes, f"{sparsity * 100:.4g} % sparse", f"{seeds} seeds that count")
        _climbs(axes, found, results["choices"])
    row[0].set_ylabel("climb of the best path found")
    lines = [({"color": colour(c), "linestyle": "solid"}, c) for c in results["choices"]]
    panels.key(figure, *lines, left=0.56)
    return figure


def _counted(results: Results) -> list[Row]:
    """The searches from the starts that count."""
    left = {(start["sparsity"], start["seed"]) for start in results["starts"] if start["counts"]}
    return [r for r in results["searches"] if (r["sparsity"], r["seed"]) in left]


def _climbs(axes: Axes, found: Sequence[Row], choices: Sequence[str]) -> None:
    import numpy as np

    climbs = [t["climb"] for r in found for t in r["tried"] if finite(t["climb"])]
    most = max([t["count"] for r in found for t in r["tried"]], default=1)
    axes.set(xscale="log", xlim=(_NONE / 1.2, max(2, most) * 1.2), xlabel="opened weights")
    ticks = [_NONE, *panels.log_ticks(1, max(2, most))]
    axes.set_xticks(ticks, labels=["0", *(f"{tick:g}" for tick in ticks[1:])])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.06 * max(climbs, default=1.0) or 1.0)
    axes.grid(True)
    for choice in choices:
        mine = [r for r in found if r["choice"] == choice]
        if not mine:
            continue
        counts = sorted({t["count"] for r in mine for t in r["tried"]})
        values = np.array([[_climb_at(r, k) for k in counts] for r in mine])
        x, hue = [max(_NONE, k) for k in counts], colour(choice)
        axes.step(x, values.mean(axis=0), where="post", color=hue)
        if len(mine) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(x, low, high, step="post", color=hue, alpha=0.13, linewidth=0)
        answers = [r["count"] for r in mine if r["count"]]
        panels.dots(axes, answers, [0.0] * len(answers), hue)


def _climb_at(search: Row, count: int) -> float:
    """Of the best path known with at most so many opened."""
    known = [t["climb"] for t in search["tried"] if t["count"] <= count]
    return known[-1] if finite(known[-1]) else float("nan")


def layers(results: Results) -> Figure:
    """Per layer: its share of the opened weights beside its share of the closed ones, and the
    count where it alone may open, a dot per seed."""
    sparsities = results["settings"]["sparsity"]
    names = list(dict.fromkeys(row["layer"] for row in results["layers"]))
    figure = panels.sheet(0.25 + (0.6 + 0.26 * max(1, len(names))) * len(sparsities))
    grid = panels.grid(
        figure, len(sparsities), 2, left=1.2, right=0.15, top=0.42, bottom=0.4, gap=(0.3, 0.6)
    )
    for sparsity, (shares, alone) in zip(sparsities, grid, strict=True):
        rows = [row for row in results["layers"] if row["sparsity"] == sparsity]
        panels.heading(shares, f"{sparsity * 100:.4g} % sparse: where the opened ones lie")
        panels.heading(alone, "opened where one layer alone may be")
        _shares(shares, rows, [row["layer"] for row in rows])
        _alone(alone, rows)
    return figure


def _shares(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    for place, row in enumerate(rows):
        opened, closed = row["opened_share"]["mean"], row["closed_share"]["mean"]
        if finite(opened) and finite(closed):
            axes.barh(place, opened * 100, height=0.5, color=colour("gradient"))
            axes.plot([closed * 100] * 2, [place - 0.36, place + 0.36], color=INK, linewidth=1)
    axes.set(xlim=(0, 100), ylim=(max(1, len(rows)) - 0.5, -0.5))
    axes.set_xlabel("% of the opened; upright: of all closed")
    axes.set_yticks(range(len(names)), labels=names)
    axes.spines["left"].set_visible(False)


def _alone(axes: Axes, rows: Sequence[Row]) -> None:
    counts = [k for row in rows for k in row["counts"] if k]
    most = max(counts, default=10) * 1.4
    axes.set(xscale="log", xlim=(0.7, most), ylim=(max(1, len(rows)) - 0.5, -0.5), yticks=[])
    ticks = panels.log_ticks(0.7, most)
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.hlines(range(len(rows)), 0.7, most, color=FAINT, linewidth=0.5, zorder=0)
    for place, row in enumerate(rows):
        reached = [k for k in row["counts"] if k]
        panels.dots(axes, reached, panels.beside(place, len(reached), 0.4), GRAPHITE)
        if len(reached) < len(row["counts"]):
            text = f"no number in {len(row['counts']) - len(reached)} of {len(row['counts'])}"
            behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
            axes.text(
                most, place, text, ha="right", va="center", fontsize=6, color=MUTED, bbox=behind
            )
    axes.set_xlabel("opened weights")
    axes.spines["left"].set_visible(False)
