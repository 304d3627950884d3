"""What a study will take on machines that are not at hand: its operations, at a rate that is given.

``sparsescape study NAME --plan --plan-rate 1e14``. Nothing is run but one batch, to count its
operations. A stage is taken to run all operations of its network, closed weights or not, as a GPU
does, and nothing else: no time for data, for the optimizer, for starting. So the rate is to be that
of whole training steps, as measured, and not what a data sheet says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..points import named_parameters, named_weights
from ..problems import catalogue
from .forecast import Expected, Forecast, example_flops
from .graph import Stage, with_inputs
from .makespan import makespan
from .sizes import Shorter
from .stages.context import Context
from .store import Store

NEEDS_RUNS = (
    "What this study takes does not follow from its settings alone: leave out --plan-rate, and the "
    "plan runs its stages for a short time."
)


class Arithmetic:
    """Stands in for whoever does the stages of a study, and says what they would take.

    Args:
        store: where the study would be kept; what it needs and is there already costs nothing.
        context: as for the study.
        slots: how many stages would be done side by side.
        rate: operations a second, of each stage.
        folder: for what would be kept: nothing.

    Raises:
        InputError: the rate is not a number above 0.
    """

    def __init__(self, store: Store, context: Context, slots: int, rate: float, folder: Path):
        if not 0 < rate < math.inf:
            raise InputError(f"--plan-rate is a number above 0, not {rate}.")
        self._began = time.monotonic()
        self.store, self.slots, self.rate = store, slots, rate
        self.nothing = _Nothing(folder)
        self.problem = catalogue.load(
            context.problem, data_root=context.data_root, device=context.device
        )
        self._forward, self._both = example_flops(self.problem)
        self._sizes = Shorter(self.problem.recipe)
        self._stages: list[Stage] = []

    def do(self, stages: Sequence[Stage]) -> Store:
        """Foresee the stages, and all they need; returns a store that has no results to tell."""
        there = {stage.key for stage in self._stages}
        self._stages += [stage for stage in with_inputs(stages) if stage.key not in there]
        return self.nothing

    def forecast(self) -> Forecast:
        """What everything that was asked for will take."""
        expected = {stage.key: self._foresee(stage) for stage in self._stages}
        times = {key: one.seconds for key, one in expected.items() if not one.done}
        needs = {
            stage.key: {i.key for i in stage.inputs.values()} & times.keys()
            for stage in self._stages
            if stage.key in times
        }
        model = self.problem.make_model(0)
        return Forecast(
            stages=tuple(expected.values()),
            parameters=sum(p.numel() for p in named_parameters(model).values()),
            weights=sum(w.numel() for w in named_weights(model, self.problem.dense).values()),
            step_flops=self._both,
            memory=None,
            slots=self.slots,
            gpus=1.0,
            wall=makespan(times, needs, self.slots),
            calibration=time.monotonic() - self._began,
            short_runs=0,
            rate=self.rate,
            diverged=0,
        )

    def _foresee(self, stage: Stage) -> Expected:
        if self.store.has(stage.key):
            return Expected(stage.kind, 0.0, None, 0.0, done=True)
        flops = self._flops(stage)
        return Expected(stage.kind, flops / self.rate, None, flops)

    def _flops(self, stage: Stage) -> float:
        size = self._sizes.size(stage)
        if stage.kind in ("train", "fit"):
            return size * self.problem.recipe.batch_size * self._both
        if stage.kind == "along":
            examples = self.problem.count("train") + self.problem.count("test")
            return size * examples * self._forward
        if stage.kind == "check":  # next to nothing
            return 0.0
        raise InputError(NEEDS_RUNS)


class _Nothing(Store):
    """A store without results, for studies that ask for none before they are done."""

    def metrics(self, key: str) -> dict[str, Any]:
        raise InputError(NEEDS_RUNS)
