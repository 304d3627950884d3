"""The maps of a landscape study: from results to matplotlib figures and turnable surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import maps, panels
from ..numbers import finite
from ..scenes import Scene
from ..style import BLUE, ORANGE
from ..tables import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPACES = {"sparse": "in the sparse subspace", "dense": "in all of weight space"}
_HUES = {"inside": ORANGE, "dense": BLUE}
_UNSEEN = 1e-5  # share of the highest density below which no probe has seen anything
_SIDE = 2.45  # inches of a map

Cell = tuple["Axes", "Axes"]
"""A map, and the bar that says what its colours mean."""


def solutions(results: Results) -> Figure:
    """Loss beside accuracy on the plane through scratch, pruned and lottery."""
    figure, [[left, right]] = _sheet(1)
    for plane in drawable(results, "solutions"):
        losses = maps.loss_levels(_values([plane], "train_loss"))
        _map(left, plane, "train_loss", losses, "training loss", plane["name"])
        shares = maps.share_levels(_values([plane], "train_accuracy"))
        _map(right, plane, "train_accuracy", shares, "training accuracy", plane["name"])
    return figure


def paths(results: Results) -> Figure:
    """The plane of the sparse quadratic path beside that of the dense one."""
    figure, rows = _sheet(1)
    _pair(rows[0], drawable(results, "path"))
    return figure


def surroundings(results: Results) -> Figure:
    """A row per run: around where it ended, inside the mask and in all of weight space."""
    found = drawable(results, "surroundings")
    names = list(dict.fromkeys(plane["run_name"] for plane in found))
    figure, rows = _sheet(max(1, len(names)))
    for row, name in zip(rows, names, strict=False):
        _pair(row, [plane for plane in found if plane["run_name"] == name])
    return figure


def courses(results: Results) -> Figure:
    """The runs, each on the plane of its principal components."""
    found = drawable(results, "course")
    figure, [cells] = _sheet(1)
    for cell, plane in zip(cells, found, strict=False):
        heights = maps.loss_levels(_values([plane], "train_loss"))
        shares = " and ".join(f"{100 * share:.1f} %" for share in plane["explained"])
        below = f"x and y explain {shares} of the variance"
        _map(cell, plane, "train_loss", heights, plane["name"], below)
    return figure


def spectra(results: Results) -> Figure:
    """A panel per run: the density of eigenvalues inside the mask and in all of weight space."""
    found = [row for row in results["spectra"] if not row["diverged"]]
    figure = panels.sheet(2.5)
    [row_of_axes] = panels.grid(
        figure, 1, 2, left=0.6, right=0.15, top=0.5, bottom=0.42, gap=(0.45, 0.0)
    )
    for axes, row in zip(row_of_axes, found, strict=False):
        highest = max(max(of["density"]) for of in row["spectra"].values())
        for name, of in row["spectra"].items():
            label = f"{name} ({of['count']} coordinates)"
            axes.plot(of["lambda"], of["density"], color=_HUES[name], label=label)
        panels.loss_axis(axes, "y", [_UNSEEN * highest, highest])
        axes.set_xlabel("eigenvalue of the Hessian")
        panels.heading(axes, row["run_name"], "density of eigenvalues")
        axes.legend(loc="upper right")
    return figure


def scenes(results: Results) -> Mapping[str, Scene]:
    """The surfaces that can be turned: between the solutions, and under the two paths."""
    found = {}
    for plane in (*drawable(results, "solutions"), *drawable(results, "path")):
        marks = [(m["name"], m["x"], m["y"], m["train_loss"]) for m in plane["marks"]]
        found[plane["name"]] = Scene(
            plane["x"], plane["y"], plane["train_loss"], "training loss", marks
        )
    return found


def drawable(results: Results, kind: str) -> list[Row]:
    """The maps of a kind that there are: those of runs that diverged are not."""
    return [plane for plane in results["maps"] if plane["kind"] == kind and not plane["diverged"]]


def _pair(row: Sequence[Cell], planes: Sequence[Row]) -> None:
    """Inside the mask beside all of weight space, on one scale."""
    heights = maps.loss_levels(_values(planes, "train_loss"))
    for cell, space in zip(row, _SPACES, strict=True):
        for plane in (plane for plane in planes if plane["space"] == space):
            _map(cell, plane, "train_loss", heights, plane["name"], _SPACES[space])


def _map(
    cell: Cell, plane: Row, key: str, heights: Sequence[float], title: str, below: str
) -> None:
    axes, bar = cell
    panels.heading(axes, title, below)
    maps.scale(bar, heights)
    maps.contours(axes, plane, key, heights)
    maps.way(axes, [p["x"] for p in plane["way"]], [p["y"] for p in plane["way"]])
    for mark in plane["marks"]:
        maps.mark(axes, mark["name"], mark["x"], mark["y"])


def _sheet(rows: int) -> tuple[Figure, list[list[Cell]]]:
    """Rows of two maps, each with a bar at its right."""
    pitch = _SIDE + 0.65
    figure = panels.sheet(pitch * rows + 0.1)
    bottoms = [pitch * (rows - 1 - row) + 0.3 for row in range(rows)]
    return figure, [
        [
            (_panel(figure, left, bottom, _SIDE), _panel(figure, left + 2.53, bottom, 0.09))
            for left in (0.4, 3.9)
        ]
        for bottom in bottoms
    ]


def _panel(figure: Figure, left: float, bottom: float, wide: float) -> Axes:
    width, height = (float(side) for side in figure.get_size_inches())
    return figure.add_axes((left / width, bottom / height, wide / width, _SIDE / height))


def _values(planes: Sequence[Row], key: str) -> list[float]:
    return [v for plane in planes for row in plane[key] for v in row if finite(v)]
