"""Stages that count how many closed weights must be opened between two runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ...landscape.dimensions.extra import ExtraDimensions, extra_dimensions
from ...landscape.profiles.profile import profile
from ...landscape.search.paths import FoundPath
from ...landscape.search.progress import profile_state, to_profile
from ...landscape.search.trials import default_trials
from ...masks import Mask
from ...objective import Objective
from ..graph import Stage
from .curves import load_curve, save_curve
from .job import Job, Metrics
from .paths import trials_of

NONE_AND_ALL = 1.0
"""The precision with which nothing is tried but to open none of them, and all."""

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
    search_passes: int = 1000,
    points: int = 31,
    precision: float = 0.2,
) -> Stage:
    """The stage that counts them, the same in every study that asks for the same.

    What is searched for with none opened, and with all, is the same for every choice: a stage of
    its own, whose paths this one begins with.

    Args:
        common: settings of all stages of the study.
        ends: the runs ``start``, ``end``, the one whose ``mask`` they lie in, and ``reference``
            where the choice looks at it.
        search_passes: of each curve that is tried.
    """
    trials = [asdict(trial) for trial in default_trials(search_passes)]
    search = {"trials": trials, "points": points, "seed": seed}
    bounds = Stage(
        "dimensions",
        {**common, **search, "choose": "random", "among": ["*"], "precision": NONE_AND_ALL},
        {role: ends[role] for role in ("start", "end", "mask")},
        label=f"{label.partition(':')[0]}: open none, and all",
    )
    own = {"choose": choose, "among": list(among), "precision": precision}
    return Stage("dimensions", {**common, **search, **own}, {**ends, "bounds": bounds}, label=label)


def dimensions(job: Job) -> Metrics:
    """Search for the smallest number of opened weights; the control points of the paths, and the
    mask of what was opened for the answer, are kept."""
    if job.diverged_inputs:
        return {"diverged": True, "count": None, "closed": None, "passes": 0, "tried": []}
    settings = job.settings
    start, end = job.point("start"), job.point("end")
    objective = job.objective()
    found = extra_dimensions(
        start,
        end,
        job.mask(),
        objective,
        settings["choose"],
        among=settings["among"],
        reference=job.point("reference") if "reference" in job.inputs else None,
        trials=trials_of(job),
        points=settings["points"],
        precision=settings["precision"],
        known=_bounds(job),
        seed=settings["seed"],
        checkpoint=job.checkpoint(),
    )
    found.opened.save(job.out / "opened.safetensors")
    for count, curve in found.curves.items():
        save_curve(curve, job.out, _prefix(count))
        seen = json.dumps(profile_state(found.profiles[count]))
        (job.out / f"{_prefix(count)}profile.json").write_text(seen, encoding="utf-8")
    closed = {name: int((~active).sum()) for name, active in job.mask().items()}
    told = _told(found) | {"closed_by_layer": closed}
    slopes = {name: slope.square() for name, slope in objective.gradient(start).items()}
    told["gradient_share"] = _of_closed(slopes, found.opened, job.mask())
    told["loss"] = _along(found, objective, settings["points"])
    return _with_passes(told, job.metrics("bounds")) if "bounds" in job.inputs else told


def _along(found: ExtraDimensions, objective: Objective, points: int) -> list[float]:
    """The loss along the path at the answer, evenly; most of it was looked at before."""
    answer = max(found.profiles) if found.count is None else found.count
    known = found.profiles[answer].evaluations
    return list(profile(found.curve, objective, points, known=known).loss)


def _prefix(count: int) -> str:
    """Of the files of the path with so many opened."""
    return f"opened-{count}-"


def _bounds(job: Job) -> dict[int, FoundPath]:
    """Count → the path that was found with none open, or with all, as it was seen."""
    if "bounds" not in job.inputs:
        return {}
    return {tried["count"]: _bound(job, tried["count"]) for tried in job.metrics("bounds")["tried"]}


def _bound(job: Job, count: int) -> FoundPath:
    seen = (job.inputs["bounds"] / f"{_prefix(count)}profile.json").read_text(encoding="utf-8")
    return FoundPath(load_curve(job, "bounds", _prefix(count)), to_profile(json.loads(seen)), ())


def _with_passes(told: Metrics, bounds: Metrics) -> Metrics:
    """What a count cost to find, with the searches that other choices begin with, too."""
    spent = {tried["count"]: tried["passes"] for tried in bounds["tried"]}
    tried = [{**at, "passes": at["passes"] + spent.get(at["count"], 0)} for at in told["tried"]]
    return told | {"tried": tried, "passes": sum(at["passes"] for at in tried)}


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
