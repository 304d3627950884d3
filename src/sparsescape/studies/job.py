"""What a stage is given: its settings, its inputs, and where to leave its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..masks import Mask
from ..points import Point, load_point
from ..problems.catalogue import load
from ..problems.problem import Problem
from ..training.checkpoints import Checkpoint
from ..training.trainer import Observer
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
        steps = self.settings["steps"]
        return _load(context.problem, context.data_root, steps, context.device)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.out / "checkpoint.safetensors", every=self.context.checkpoint_every)

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
def _load(problem: str, data_root: str | None, steps: int | None, device: str) -> Problem:
    """A worker does many stages of one problem: its data are read once."""
    return load(problem, data_root=data_root, steps=steps, device=device)
