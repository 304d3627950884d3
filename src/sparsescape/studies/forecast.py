"""What a study will take: ``sparsescape study NAME --plan``.

Of the stages that are alike but for their seed one is run at two short sizes or more, by the
executor that would run the study, side by side as there. A stage's CPU time is then taken to be
a + b·n for its size n (:mod:`sparsescape.studies.sizes`), and its FLOPs to grow with n; CPU time,
since what else runs on the machine hardly changes it. How long that takes by the clock is as in all
short runs together. A study that plans its later stages by the results of the earlier ones is given
those of the short runs, scaled.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..points import named_parameters, named_weights
from ..problems import catalogue
from ..problems.problem import Problem
from ..training.batches import Batches
from ..training.flops import step_flops
from .executors.schedule import Executor
from .graph import Stage, with_inputs
from .makespan import makespan
from .sizes import Shorter, alike
from .stages.context import Context
from .store import Store, read_json, write_json

_LONG_ENOUGH = 1.0
"""Seconds by which a run is longer than the shortest, from which the next is as good."""

_GROWTH = 4


@dataclass(frozen=True)
class Expected:
    """What one stage will take."""

    kind: str
    seconds: float
    cpu_seconds: float | None
    """None where it is not known."""
    flops: float
    done: bool = False
    """Whether it is in the store already."""


@dataclass(frozen=True)
class Forecast:
    """What all of a study will take."""

    stages: tuple[Expected, ...]
    parameters: int
    weights: int
    """Those of the parameters that can be sparse."""
    step_flops: float
    """Of one training example, forward and backward, dense."""
    memory: int | None
    """Bytes that a worker holds at its peak; None where it is not known."""
    slots: int
    """Stages that run side by side."""
    gpus: float
    """Of each stage."""
    wall: float
    """Seconds from beginning to end."""
    calibration: float
    """Seconds that the forecast itself took."""
    short_runs: int
    """How many stages were run for a short time, to foretell the others."""
    rate: float | None
    """Operations a second that were given, where nothing was run."""
    diverged: int
    """Calibrations that diverged, and so say little."""

    @property
    def seconds(self) -> float:
        """Of all stages, one after the other."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cpu_hours(self) -> float | None:
        """None where it is not known."""
        known = [s.cpu_seconds for s in self.stages if s.cpu_seconds is not None]
        return sum(known) / 3600 if len(known) == len(self.stages) else None

    @property
    def gpu_hours(self) -> float:
        return self.seconds * self.gpus / 3600


class Forecaster:
    """Stands in for whoever does the stages of a study, and says what they would take.

    Args:
        store: where the study would be kept; what it needs and is there already costs nothing.
        context: as for the study.
        executor: that would do its stages.
        compute: does stages, and all they need, in a store, by that executor.
        folder: for the short runs; on a shared path where the executor needs one.
    """

    def __init__(
        self,
        store: Store,
        context: Context,
        executor: Executor,
        compute: Callable[[Sequence[Stage], Store], None],
        folder: Path,
    ):
        self.store, self.executor, self.compute = store, executor, compute
        self.short, self.predicted = Store(folder / "short"), Store(folder / "predicted")
        self.problem = catalogue.load(
            context.problem, data_root=context.data_root, device=context.device
        )
        self.shorter = Shorter(self.problem.recipe)
        self.expected: dict[str, Expected] = {}
        self._runs: dict[str, list[Stage]] = {}
        self._startups: list[float] = []
        self._forward, self._both = example_flops(self.problem)
        self._wall = 0.0
        self._began = time.monotonic()

    def do(self, stages: Sequence[Stage]) -> Store:
        """Foresee the stages, and all they need; returns a store of what they may come to."""
        asked = [s for s in with_inputs(stages) if s.key not in self.expected]
        there = [s for s in asked if self.store.has(s.key)]
        missing = [s for s in asked if not self.store.has(s.key)]
        for stage in there:
            shutil.copytree(self.store.path(stage.key), self.predicted.path(stage.key))
            self.expected[stage.key] = Expected(stage.kind, 0.0, 0.0, 0.0, done=True)
        self._calibrate(missing)
        for stage in missing:
            self.expected[stage.key] = self._foresee(stage)
        if missing:
            self._wall += statistics.median(self._startups) + self._first_times(missing)
            self._wall += self._makespan(missing)
        return self.predicted

    def forecast(self) -> Forecast:
        """What everything that was asked for will take."""
        runs = [run.key for found in self._runs.values() for run in found]
        model = self.problem.make_model(0)
        return Forecast(
            stages=tuple(self.expected.values()),
            parameters=sum(p.numel() for p in named_parameters(model).values()),
            weights=sum(w.numel() for w in named_weights(model, self.problem.dense).values()),
            step_flops=self._both,
            memory=max((self._provenance(key)["memory"] for key in runs), default=0),
            slots=self.executor.slots(),
            gpus=getattr(self.executor, "gpus", 0.0),
            wall=self._wall,
            calibration=time.monotonic() - self._began,
            short_runs=sum(1 for _ in self.short.root.glob("stages/*")),
            rate=None,
            diverged=sum(bool(self.short.metrics(key).get("diverged")) for key in runs),
        )

    # ------------------------------------------------------------------ short runs

    def _calibrate(self, stages: Sequence[Stage]) -> None:
        """Run one of the stages that are alike at two sizes, and at more until it says enough."""
        first = {alike(stage): stage for stage in reversed(stages)}
        first = {name: stage for name, stage in first.items() if name not in self._runs}
        for name, stage in first.items():
            least, full = self.shorter.least(stage), self.shorter.size(stage)
            sizes = dict.fromkeys((least, min(_GROWTH * least, full)))
            self._runs[name] = [self.shorter(stage, size) for size in sizes]
        by_size = zip_longest(*(self._runs[name] for name in first))
        self._run([run for level in by_size for run in level if run is not None])
        while growing := {name: s for name, s in first.items() if not self._is_enough(name, s)}:
            for name, stage in growing.items():
                size = min(_GROWTH * self._size(name), self.shorter.size(stage))
                self._runs[name].append(self.shorter(stage, size))
            self._run([self._runs[name][-1] for name in growing])
        again = {n: self.shorter(s, self._size(n), seed=1) for n, s in first.items()}
        self._run(list(again.values()))  # a while later, on a machine that others use too
        for name, run in again.items():
            self._runs[name].append(run)

    def _size(self, name: str) -> int:
        """Of the longest run so far."""
        return self.shorter.size(self._runs[name][-1])

    def _is_enough(self, name: str, stage: Stage) -> bool:
        """Whether the longest run took enough longer than the shortest, or the next is as long as
        the stage: what runs of any length take, as to look at all data, says nothing."""
        runs = self._runs[name]
        least, most = (self._provenance(run.key)["seconds"] for run in (runs[0], runs[-1]))
        return most - least > _LONG_ENOUGH or _GROWTH * self._size(name) >= self.shorter.size(stage)

    def _run(self, runs: Sequence[Stage]) -> None:
        missing = [s.key for s in with_inputs(runs) if not self.short.has(s.key)]
        began = time.time()
        self.compute(runs, self.short)
        if missing:
            found = [self._provenance(key) for key in missing]
            first, loading = min(f["began"] for f in found), max(f["loading"] for f in found)
            self._startups.append(max(0.0, first - began) + loading)

    def _first_times(self, stages: Sequence[Stage]) -> float:
        """What each worker takes for its first stage of each kind, beyond what others take."""
        longer: dict[str, float] = {}
        for found in (self.short.root / "stages").glob("*/provenance.json"):
            times, kind = read_json(found), found.parent.name.rpartition("-")[0]
            if "rehearsal" in times:
                longer[kind] = max(longer.get(kind, 0.0), times["rehearsal"] - times["seconds"])
        return sum(longer.get(kind, 0.0) for kind in {stage.kind for stage in stages})

    def _provenance(self, key: str) -> dict[str, Any]:
        return self.short.provenance(key)

    # ------------------------------------------------------------------ what follows from them

    def _foresee(self, stage: Stage) -> Expected:
        runs = self._runs[alike(stage)]
        sizes = [self.shorter.size(run) for run in runs]
        times = [self._provenance(run.key)["cpu_seconds"] for run in runs]
        cpu = at_size(self.shorter.size(stage), sizes, times)
        growth = self.shorter.size(stage) / sizes[-1]
        flops = self._pretend(stage, runs[-1], growth)
        return Expected(stage.kind, cpu * self._by_the_clock(), cpu, flops)

    def _by_the_clock(self) -> float:
        """Seconds that a second of CPU time took, over all short runs."""
        found = [self._provenance(run.key) for runs in self._runs.values() for run in runs]
        return sum(f["seconds"] for f in found) / sum(f["cpu_seconds"] for f in found)

    def _pretend(self, stage: Stage, run: Stage, growth: float) -> float:
        """Leave what the short run came to as what the stage does; returns the stage's FLOPs."""
        folder = self.predicted.path(stage.key)
        shutil.copytree(self.short.path(run.key), folder)
        metrics = self.short.metrics(run.key)
        own = growth * self._own_flops(run, metrics)
        metrics |= self._longer(stage, run, metrics, growth, own)
        write_json(folder / "metrics.json", metrics)
        return own

    def _own_flops(self, run: Stage, metrics: Mapping[str, Any]) -> float:
        """Those of one run, without those that its mask had cost before; 0 of other kinds."""
        if run.kind == "train":
            return (metrics["flops"] or 0.0) - self._before(self.short, run, "flops")
        if run.kind in ("fit", "find"):
            return metrics["examples"] * self._both
        if run.kind == "along":
            examples = self.problem.count("train") + self.problem.count("test")
            return len(metrics["t"]) * examples * self._forward
        return 0.0

    def _longer(
        self, stage: Stage, run: Stage, metrics: Mapping[str, Any], growth: float, own: float
    ) -> dict[str, Any]:
        """What of a run's metrics is another at the stage's size."""
        if stage.kind == "prune":
            trained = self.predicted.metrics(stage.inputs["trained"].key)
            return {"flops_before": trained["flops"], "steps_before": trained["steps"]}
        if stage.kind != "train" or metrics["flops"] is None:
            return {}
        steps = metrics["steps"] - self._before(self.short, run, "steps")
        return {
            "train_loss": None,  # a short run's says nothing of where this one ends
            "flops": own + self._before(self.predicted, stage, "flops"),
            "steps": round(growth * steps) + int(self._before(self.predicted, stage, "steps")),
        }

    @staticmethod
    def _before(store: Store, run: Stage, what: str) -> float:
        mask = run.inputs.get("mask")
        return store.metrics(mask.key).get(f"{what}_before", 0.0) if mask else 0.0

    def _makespan(self, stages: Sequence[Stage]) -> float:
        times = {s.key: self.expected[s.key].seconds for s in stages}
        needs = {s.key: {i.key for i in s.inputs.values()} & times.keys() for s in stages}
        return makespan(times, needs, self.executor.slots())


def at_size(size: int, sizes: Sequence[int], times: Sequence[float]) -> float:
    """a + b·size, by the mean times at the smallest and at the largest of the sizes.

    >>> at_size(100, [10, 40, 40], [2.0, 4.0, 6.0])
    11.0
    >>> at_size(7, [7, 7], [2.0, 4.0])
    3.0
    """
    small, large = min(sizes), max(sizes)
    mean = {
        n: statistics.fmean(t for m, t in zip(sizes, times, strict=True) if m == n)
        for n in (small, large)
    }
    slope = max(0.0, (mean[large] - mean[small]) / max(large - small, 1))
    return mean[large] + slope * (size - large)


def example_flops(problem: Problem) -> tuple[float, float]:
    """Operations of one example through the dense network: forward; forward and backward."""
    batch = Batches(problem.train, batch_size=8, seed=0)(0)
    counted = step_flops(problem.make_model(0), batch, problem.loss)
    return sum(counted.gradients.values()), counted.at({})


def temporary(store: Store) -> tempfile.TemporaryDirectory[str]:
    """A folder for short runs, where all nodes see it if they see the store."""
    if store.address != str(store.root):
        raise InputError("--plan is done in a folder: leave out --store, or name one.")
    store.root.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="plan-", dir=store.root)
