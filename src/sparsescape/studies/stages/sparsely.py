"""Training runs whose layers hold their active weights alone, where that is faster."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ...kernels.execution import runs_sparse
from ...masks import Mask
from ...problems.problem import Problem
from ...sparsifiers.base import Sparsifier
from ...sparsifiers.dropgrow import DropGrow
from ...sparsifiers.foresight import Foresight
from ...sparsifiers.nonzeros import works_on
from ...sparsifiers.static import Static
from ...training.ranks import ALONE
from .job import Job

DENSE = Mask({})


def run_sparse(
    job: Job, problem: Problem, model: nn.Module, sparsifier: Sparsifier | None
) -> tuple[Sparsifier | None, Mask]:
    """What trains the model, and the weights whose layers are to be truly sparse before it is
    attached.

    The method chooses its first mask on the dense weights, as it would without; from there it
    moves, or holds, the values. There are no such layers where a method needs dense weights, or
    their gradients at every step; on several ranks; and where the recipe tells weights by their
    dimensions or computes in fewer bits.
    """
    recipe = problem.recipe
    plain = recipe.optimizer == "sgd" and recipe.precision == "float32"
    if sparsifier is None or not plain or job.ranks is not ALONE or not _can(sparsifier):
        return sparsifier, DENSE
    first = Mask(sparsifier.first_mask(model))
    held = runs_sparse(problem.objective(model, execution=job.execution), first)
    if not held:
        return sparsifier, DENSE
    first.apply_(model)
    if isinstance(sparsifier, DropGrow):
        return replace(sparsifier, initial_mask=first), held
    return Static(first, dense=sparsifier.dense), held


def _can(sparsifier: Sparsifier) -> bool:
    """Whether it is a method that holds its first mask, or one that moves it on nonzeros alone."""
    if isinstance(sparsifier, DropGrow):
        return works_on(sparsifier) and not sparsifier.wants_gradient(1)
    return isinstance(sparsifier, (Static, Foresight))
