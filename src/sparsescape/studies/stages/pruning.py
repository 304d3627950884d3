"""The stage between two rounds of training: it makes the next mask."""

from __future__ import annotations

from ...masks import Mask
from ...points import named_weights
from ...sparsifiers.pruning import Magnitude
from .job import Job, Metrics


def prune(job: Job) -> Metrics:
    """Close the smallest weights of a trained network, of what its mask has left.

    ``mask.safetensors`` is the mask of the input ``trained`` less its smallest weights, so that
    the sparsity is that of the settings. The metrics carry on what has been spent until here.
    """
    if job.diverged_inputs:
        return {"diverged": True}
    trained, mask = job.metrics("trained"), job.mask("trained")
    point = named_weights(job.point("trained"), job.problem().dense)
    rule = Magnitude(job.settings["sparsity"], distribution=job.settings["distribution"])
    pruned = Mask(rule.largest(point, rule.sparsity, among={n: mask[n] for n in point}))
    pruned.save(job.out / "mask.safetensors")
    return {
        "active": pruned.count,
        "sparsity": pruned.sparsity,
        "flops_before": trained["flops"],
        "steps_before": trained["steps"],
        "diverged": False,
    }
