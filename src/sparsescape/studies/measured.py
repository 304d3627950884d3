"""How many closed weights it takes to get from a bad solution to a good one, as a stage."""

from __future__ import annotations

from ..landscape.dimensions import extra_dimensions
from .job import Job, Metrics


def measure(job: Job) -> Metrics:
    """The smallest number of opened weights with which a path without climb is found, and the
    climbs that were left with fewer; see :func:`sparsescape.extra_dimensions`."""
    if job.diverged_inputs:
        return {"count": None, "closed": None, "climbs": {}, "tolerance": None, "diverged": True}
    problem, settings = job.problem(), job.settings
    found = extra_dimensions(
        job.point("start"),
        job.point("end"),
        job.mask(),
        problem.objective(problem.make_model(0)),
        choose=settings["choose"],
        precision=settings["precision"],
        seed=settings["seed"],
        checkpoint=job.checkpoint(),
    )
    climbs = {str(count): profile.climb for count, profile in sorted(found.profiles.items())}
    return {
        "count": found.count,
        "closed": found.closed,
        "climbs": climbs,
        "tolerance": found.tol,
        "diverged": False,
    }
