"""Executors: who does the stages of a graph. This one: worker processes on this machine.

:mod:`sparsescape.studies.cluster` has the other: Ray.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..errors import InputError, StageError
from .graph import Stage, with_inputs
from .store import Store

Watcher = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Context:
    """Where things are and how stages are run: nothing that decides a result."""

    problem: str
    """As :func:`sparsescape.problems.catalogue.load` takes it."""
    data_root: str | None = None
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints of a stage."""
    rehearse: bool = False
    """Whether a worker does its first stage of each kind twice, and times the second."""
    device: str = "auto"
    """As :func:`sparsescape.problems.catalogue.load` takes it."""


@dataclass(frozen=True)
class LocalExecutor:
    """Stages side by side in worker processes, each with its share of the machine's threads.

    Args:
        workers: how many; as many as the process may use cores unless given.
    """

    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"--workers is 0 or more, not {self.workers}.")

    def run(self, stages: Iterable[Stage], store: Store, context: Context, watch: Watcher) -> None:
        """Do every stage, and every input of one, that is not in the store yet.

        Args:
            watch: called with every event: ``{"event": "begun" | "step" | "done", "key": …}``.

        Raises:
            InputError: a stage refused what it was given.
            StageError: a stage failed, or its worker died.
        """
        pending = {s.key: s for s in with_inputs(stages) if not store.has(s.key)}
        if not pending:
            return
        count = min(self.slots(), len(pending))
        pool = _Pool(count, threads=max(1, _cores() // count))
        try:
            Schedule(pending, store, context, watch).run(pool)
        finally:
            pool.close()

    def slots(self) -> int:
        """How many stages it does side by side."""
        return self.workers or _cores()


class Executor(Protocol):
    """Whoever does stages: see :meth:`LocalExecutor.run`."""

    def run(
        self, stages: Iterable[Stage], store: Store, context: Context, watch: Watcher
    ) -> None: ...

    def slots(self) -> int:
        """How many stages it does side by side."""


class Pool(Protocol):
    """Whoever a schedule hands stages to."""

    @property
    def idle(self) -> bool:
        """Whether it takes one more stage."""

    def send(self, request: dict[str, Any]) -> None:
        """Let a stage be done, as :func:`sparsescape.studies.worker.perform` takes it."""

    def next_answer(self) -> tuple[str, dict[str, Any]]:
        """Wait for an answer: the key of its stage, and the answer."""


class Schedule:
    """Hands out stages whose inputs are there, in the order of the graph."""

    def __init__(self, pending: dict[str, Stage], store: Store, context: Context, watch: Watcher):
        self.pending, self.store, self.context, self.watch = pending, store, context, watch
        self.running: dict[str, Stage] = {}

    def run(self, pool: Pool) -> None:
        while self.pending or self.running:
            while pool.idle and (stage := self._ready()) is not None:
                self._begin(stage, pool)
            self._handle(*pool.next_answer())

    def _ready(self) -> Stage | None:
        waited_for = self.pending.keys() | self.running.keys()
        for key, stage in self.pending.items():
            if not any(needed.key in waited_for for needed in stage.inputs.values()):
                return self.pending.pop(key)
        return None

    def _begin(self, stage: Stage, pool: Pool) -> None:
        self.running[stage.key] = stage
        pool.send(
            {
                "key": stage.key,
                "description": stage.description,
                "store": str(self.store.root),
                "context": asdict(self.context),
            }
        )

    def _handle(self, key: str, answer: dict[str, Any]) -> None:
        event = answer["event"]
        if event == "refused":
            raise InputError(answer["message"])
        if event in ("failed", "died"):
            label = self.running[key].label if key in self.running else "a worker"
            trace = answer.get("trace", "")
            raise StageError(f"{label} ({key}): {answer['message']}\n{trace}".rstrip())
        if event == "done":
            del self.running[key]
        self.watch(answer)


class _Pool:
    """Worker processes that speak JSON lines."""

    def __init__(self, count: int, threads: int):
        self._answers: queue.Queue[tuple[_Worker, dict[str, Any]]] = queue.Queue()
        self._workers = [_Worker(threads, self._answers) for _ in range(count)]

    @property
    def idle(self) -> bool:
        return any(worker.key is None for worker in self._workers)

    def send(self, request: dict[str, Any]) -> None:
        next(worker for worker in self._workers if worker.key is None).send(request)

    def next_answer(self) -> tuple[str, dict[str, Any]]:
        worker, answer = self._answers.get()
        key = worker.key or ""
        if answer["event"] == "done":
            worker.key = None
        return key, answer

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


class _Worker:
    def __init__(self, threads: int, answers: queue.Queue[tuple[_Worker, dict[str, Any]]]):
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.key: str | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sparsescape.studies.worker", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **limits},
            start_new_session=True,  # Ctrl-C is for the parent, whose end is the workers' end
        )
        self._answers = answers
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.key = request["key"]
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the reader says that the worker died

    def close(self) -> None:
        """End the process, in the middle of a stage if it must be."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # not the half of a line that a killed worker leaves
                self._answers.put((self, json.loads(line)))
        status = self.process.wait()
        self._answers.put((self, {"event": "died", "message": f"its worker ended ({status})"}))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
