"""How a training run is executed: masked, or with layers that hold their active weights alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import nn

from ...errors import InputError
from ...kernels.execution import runs_sparse, sparse_inside
from ...masks import Mask
from ...problems.problem import Problem
from ...seeds import global_seed
from ...sparsifiers.base import Sparsifier
from ...sparsifiers.dropgrow import DropGrow
from ...sparsifiers.foresight import Foresight
from ...sparsifiers.nonzeros import works_on
from ...sparsifiers.static import Static
from ...training.batches import Batches
from ...training.ranks import ALONE
from ...training.recipes import forward_pass
from .job import Job


def executed(
    job: Job, problem: Problem, model: nn.Module, sparsifier: Sparsifier | None
) -> tuple[Sparsifier | None, Mask]:
    """Who holds or moves the mask, and the weights whose layers are to be sparse before it does.

    The method chooses its first mask on the dense weights, whatever follows; there the layers
    become sparse. There are no such layers where a method needs dense weights; where, by a rule,
    it would be no faster; on several ranks; and where the recipe tells weights by their dimensions
    or computes in fewer bits. A run that was interrupted goes on as it began, wherever that is.
    """
    recipe = problem.recipe
    plain = recipe.optimizer == "sgd" and recipe.precision == "float32"
    if sparsifier is None or not plain or job.ranks is not ALONE or not _can(sparsifier, job):
        return sparsifier, Mask({})
    first = Mask(sparsifier.first_mask(model))
    begun = job.checkpoint().load()
    if begun is None:
        held = held_sparse(problem, model, first, job.execution)
    else:
        held = Mask({name: first[name] for name in first if _indices_of(name) in begun["module"]})
    if held:
        first.apply_(model)
    return _from(sparsifier, first), held


def held_sparse(problem: Problem, model: nn.Module, mask: Mask, execution: str) -> Mask:
    """The part of a mask whose layers are trained sparse: none where the network would then train
    as another one, for its code looks at a layer's weight, or draws dropout in another order.

    Raises:
        InputError: ``"sparse"`` is asked for and cannot be had.
    """
    held = runs_sparse(problem.objective(model, execution=execution), mask)
    if not held or _trains_alike(problem, model, mask, held):
        return held
    if execution == "sparse":
        raise InputError(
            "This network cannot be run sparse: in training it then says something else, for its "
            "code uses a layer's weight, or dropout; leave execution to 'auto', or ask for "
            "'masked'."
        )
    return Mask({})


def _can(sparsifier: Sparsifier, job: Job) -> bool:
    """Whether a method holds its first mask, or moves it on nonzeros alone, and may do so.

    A method of a user's own may take a weight to be dense, or move what its template holds: only
    where sparse layers are asked for is it taken to do neither.
    """
    if job.execution == "masked" or (job.own_method and job.execution != "sparse"):
        return False
    if isinstance(sparsifier, DropGrow):
        return works_on(sparsifier) and (job.execution == "sparse" or not sparsifier.restless)
    if job.own_method:
        return False
    return isinstance(sparsifier, (Static, Foresight))


def _from(sparsifier: Sparsifier, first: Mask) -> Sparsifier:
    """The method from a mask that it has chosen, which is not to be found again."""
    if isinstance(sparsifier, DropGrow):
        return replace(sparsifier, initial_mask=first)
    return Static(first, dense=sparsifier.dense, on_collapse=sparsifier.on_collapse)


def _indices_of(name: str) -> str:
    """What a truly sparse layer's state has beside the weight of that name."""
    return f"{name.removesuffix('weight')}indices"


@torch.no_grad()
def _trains_alike(problem: Problem, model: nn.Module, mask: Mask, held: Mask) -> bool:
    """Whether a batch has the same loss in training, from the same random numbers."""
    inputs, targets = Batches(problem.train, batch_size=8, seed=0)(0)

    def loss(of: nn.Module) -> float:
        with global_seed(0, "execution"):
            return float(problem.loss(forward_pass(of.train(), problem.recipe)(inputs), targets))

    dense = copy.deepcopy(model)
    mask.apply_(dense)
    try:
        there = loss(sparse_inside(copy.deepcopy(dense), held))
    except Exception:  # whatever a user's model raises when a weight has one dimension
        return False
    expected = loss(dense)
    return math.isnan(expected) or abs(there - expected) <= 1e-4 * max(1.0, abs(expected))
