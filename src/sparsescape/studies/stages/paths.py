"""Stages that search for a path between two runs, and evaluate it."""

from __future__ import annotations

import math

from ...landscape.curves.bezier import Bezier, Line
from ...landscape.curves.curve import Curve
from ...landscape.profiles.profile import profile
from ...landscape.search.fit import fit_curve
from ...landscape.search.paths import find_path
from ...landscape.search.trials import Trial
from ...masks import Mask
from .curves import load_curve, save_curve
from .job import Job, Metrics


def fit(job: Job) -> Metrics:
    """Search for a path between two runs; the control points go to ``control-K.safetensors``."""
    if job.diverged_inputs:
        return {"diverged": True, "steps": 0, "examples": 0}
    problem, settings = job.problem(), job.settings
    curve, objective = _bezier(job), job.objective()
    found = fit_curve(
        curve,
        objective,
        steps=settings["curve_steps"],
        lr=settings["curve_lr"],
        batch_size=problem.recipe.batch_size,
        seed=settings["seed"],
        checkpoint=job.shared_checkpoint(),
        observe=job.observer(settings["curve_steps"]),
        ranks=job.ranks,
    )
    save_curve(curve, job.out)
    return {
        "steps": found.steps,
        "examples": found.examples,
        "diverged": found.diverged,
        "run_sparse": list(found.run_sparse),
    }


def find(job: Job) -> Metrics:
    """The best path that a list of trials finds; control points as :func:`fit` leaves them."""
    if job.diverged_inputs:
        return {"diverged": True, "steps": 0, "examples": 0, "attempts": []}
    problem, settings = job.problem(), job.settings
    size = problem.recipe.batch_size
    found = find_path(
        job.point("start"),
        job.point("end"),
        job.objective(),
        subspace=_subspace(job),
        trials=trials_of(job),
        points=settings["points"],
        seed=settings["seed"],
        checkpoint=job.checkpoint(),
    )
    save_curve(found.curve, job.out)
    attempts = [
        {"goal": trial["goal"], "degree": trial["degree"], "passes": a.passes, "climb": a.climb}
        for trial, a in zip(settings["trials"], found.attempts, strict=False)
    ]
    effort = {"steps": found.passes, "examples": found.passes * size}
    return {"diverged": False, **effort, "attempts": attempts}


def trials_of(job: Job) -> list[Trial]:
    """A stage's trials, with batches of the problem's size."""
    size = job.problem().recipe.batch_size
    return [Trial(**{**trial, "batch_size": size}) for trial in job.settings["trials"]]


def _bezier(job: Job) -> Bezier:
    ends = job.point("start"), job.point("end")
    names = job.objective().parameters
    return Bezier(*ends, degree=job.settings["degree"], subspace=_subspace(job), names=names)


def _subspace(job: Job) -> Mask | None:
    return job.mask() if job.settings["space"] == "sparse" else None


_ALONG = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def along(job: Job) -> Metrics:
    """Evaluate both data sets along a line between two points, or along a curve that was fitted."""
    settings = job.settings
    if job.diverged_inputs:
        unknown = {name: [None] * len(settings["t"]) for name in _ALONG}
        measures = dict.fromkeys(("barrier", "climb", "tolerance"))
        return {"t": settings["t"], **unknown, **measures, "decreasing": False, "diverged": True}
    curve = load_curve(job, "curve") if "curve" in job.inputs else _line(job)
    t = settings["t"]
    train = profile(curve, job.objective(), t=t, ranks=job.ranks)
    test = profile(curve, job.objective("test"), t=t, ranks=job.ranks)
    return {
        "t": list(t),
        "train_loss": list(train.loss),
        "train_accuracy": list(train.accuracy),
        "test_loss": list(test.loss),
        "test_accuracy": list(test.accuracy),
        "barrier": train.barrier,
        "climb": train.climb,
        "tolerance": train.tolerance,
        "decreasing": train.monotone(),
        "diverged": not math.isfinite(train.climb),
        "run_sparse": list(train.run_sparse),
    }


def _line(job: Job) -> Curve:
    which = job.settings["from"]  # "start": where that run began; "point": where it ended
    return Line(job.point("start", which), job.point("end"), names=job.objective().parameters)
