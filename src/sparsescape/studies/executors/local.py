"""Executors: who does the stages of a graph. This one: worker processes on this machine.

:mod:`sparsescape.studies.executors.cluster` has the other: Ray.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import InputError
from ..graph import Stage, with_inputs
from ..stages.context import Context
from ..store import Store
from .schedule import Schedule, Watcher


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
            InputError: a stage refused what it was given, or workers do not find the store.
            StageError: a stage failed, or its worker died.
        """
        pending = {s.key: s for s in with_inputs(stages) if not store.has(s.key)}
        if not pending:
            return
        if not store.is_shared:
            raise InputError(
                f"The store {store.address!r} is in the memory of one process, where workers find "
                "nothing: give --store a folder, or the URL of an object store."
            )
        count = min(self.slots(), len(pending))
        pool = _Pool(count, threads=max(1, _cores() // count))
        try:
            Schedule(pending, store, context, watch).run(pool)
        finally:
            pool.close()

    def slots(self) -> int:
        """How many stages it does side by side."""
        return self.workers or _cores()


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


def _program(threads: int) -> str:
    """What a worker runs. It finds modules where the parent does and nowhere else: with -m, and -c,
    Python looks in the working directory first, where a file may be named as a module of its own.
    """
    begin = f"from sparsescape.studies.executors.worker import main; main({threads})"
    return f"import sys; sys.path[:] = {[str(place) for place in sys.path]!r}; {begin}"


class _Worker:
    def __init__(self, threads: int, answers: queue.Queue[tuple[_Worker, dict[str, Any]]]):
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.key: str | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-c", _program(threads)],
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
        message = f"its worker ended ({_ending(self.process.wait())})"
        self._answers.put((self, {"event": "died", "message": message}))


def _ending(status: int) -> str:
    """Of a process: the signal that ended it, or its exit status."""
    return signal.Signals(-status).name if status < 0 else str(status)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
