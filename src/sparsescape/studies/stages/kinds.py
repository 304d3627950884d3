"""The kinds of stages: functions from a job to its metrics.

Each writes its points into ``job.out`` and returns its metrics. A stage whose input diverged
says so and does nothing more, so that one diverged run does not sink a study.
"""

from __future__ import annotations

from collections.abc import Callable

from . import diagnoses, openings, paths, pictures, pruning, runs
from .job import Job, Metrics

KINDS: dict[str, Callable[[Job], Metrics]] = {
    "check": runs.check,
    "train": runs.train,
    "prune": pruning.prune,
    "fit": paths.fit,
    "find": paths.find,
    "along": paths.along,
    "diagnose": diagnoses.diagnosis,
    "through": pictures.through,
    "around": pictures.around,
    "course": pictures.course,
    "spectra": pictures.spectra,
    "dimensions": openings.dimensions,
}
