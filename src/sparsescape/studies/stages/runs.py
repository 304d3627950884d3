"""Stages that train a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ... import init
from ...errors import InputError
from ...kernels.convert import to_dense
from ...kernels.execution import sparse_inside
from ...masks import Mask
from ...points import matching, named_weights, save_point
from ...problems.problem import Problem
from ...seeds import global_seed
from ...selection import keep_count
from ...sparsifiers.base import Sparsifier
from ...sparsifiers.catalogue import Plan, make_method
from ...sparsifiers.escape import check_room
from ...sparsifiers.static import Static
from ...sparsifiers.views import View
from ...training.batches import Batches
from ...training.flops import step_flops
from ...training.recipes import clipping, forward_pass, learning_rate, make_optimizer
from ...training.trainer import Outcome, Run
from .execution import executed, held_sparse
from .further import Trajectory, as_set, from_point, options, with_snapshots
from .job import Job, Metrics
from .origin import note_origin


def check(job: Job) -> Metrics:
    """Try the problem once, on a few examples, and the method where it is a user's own, before any
    work is done."""
    problem = job.problem()
    problem.check()
    if "file" in job.settings["problem"]:
        problem.check_again(job.problem_anew())
    if job.execution == "sparse":
        _check_sparse(problem)
    weights = named_weights(problem.make_model(0), dense=problem.dense)
    matching(weights, job.settings.get("weights", ()))
    if job.settings.get("scaled") and problem.scaled is None:
        raise InputError("small-dense needs a problem that says how its model is `scaled`.")
    for count in job.settings.get("opened", ()):
        size = sum(weight.numel() for weight in weights.values())
        check_room(count, size - keep_count(size, job.settings["sparsity"]))
    if job.own_method:
        _check_method(job, problem)
    note_origin(problem, job.context, job.out)
    return {split: problem.count(split) for split in ("train", "test")}


def _check_method(job: Job, problem: Problem) -> None:
    sparsifier = make_method(job.method(), _plan(problem, job.settings, None))
    model = problem.make_model(job.settings["seed"])
    if sparsifier is not None:
        sparsifier.attach(model, make_optimizer(model, problem.recipe))


def _check_sparse(problem: Problem) -> None:
    model = problem.make_model(0)
    half = Mask(Static(sparsity=0.5, dense=problem.dense).first_mask(model))
    if not held_sparse(problem, model, half, "sparse"):
        raise InputError(
            "This network cannot be run sparse: it has no Linear or Conv2d whose weight is its "
            "own; leave execution to 'auto', or ask for 'masked'."
        )


_TRAINED = (
    "initial_loss",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "active",
    "nonzeros",
    "weights",
    "sparsity",
    "flops",
)


_SCORED = 128
"""Examples that a mask at initialization is scored on, as in Lee et al. 2019, section 5."""


def train(job: Job) -> Metrics:
    """One training run: from a start, with a method, to ``point.safetensors`` and its mask.

    With an input ``start`` it begins at that run's point; with a setting ``part`` it takes a part
    of the recipe's steps, at their learning rates and on their batches. What a mask has cost to
    find by rounds of training (:mod:`pruning`) is part of what the run cost.
    """
    if job.diverged_inputs:
        return {**dict.fromkeys(_TRAINED), "steps": 0, "diverged": True}
    settings = job.settings
    problem = as_set(job.problem(), settings)
    mask = job.mask() if "mask" in job.inputs else None
    model = _model(job, problem, mask)
    save_point(model, job.out / "start.safetensors")
    initial = job.ranks.evaluate(problem.objective(model), model)
    plan = _plan(problem, settings, mask)
    sparsifier = make_method(job.method(), plan, **options(job))
    trajectory = Trajectory(job, problem.objective(model), problem.recipe.steps)
    sparsifier, held = executed(job, problem, model, sparsifier)
    outcome = _train(job, problem, model, sparsifier, trajectory, held)
    final = sparsifier.mask if sparsifier is not None else Mask.of(model)
    if held and sparsifier is not None:
        sparsifier.detach()
        to_dense(model)
    save_point(model, job.out / "point.safetensors")
    nonzero = Mask.of(model)
    final.save(job.out / "mask.safetensors")
    reached = _evaluated(job, problem, model)
    diverged = outcome.diverged or not math.isfinite(reached["train_loss"])
    before = job.metrics("mask") if "mask" in job.inputs else {}
    return {
        "initial_loss": initial.loss,
        **(dict.fromkeys(reached) if diverged else reached),
        "active": final.count,
        "nonzeros": nonzero.count,
        "weights": nonzero.total,
        "sparsity": nonzero.sparsity,
        "flops": outcome.cost + before.get("flops_before", 0.0),
        "steps": outcome.steps + before.get("steps_before", 0),
        "diverged": diverged,
        "run_sparse": list(held),
        **trajectory.metrics(initial.loss),
    }


def _model(job: Job, problem: Problem, mask: Mask | None) -> nn.Module:
    settings = job.settings
    if settings["start"] == "point":
        return from_point(job, problem, mask)
    if settings["method"] != "small-dense":
        return start(problem, settings["start"], settings["seed"], mask)
    weights = sum(w.numel() for w in named_weights(problem.make_model(0), problem.dense).values())
    kept = keep_count(weights, settings["sparsity"])
    return problem.small_dense(kept, settings["seed"])


def start(problem: Problem, name: str, seed: int, mask: Mask | None) -> nn.Module:
    """The model where training starts, inside the mask where there is one.

    ``"initialization"`` is the one that the dense run and pruning start from; ``"fresh"`` is
    another draw of the same initialization; ``"fresh-sparse-fan-in"`` is that one with its masked
    weights drawn anew at the scale of the sparse fan-in.
    """
    model = problem.make_model(seed, "initialization" if name == "initialization" else "fresh")
    if mask is not None:
        if name == "fresh-sparse-fan-in":
            init.sparse_fan_in(model, mask, seed=seed)
        mask.apply_(model)
    return model


def _train(
    job: Job,
    problem: Problem,
    model: nn.Module,
    sparsifier: Sparsifier | None,
    trajectory: Trajectory,
    held: Mask,
) -> Outcome:
    recipe, ranks = problem.recipe, job.ranks
    inputs, targets = Batches(problem.train, batch_size=8, seed=0)(0)
    flops = step_flops(model, (inputs, targets), problem.loss)
    sparse_inside(model, held)
    batches = Batches(problem.train, batch_size=recipe.batch_size, seed=job.settings["seed"])
    trained = ranks.spread(model)
    optimizer = make_optimizer(trained, recipe)
    ranks.fit(optimizer)
    if sparsifier is not None:
        sparsifier.attach(trained, optimizer)

    forward = forward_pass(trained, recipe)

    def loss(step: int) -> torch.Tensor:
        (inputs, targets), share = ranks.part(batches(step))
        ranks.draw(job.settings["seed"], step)
        return share * problem.loss(forward(inputs), targets)

    def cost() -> float:
        if sparsifier is None:
            return flops.at({}) * batches.batch_size
        return flops.at(sparsifier.densities, _gradients(sparsifier)) * batches.batch_size

    trained.train()
    first, last = (round(p * recipe.steps) for p in job.settings.get("part", (0, 1)))
    rate = learning_rate(recipe)
    run = Run(trained, loss, optimizer, rate, last, sparsifier=sparsifier, cost=cost, first=first)
    run.ranks = ranks
    run.transform = clipping(trained, recipe)
    with global_seed(job.settings["seed"], "training"):  # for what draws within a model: dropout
        observe = trajectory.beside(job.observer(recipe.steps), run)
        observe = with_snapshots(observe, job, run)
        outcome = run.train(job.shared_checkpoint(), observe)
    ranks.gather(trained, model)
    return outcome


def _gradients(sparsifier: Sparsifier) -> Mapping[str, float]:
    """Weight name → the share of positions whose gradient the next step needs."""
    if sparsifier.wants_gradient(sparsifier.step + 1):
        return {}
    return sparsifier.trained if isinstance(sparsifier, View) else sparsifier.densities


def _plan(problem: Problem, settings: Mapping[str, Any], mask: Mask | None) -> Plan:
    recipe = problem.recipe
    return Plan(
        sparsity=settings["sparsity"],
        distribution=settings["distribution"],
        steps=recipe.steps,
        begin=recipe.prune_begin,
        end=recipe.prune_end,
        every=recipe.prune_every,
        seed=settings["seed"],
        mask=mask,
        dense=problem.dense,
        data=Batches(problem.train, batch_size=_SCORED, seed=settings["seed"])(0),
        loss=problem.loss,
    )


def _evaluated(job: Job, problem: Problem, model: nn.Module) -> Metrics:
    """Loss and accuracy on the whole of both data sets."""
    metrics: Metrics = {}
    for split in ("train", "test"):
        found = job.ranks.evaluate(problem.objective(model, split), model)
        metrics |= {f"{split}_loss": found.loss, f"{split}_accuracy": found.accuracy}
    return metrics
