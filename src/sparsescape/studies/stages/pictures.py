"""Stages of pictures: the loss on a plane through solutions, around one or along a training run,
and the spectrum of its Hessian where a run ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...landscape.curvature.spectrum import spectrum
from ...landscape.planes import Plane, plane_through, principal_plane, random_plane, survey
from ...objective import Objective
from ...points import Point, load_point
from .curves import load_curve
from .further import SNAPSHOTS
from .job import Job, Metrics

_MARGIN = 0.3  # how far a map goes beyond what is marked on it, in shares of its extent
_ALONG_A_CURVE = 61
_LISTS = ("x", "y", "train_loss", "train_accuracy", "marks", "way")


def through(job: Job) -> Metrics:
    """The plane through where two runs ended and a third point, which is another run's end, or
    the bend of a quadratic curve between the two: that curve lies in the plane."""
    if job.diverged_inputs:
        return _nothing()
    ends = [job.point("start"), job.point("end")]
    if "curve" in job.inputs:
        curve = load_curve(job, "curve")
        [third] = curve.control_points()
        way = [curve.point(i / (_ALONG_A_CURVE - 1)) for i in range(_ALONG_A_CURVE)]
    else:
        third, way = job.point("third"), []
    return _mapped(job, plane_through(ends[0], ends[1], third), [*ends, third], way)


def around(job: Job) -> Metrics:
    """A plane through where a run ended, along random directions normalized by filter; inside
    the run's mask, or through all of weight space."""
    if job.diverged_inputs:
        return _nothing()
    inside = job.settings["space"] == "sparse"
    centre = job.point("of")
    subspace = job.mask("of") if inside else None
    plane = random_plane(centre, subspace=subspace, seed=job.settings["seed"])
    edges = [plane.point(x, y) for x in (-1.0, 1.0) for y in (-1.0, 1.0)]
    return _mapped(job, plane, [centre], [], within=edges, margin=0.0)


def course(job: Job) -> Metrics:
    """The plane of the principal components of a run's snapshots, its start the first of them."""
    if job.diverged_inputs:
        return _nothing()
    folder = job.inputs["of"]
    files = [folder / "start.safetensors", *sorted(folder.glob(SNAPSHOTS))]
    way = [load_point(file) for file in files]
    return _mapped(job, principal_plane(way), [way[0], way[-1]], way)


def spectra(job: Job) -> Metrics:
    """The density of the Hessian's eigenvalues where a run ended: inside its mask, and in all of
    weight space. The loss has the weight decay that the run was trained with."""
    if job.diverged_inputs:
        return {"spectra": {}, "diverged": True}
    objective, seed = job.regularized(), job.settings["seed"]
    point, points = job.point("of"), job.settings["points"]
    spaces = {"inside": job.mask("of"), "dense": None}
    found = {
        name: spectrum(objective, point, mask, points=points, seed=seed)
        for name, mask in spaces.items()
    }
    described = {
        name: {
            "count": of.count,
            "lambda": of.grid.tolist(),
            "density": of.density.tolist(),
            "smallest": float(of.nodes.min()),
            "largest": float(of.nodes.max()),
        }
        for name, of in found.items()
    }
    return {"spectra": described, "diverged": False}


def _mapped(
    job: Job,
    plane: Plane,
    marked: Sequence[Point],
    way: Sequence[Point],
    *,
    within: Sequence[Point] = (),
    margin: float = _MARGIN,
) -> Metrics:
    """The training loss and accuracy on a grid that holds all that is marked, and a margin."""
    objective, count = job.objective(), job.settings["grid"]
    places = [plane.locate(point)[:2] for point in (*marked, *way, *within)]
    x, y = (_grid([place[axis] for place in places], count, margin) for axis in (0, 1))
    found = survey(plane, objective, x, y)
    return {
        "x": list(found.x),
        "y": list(found.y),
        "train_loss": [list(row) for row in found.loss],
        "train_accuracy": [list(row) for row in found.accuracy],
        "marks": [_mark(plane, point, objective) for point in marked],
        "way": [_mark(plane, point, objective) for point in way],
        "explained": list(plane.explained) if plane.explained else None,
        "diverged": False,
    }


def _mark(plane: Plane, point: Point, objective: Objective) -> dict[str, float]:
    """Where a point lies on the map, how far from the plane, and its own loss."""
    x, y, distance = plane.locate(point)
    return {"x": x, "y": y, "distance": distance, "train_loss": objective(point)}


def _grid(places: Sequence[float], count: int, margin: float) -> list[float]:
    """``count`` even coordinates over the places and a margin at both sides."""
    low, high = min(places), max(places)
    room = margin * (high - low)
    step = (high - low + 2 * room) / (count - 1)
    return [low - room + i * step for i in range(count)]


def _nothing() -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in _LISTS}
    return {**lists, "explained": None, "diverged": True}
