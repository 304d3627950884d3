"""The stage that says which kind of stuck a training run is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...landscape.diagnosis.conditions import Condition
from ...landscape.diagnosis.diagnose import Diagnosis, diagnose
from ...landscape.diagnosis.rules import Remedy
from ...landscape.search.paths import FoundPath
from ...landscape.search.trials import Trial
from ...points import save_point
from ..store import read_json
from .job import Job, Metrics


def diagnosis(job: Job) -> Metrics:
    """Diagnose a run on its training set; the lower point found goes to ``better.safetensors``.

    The loss has the weight decay that the run was trained with.
    """
    if job.diverged_inputs:
        return {"verdict": "diverged", "diverged": True}
    problem, settings = job.problem(), job.settings
    found = diagnose(
        job.regularized(),
        job.point("run"),
        job.mask("run"),
        job.point("reference") if "reference" in job.inputs else None,
        trials=[Trial(**trial) for trial in settings["trials"]],
        seed=settings["seed"],
    )
    if found.better is not None:
        save_point(found.better, job.out / "better.safetensors")
    return {**_described(found), "try": _remedies(found, job, problem.recipe.steps)}


def _described(found: Diagnosis) -> Metrics:
    return {
        "verdict": found.verdict,
        "confidence": found.confidence,
        "meaning": found.meaning,
        "evidence": [_condition(condition) for condition in found.evidence],
        "ruled_out": [{"verdict": v, **_condition(c)} for v, c in found.ruled_out.items()],
        "open": list(found.open),
        "loss": found.loss,
        "reference_loss": found.reference_loss,
        "constant_loss": found.constant_loss,
        "stationarity": asdict(found.stationarity),
        "sparse_path": _path(found.sparse_path),
        "dense_path": _path(found.dense_path),
        "diverged": False,
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {**asdict(condition), "text": str(condition)}


def _path(found: FoundPath | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "climb": found.profile.climb,
        "tolerance": found.profile.tolerance,
        "passes": found.passes,
        "attempts": [asdict(attempt) for attempt in found.attempts],
    }


def _remedies(found: Diagnosis, job: Job, steps: int) -> list[dict[str, str]]:
    """What to try, the commands with this run's settings."""
    words = _words(job, steps)
    mask_is_given = "mask" in read_json(job.inputs["run"] / "stage.json")["inputs"]

    def command(remedy: Remedy) -> str:
        """None where it would train with another mask: there the line of Python is left."""
        return "" if remedy.makes_mask and mask_is_given else remedy.command.format_map(words)

    return [{**asdict(remedy), "command": command(remedy)} for remedy in found.remedies]


def _words(job: Job, steps: int) -> Mapping[str, str]:
    run = read_json(job.inputs["run"] / "stage.json")["settings"]
    about = run["problem"]
    problem = about.get("name") or f"{about['file']}:{about['function']}"
    reference = job.inputs.get("reference")
    return {
        "problem": shlex.quote(problem),
        "own": "" if "name" in about else f" --problem {shlex.quote(problem)}",
        "method": run["method"],
        "sparsity": str(run["sparsity"]),
        "seed": str(run["seed"]),
        "other_seed": str(run["seed"] + 1),
        "more_steps": str(2 * steps),
        "execution": f" --execution {run['execution']}" if "execution" in run else "",
        "run": job.inputs["run"].name,
        "reference": reference.name if reference is not None else "PRUNED_RUN",
    }
