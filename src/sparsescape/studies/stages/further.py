"""What a training run may be given beyond its method: a start from another's end, and a record.

Settings of a ``train`` stage, none of which it needs:

- ``"start": "point"``: where its input ``start`` ended, its weights outside the mask closed; with
  ``"noise": scale`` after :func:`sparsescape.init.perturb`.
- ``"constant_lr": share``: a constant learning rate, that share of the recipe's.
- ``"options"``: settings of the method, others than those of its row; ``"open": "measured"`` is
  what its input ``measured`` found.
- ``"trajectory": n``: the training loss at the start and at n places on the way.
- ``"snapshots": n``: the point at n places on the way, as ``snapshot-STEP.safetensors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from ... import init
from ...kernels.convert import dense_point
from ...masks import Mask
from ...objective import Objective
from ...points import move_to, save_point
from ...problems.problem import Problem
from ...training.trainer import Observer, Run
from ..store import read_json, write_json
from .job import Job, Metrics
from .openings import MEASURED, to_open


def as_set(problem: Problem, settings: Mapping[str, Any]) -> Problem:
    """The problem with the learning rate that the settings say."""
    share = settings.get("constant_lr")
    if share is None:
        return problem
    recipe = replace(problem.recipe, lr=share * problem.recipe.lr, schedule="constant", warmup=0)
    return replace(problem, recipe=recipe)


def from_point(job: Job, problem: Problem, mask: Mask | None) -> nn.Module:
    """The model where the input ``start`` ended, inside the mask where there is one."""
    seed, noise = job.settings["seed"], job.settings.get("noise")
    model = problem.make_model(seed)
    move_to(model, job.point("start"))
    if mask is not None:
        mask.apply_(model)
    if mask is not None and noise:
        init.perturb(model, mask, scale=noise, seed=seed)
    return model


def options(job: Job) -> dict[str, Any]:
    """The settings of the method, what was measured in the place of its name."""
    found = dict(job.settings.get("options", {}))
    if found.get("open") == MEASURED:
        found["open"] = to_open(read_json(job.inputs["measured"] / "metrics.json"))
    return found


class Trajectory:
    """The loss over the whole training set along a run, against the FLOPs spent.

    It is kept in a file beside the checkpoint, so that a run that is interrupted has it whole: a
    step that is taken again leaves the same bytes.
    """

    def __init__(self, job: Job, objective: Objective, steps: int):
        self._due = _places(job.settings.get("trajectory", 0), steps)
        self._file = job.out / "trajectory.json"
        self._objective = objective

    def beside(self, observe: Observer, run: Run) -> Observer:
        """An observer that also evaluates the run's module at the steps that are due."""

        def both(step: int, loss: float) -> None:
            observe(step, loss)
            if step + 1 in self._due:
                found = self._objective.evaluate(dense_point(run.module))
                write_json(self._file, self._kept() | {str(step + 1): [run.spent, found.loss]})

        return both

    def metrics(self, initial: float) -> Metrics:
        """Steps, FLOPs and losses, the start first; nothing where none was asked for."""
        if not self._due:
            return {}
        kept = self._kept()
        steps = [step for step in sorted(self._due) if str(step) in kept]
        self._file.unlink(missing_ok=True)
        return {
            "trajectory": {
                "step": [0, *steps],
                "flops": [0.0, *(kept[str(step)][0] for step in steps)],
                "train_loss": [initial, *(kept[str(step)][1] for step in steps)],
            }
        }

    def _kept(self) -> dict[str, list[float]]:
        return read_json(self._file) if self._file.exists() else {}


SNAPSHOTS = "snapshot-*.safetensors"
"""The files of the points that a run went through, in the order of their steps."""


def with_snapshots(observe: Observer, job: Job, run: Run) -> Observer:
    """An observer that also keeps the point after the steps that are due."""
    due = _places(job.settings.get("snapshots", 0), run.steps)

    def both(step: int, loss: float) -> None:
        observe(step, loss)
        if step + 1 in due:
            name = SNAPSHOTS.replace("*", f"{step + 1:09d}")
            save_point(dense_point(run.module), job.out / name)

    return both


def _places(count: int, steps: int) -> set[int]:
    """So many even steps of a run, the last among them.

    >>> sorted(_places(4, 100)), sorted(_places(9, 2)), _places(0, 100)
    ([25, 50, 75, 100], [1, 2], set())
    """
    count = min(count, steps)
    return {round(i * steps / count) for i in range(1, count + 1)}
