"""What a stage is given: its settings, its inputs, and where to leave its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...masks import Mask
from ...objective import Objective
from ...points import Point, load_point
from ...problems.catalogue import load
from ...problems.problem import Problem
from ...problems.recipe import scaled
from ...sparsifiers.catalogue import described
from ...training.checkpoints import Checkpoint, ShardedCheckpoint
from ...training.ranks import ALONE, Alone
from ...training.trainer import Observer
from ..store import read_json
from .context import Context

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
    ranks: Alone = ALONE
    """The processes that do it together."""

    def problem(self) -> Problem:
        context = self.context
        return self._long(_load(context.problem, context.data_root, context.device))

    def problem_anew(self) -> Problem:
        """The problem, made another time, as another process would."""
        context = self.context
        return self._long(load(context.problem, data_root=context.data_root, device=context.device))

    def _long(self, made: Problem) -> Problem:
        """The problem with a recipe of as many steps as are set."""
        steps = self.settings["steps"]
        return made if steps is None else replace(made, recipe=scaled(made.recipe, steps))

    @property
    def own_method(self) -> bool:
        """Whether the stage's method is one in a user's file."""
        return "method_source" in self.settings

    def method(self) -> str:
        """The stage's method as :func:`sparsescape.sparsifiers.catalogue.make_method` takes it.

        Raises:
            InputError: its file has changed since the stage was planned.
        """
        name = str(self.settings["method"])
        if not self.own_method:
            return name
        wanted = {"method": name, "method_source": self.settings["method_source"]}
        for method in self.context.methods:
            if described(method) == wanted:
                return method
        raise InputError(f"The file of {name} has changed since the run was planned.")

    def objective(self, split: str = "train") -> Objective:
        """The problem's, over all of its data."""
        problem = self.problem()
        return problem.objective(problem.make_model(0), split, execution=self.execution)

    def regularized(self) -> Objective:
        """That of the training set, with the weight decay that the recipe trains with."""
        problem = self.problem()
        return Objective(
            problem.make_model(0),
            problem.train,
            problem.loss,
            weight_decay=problem.recipe.regularizer,
            execution=self.execution,
        )

    @property
    def execution(self) -> str:
        """How what is inside a mask is run; no setting of most stages, which leave it to a rule."""
        return str(self.settings.get("execution", "auto"))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.out / "checkpoint.safetensors", every=self.context.checkpoint_every)

    def shared_checkpoint(self) -> Checkpoint | ShardedCheckpoint:
        """That of all ranks together."""
        return self.ranks.checkpoint(self.out, self.context.checkpoint_every)

    def point(self, role: str, which: str = "point") -> Point:
        """Where an input ended, or another of its points, on the problem's device."""
        point = load_point(self.inputs[role] / f"{which}.safetensors")
        device = self.problem().device
        return point if device is None else {n: t.to(device) for n, t in point.items()}

    def mask(self, role: str = "mask") -> Mask:
        return Mask.load(self.inputs[role] / "mask.safetensors")

    def metrics(self, role: str) -> Metrics:
        return read_json(self.inputs[role] / "metrics.json")

    @property
    def diverged_inputs(self) -> bool:
        return any(self.metrics(role).get("diverged", False) for role in self.inputs)


@lru_cache(maxsize=1)
def _load(problem: str, data_root: str | None, device: str) -> Problem:
    """A worker does many stages of one problem, of several lengths: its data are read once."""
    return load(problem, data_root=data_root, device=device)
