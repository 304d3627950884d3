"""The kinds of stages: functions from settings and the folders of their inputs to metrics.

Each writes its points into ``job.out`` and returns its metrics. A stage whose input diverged
says so and does nothing more, so that one diverged run does not sink a study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import init, schedules
from ..landscape.curves import Bezier, Curve, Line
from ..landscape.profiles import profile
from ..landscape.search import fit_curve
from ..masks import Mask
from ..points import Point, load_point, save_point
from ..problems.catalogue import load
from ..problems.problem import Problem
from ..problems.recipe import Recipe
from ..seeds import global_seed
from ..sparsifiers.base import Sparsifier
from ..sparsifiers.catalogue import Plan, make_method
from ..training.batches import Batches
from ..training.checkpoints import Checkpoint
from ..training.flops import step_flops
from ..training.trainer import Observer, Outcome, Run
from .executor import Context
from .store import read_json

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One stage to be done, on a worker."""

    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    context: Context
    observer: Callable[[int], Observer]
    """From the number of steps to come to what is told of each step and its loss."""

    def problem(self) -> Problem:
        context = self.context
        return _load(context.problem, context.data_root, self.settings["steps"])

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.out / "checkpoint.safetensors", every=self.context.checkpoint_every)

    def point(self, role: str, which: str = "point") -> Point:
        return load_point(self.inputs[role] / f"{which}.safetensors")

    def mask(self, role: str = "mask") -> Mask:
        return Mask.load(self.inputs[role] / "mask.safetensors")

    @property
    def diverged_inputs(self) -> bool:
        return any(
            read_json(path / "metrics.json").get("diverged", False) for path in self.inputs.values()
        )


@lru_cache(maxsize=1)
def _load(problem: str, data_root: str | None, steps: int | None) -> Problem:
    """A worker does many stages of one problem: its data are read once."""
    return load(problem, data_root=data_root, steps=steps)


# ---------------------------------------------------------------------------- check


def check(job: Job) -> Metrics:
    """Try the problem once, on a few examples, before any work is done."""
    problem = job.problem()
    problem.check()
    return {"train": len(problem.train[0]), "test": len(problem.test[0])}


# ---------------------------------------------------------------------------- train


_TRAINED = (
    "initial_loss",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "nonzeros",
    "weights",
    "sparsity",
    "flops",
)


def train(job: Job) -> Metrics:
    """One training run: from a start, with a method, to ``point.safetensors`` and its mask."""
    if job.diverged_inputs:
        return {**dict.fromkeys(_TRAINED), "steps": 0, "diverged": True}
    problem, settings = job.problem(), job.settings
    mask = job.mask() if "mask" in job.inputs else None
    model = start(problem, settings["start"], settings["seed"], mask)
    save_point(model, job.out / "start.safetensors")
    initial = problem.objective(model).evaluate(model)
    sparsifier = make_method(settings["method"], _plan(problem, settings, mask))
    outcome = _train(job, problem, model, sparsifier)
    save_point(model, job.out / "point.safetensors")
    final = sparsifier.mask if sparsifier is not None else Mask.of(model)
    final.save(job.out / "mask.safetensors")
    reached = _evaluated(problem, model)
    diverged = outcome.diverged or not math.isfinite(reached["train_loss"])
    return {
        "initial_loss": initial.loss,
        **(dict.fromkeys(reached) if diverged else reached),
        "nonzeros": final.count,
        "weights": final.total,
        "sparsity": final.sparsity,
        "flops": outcome.cost,
        "steps": outcome.steps,
        "diverged": diverged,
    }


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


def _train(job: Job, problem: Problem, model: nn.Module, sparsifier: Sparsifier | None) -> Outcome:
    recipe = problem.recipe
    batches = Batches(problem.train, batch_size=recipe.batch_size, seed=job.settings["seed"])
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,  # the same update in one pass; on small models, where a step is overhead
    )
    if sparsifier is not None:
        sparsifier.attach(model, optimizer)

    def loss(step: int) -> torch.Tensor:
        inputs, targets = batches(step)
        return problem.loss(model(inputs), targets)

    example = Batches(problem.train, batch_size=8, seed=0)(0)
    flops = step_flops(model, example, problem.loss)

    def cost() -> float:
        densities = {} if sparsifier is None else sparsifier.densities
        return flops.at(densities) * batches.batch_size

    model.train()
    run = Run(model, loss, optimizer, learning_rate(recipe), recipe.steps, sparsifier, cost)
    with global_seed(job.settings["seed"], "training"):  # for what draws within a model: dropout
        return run.train(job.checkpoint(), job.observer(recipe.steps))


def learning_rate(recipe: Recipe) -> schedules.Schedule:
    """The recipe's learning rate at every step."""
    if recipe.schedule == "constant":
        return schedules.warmup(schedules.constant(recipe.lr), recipe.warmup)
    decay = schedules.cosine(recipe.lr, begin=recipe.warmup, end=recipe.steps)
    return schedules.warmup(decay, recipe.warmup)


def _plan(problem: Problem, settings: Mapping[str, Any], mask: Mask | None) -> Plan:
    recipe = problem.recipe
    return Plan(
        sparsity=settings["sparsity"],
        distribution=settings["distribution"],
        begin=recipe.prune_begin,
        end=recipe.prune_end,
        every=recipe.prune_every,
        mask=mask,
        dense=problem.dense,
    )


def _evaluated(problem: Problem, model: nn.Module) -> Metrics:
    """Loss and accuracy on the whole of both data sets."""
    metrics: Metrics = {}
    for split in ("train", "test"):
        found = problem.objective(model, split).evaluate(model)
        metrics |= {f"{split}_loss": found.loss, f"{split}_accuracy": found.accuracy}
    return metrics


# ---------------------------------------------------------------------------- paths


def fit(job: Job) -> Metrics:
    """Search for a path between two runs; the control points go to ``control-K.safetensors``."""
    if job.diverged_inputs:
        return {"diverged": True, "steps": 0, "examples": 0}
    problem, settings = job.problem(), job.settings
    curve = _bezier(job)
    found = fit_curve(
        curve,
        problem.objective(problem.make_model(0)),
        steps=settings["curve_steps"],
        lr=settings["curve_lr"],
        batch_size=problem.recipe.batch_size,
        seed=settings["seed"],
        checkpoint=job.checkpoint(),
        observe=job.observer(settings["curve_steps"]),
    )
    for number, point in enumerate(curve.control_points(), start=1):
        save_point(point, job.out / f"control-{number}.safetensors")
    return {"steps": found.steps, "examples": found.examples, "diverged": found.diverged}


def _bezier(job: Job) -> Bezier:
    inside = job.settings["space"] == "sparse"
    return Bezier(
        job.point("start"),
        job.point("end"),
        degree=job.settings["degree"],
        subspace=job.mask() if inside else None,
    )


_ALONG = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def along(job: Job) -> Metrics:
    """Evaluate both data sets along a line between two points, or along a curve that was fitted."""
    problem, settings = job.problem(), job.settings
    if job.diverged_inputs:
        unknown = {name: [None] * len(settings["t"]) for name in _ALONG}
        measures = dict.fromkeys(("barrier", "climb", "tolerance"))
        return {"t": settings["t"], **unknown, **measures, "decreasing": False, "diverged": True}
    curve = _fitted(job) if "curve" in job.inputs else _line(job)
    model, t = problem.make_model(0), settings["t"]
    train = profile(curve, problem.objective(model), t=t)
    test = profile(curve, problem.objective(model, "test"), t=t)
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
    }


def _line(job: Job) -> Curve:
    which = job.settings["from"]  # "start": where that run began; "point": where it ended
    return Line(job.point("start", which), job.point("end"))


def _fitted(job: Job) -> Curve:
    """The curve through control points that are in the subspace already."""
    controls = sorted(job.inputs["curve"].glob("control-*.safetensors"))
    curve = Bezier(job.point("start"), job.point("end"), degree=len(controls) + 1)
    curve.set_control_points([load_point(path) for path in controls])
    return curve


KINDS: dict[str, Callable[[Job], Metrics]] = {
    "check": check,
    "train": train,
    "fit": fit,
    "along": along,
}
