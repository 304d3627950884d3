"""What commands share: computing stages in front of the person who waits, and telling of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import InputError

if TYPE_CHECKING:
    from ..report.live import LiveProgress
    from ..studies.executors.schedule import Executor
    from ..studies.graph import Stage
    from ..studies.stages.context import Context
    from ..studies.store import Store

Distribution = Literal["uniform", "erk", "lamp", "global"]
Execution = Literal["auto", "masked", "sparse"]

Do: TypeAlias = "Callable[[Sequence[Stage]], Store]"
"""Does stages, and all they need; returns where their results are."""
Conduct: TypeAlias = "tuple[Sequence[Stage], Callable[[], dict[str, Any]]]"
"""The stages of a study, and what gathers its results when they are done."""


@dataclass(frozen=True)
class Computing:
    """Where the stages of a study are done, and what is kept of them: nothing it depends on."""

    store: str = "runs"
    """Folder of finished stages and studies, or its URL: s3://… (docs/machines.md)."""
    data_root: str | None = None
    """Folder of the data, for problems that need files."""
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints of a stage."""
    device: str = "auto"
    """A device as torch names it; auto takes a GPU, if there is one, for large problems."""
    executor: Literal["local", "ray"] = "local"
    """Worker processes on this machine, or tasks on a Ray cluster (docs/machines.md)."""
    workers: int = 0
    """Local: worker processes; 0 for as many as there are cores."""
    address: str | None = None
    """Ray: the cluster's; unless given, RAY_ADDRESS, or a cluster of this machine alone."""
    cpus: float = 1.0
    """Ray: CPUs of each stage."""
    gpus: float = 0.0
    """Ray: GPUs of each stage."""
    memory: float = 0.0
    """Ray: GiB of memory that a node must have left for a stage to start there."""
    plan: bool = False
    """Run nothing but a short calibration: print the stages and what they will take."""
    plan_rate: float | None = None
    """With --plan: operations a second of each stage, on machines that are not at hand, instead of
    a calibration (docs/machines.md)."""

    def check(self) -> None:
        """Raise :class:`InputError` for flags that do not go together. Not where they are parsed:
        the parser would tell of it in its own words."""
        if self.executor == "local" and self.address is not None:
            raise InputError("--address is that of a Ray cluster: give --executor ray as well.")
        if self.plan_rate is not None and not self.plan:
            raise InputError("--plan-rate is for a plan: give --plan as well.")

    def make_executor(self) -> Executor:
        if self.executor == "ray":
            from ..studies.executors.cluster import RayExecutor

            return RayExecutor(self.address, self.cpus, self.gpus, self.memory)
        from ..studies.executors.local import LocalExecutor

        return LocalExecutor(self.workers)


def conduct(
    study: Callable[[Do], Conduct],
    problem: str,
    computing: Computing,
    methods: Sequence[str] = (),
) -> None:
    """Do a study, stage by stage, and tell of it; or foresee what it takes.

    Args:
        problem, methods: as the command names them: where a user's own are found.
    """
    from ..problems.catalogue import check_device
    from ..studies.stages.context import Context
    from ..studies.stores import open_store

    computing.check()
    check_device(computing.device)
    kept, executor = open_store(computing.store), computing.make_executor()
    context = Context(
        problem,
        computing.data_root,
        computing.checkpoint_every,
        device=computing.device,
        methods=methods,
    )

    if computing.plan:
        foresee(study, kept, context, executor, computing.plan_rate)
        return

    with watching() as live:

        def do(stages: Sequence[Stage]) -> Store:
            compute(stages, kept, context, executor, live)
            return kept

        stages, results = study(do)
    tell(results(), stages, kept)


def foresee(
    study: Callable[[Do], Conduct],
    store: Store,
    context: Context,
    executor: Executor,
    rate: float | None,
) -> None:
    """Print what a study will take: from short runs of its stages, or at a rate that is given."""
    from ..report.forecast import print_forecast
    from ..studies.arithmetic import Arithmetic
    from ..studies.forecast import Forecaster, temporary

    rehearsed = replace(context, rehearse=True)

    with watching() as live, temporary(store) as folder:

        def run(stages: Sequence[Stage], short: Store) -> None:
            compute(stages, short, rehearsed, executor, live)

        planner = (
            Forecaster(store, context, executor, run, Path(folder))
            if rate is None
            else Arithmetic(store, context, executor.slots(), rate, Path(folder))
        )
        study(planner.do)
        found = planner.forecast()
    print_forecast(found)


def watching() -> LiveProgress:
    """What shows a person the stages of a whole command, over all its rounds; made once in it."""
    from rich.console import Console

    from ..report.live import LiveProgress

    return LiveProgress(Console(stderr=True, quiet=not is_first()))


def compute(
    stages: Sequence[Stage],
    store: Store,
    context: Context,
    executor: Executor,
    live: LiveProgress,
) -> None:
    """Do the stages that are not done yet, in front of the person who waits."""
    from ..studies.graph import with_inputs
    from ..studies.stages.origin import check_origin

    check_origin(stages, store, context)
    live.expect({s.key: s.label for s in with_inputs(stages) if not store.has(s.key)})
    executor.run(stages, store, context, live)


def compute_one(
    stage: Stage, store: str, context: Context, parallel: Literal["ddp", "fsdp"] | None = None
) -> Store:
    """Do one stage, and what it needs: in a worker process that has all of the machine, or in
    these processes, if they are several that train together."""
    from ..problems.catalogue import check_device
    from ..studies.executors.local import LocalExecutor
    from ..studies.stores import open_store

    check_device(context.device)
    kept = open_store(store)
    executor: Executor = LocalExecutor(workers=1)
    if parallel is not None:
        from ..studies.executors.together import RanksExecutor

        executor = RanksExecutor(parallel)
    with watching() as live:
        compute([stage], kept, context, executor, live)
    return kept


def is_first() -> bool:
    """Whether this process is the one of those started together that speaks."""
    return os.environ.get("RANK", "0") == "0"


def how_parallel(asked: Literal["ddp", "fsdp"] | None) -> Literal["ddp", "fsdp"] | None:
    """How the processes that torchrun started train together; None of one process.

    Raises:
        InputError: it was asked for, but this is one process.
    """
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return asked or "ddp"
    if asked is not None:
        raise InputError(f"--parallel {asked} is for processes that torchrun starts.")
    return None


def tell(results: dict[str, Any], stages: Sequence[Stage], kept: Store) -> None:
    """Write the study's folder and print its tables, its findings and where its page is."""
    from ..report import publish, terminal

    folder = publish.publish(results, stages, kept)
    terminal.print_results(results)
    print(f"\n{folder / 'report.html'}")


def print_metrics(store: Store, key: str) -> None:
    metrics = store.metrics(key)
    for name, value in metrics.items():
        if not isinstance(value, list):
            print(f"{name:15} {f'{value:.6g}' if isinstance(value, float) else value}")
    print(f"{'run':15} {key}")
