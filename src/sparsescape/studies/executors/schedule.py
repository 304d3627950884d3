"""Which stage is next: those whose inputs are there, in the order of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Protocol

from ...errors import InputError, StageError
from ..graph import Stage
from ..stages.context import Context
from ..store import Store

Watcher = Callable[[dict[str, Any]], None]


class Executor(Protocol):
    """Whoever does stages: see :meth:`.local.LocalExecutor.run`."""

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
        """Let a stage be done, as :func:`sparsescape.studies.executors.worker.perform` takes it."""

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
                "store": self.store.address,
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
