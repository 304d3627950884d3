"""Stages that count how many closed weights must be opened between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...landscape.dimensions.extra import ExtraDimensions, extra_dimensions
from ...landscape.dimensions.trials import default_trials
from ...landscape.profiles.measures import tolerance
from ...landscape.profiles.profile import profile
from ...masks import Mask
from ...points import save_point
from ..graph import Stage
from .job import Job, Metrics

SEARCH = "from all weights down; climb, mean, climb, far mean, climb"
"""How is searched, a setting of every such stage: another search may count otherwise."""

MEASURED = "measured"
"""In the place of a number of weights to open: as many as such a stage counted."""


def counting(
    common: Mapping[str, Any],
    ends: Mapping[str, Stage],
    *,
    choose: str,
    seed: int,
    label: str,
    among: Sequence[str] = ("*",),
    search_steps: int = 60,
    points: int = 31,
    precision: float = 0.2,
) -> Stage:
    """The stage that counts them, the same in every study that asks for the same.

    Args:
        common: settings of all stages of the study.
        ends: the runs ``start``, ``end``, the one whose ``mask`` they lie in, and ``reference``
            where the choice looks at it.
    """
    what = {
        "choose": choose,
        "among": list(among),
        "search": SEARCH,
        "search_steps": search_steps,
        "points": points,
        "precision": precision,
        "seed": seed,
    }
    return Stage("dimensions", {**common, **what}, ends, label=label)


def dimensions(job: Job) -> Metrics:
    """Search for the smallest number of opened weights; the path's control points, and the mask of
    what was opened for it, are kept."""
    if job.diverged_inputs:
        return {"diverged": True, "count": None, "closed": None, "passes": 0, "tried": []}
    settings = job.settings
    start, end = job.point("start"), job.point("end")
    objective = job.objective()
    tolerated = tolerance([objective(start), objective(end)])
    found = extra_dimensions(
        start,
        end,
        job.mask(),
        objective,
        settings["choose"],
        among=settings["among"],
        reference=job.point("reference") if "reference" in job.inputs else None,
        trials=default_trials(start, end, settings["search_steps"], tolerated / 4),
        points=settings["points"],
        tol=tolerated,
        precision=settings["precision"],
        seed=settings["seed"],
        checkpoint=job.checkpoint(),
    )
    found.opened.save(job.out / "opened.safetensors")
    for number, point in enumerate(found.curve.control_points(), start=1):
        save_point(point, job.out / f"control-{number}.safetensors")
    closed = {name: int((~active).sum()) for name, active in job.mask().items()}
    told = _told(found) | {"closed_by_layer": closed}
    slopes = {name: slope.square() for name, slope in objective.gradient(start).items()}
    told["gradient_share"] = _of_closed(slopes, found.opened, job.mask())
    return told | {"loss": list(profile(found.curve, objective, settings["points"]).loss)}


def _of_closed(amounts: Mapping[str, Tensor], opened: Mask, mask: Mask) -> float:
    """The share that opened weights have of what all closed ones have."""
    closed = sum(float(amounts[name][~active].double().sum()) for name, active in mask.items())
    mine = sum(float(amounts[name][at].double().sum()) for name, at in opened.items())
    return mine / closed if closed else 0.0


def _told(found: ExtraDimensions) -> Metrics:
    return {
        "count": found.count,
        "fraction": found.fraction,
        "failed": found.failed,
        "closed": found.closed,
        "opened_by_layer": found.layers,
        "tolerance": found.tol,
        "passes": found.passes,
        "tried": [
            {
                "count": count,
                "climb": seen.climb,
                "enough": seen.climb <= found.tol,
                "passes": sum(attempt.passes for attempt in found.attempts[count]),
            }
            for count, seen in found.profiles.items()
        ],
        "diverged": False,
    }


def to_open(measured: Mapping[str, Any]) -> int:
    """How many weights to open where that was measured: all where no number was enough, and one
    where none was needed, for something is to be opened.

    >>> [to_open({"count": count, "closed": 99}) for count in (12, 0, None)]
    [12, 1, 99]
    """
    return measured["closed"] if measured["count"] is None else max(1, measured["count"])
