"""The executor of processes that ``torchrun`` started: all of them do one stage after the other."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...errors import InputError, StageError
from ...training.ranks import Parallel, Ranks, joined
from ..graph import Stage, with_inputs
from ..stages.context import Context
from ..store import Store
from ..stores import open_store
from . import worker
from .schedule import Watcher

TOGETHER = ("train", "fit", "along")
"""The kinds of stages that all ranks do together; the others are done by the first one."""


@dataclass(frozen=True)
class RanksExecutor:
    """Stages one after the other, each by all ranks at once; every rank calls :meth:`run`.

    Args:
        parallel: how a model is spread over the ranks.
    """

    parallel: Parallel

    def slots(self) -> int:
        return 1

    def run(self, stages: Iterable[Stage], store: Store, context: Context, watch: Watcher) -> None:
        """Do every stage, and every input of one, that is not in the store yet.

        Raises:
            InputError: a stage refused what it was given.
            StageError: a stage failed.
        """
        with joined(self.parallel) as ranks:
            for stage in with_inputs(stages):
                request = {
                    "key": stage.key,
                    "description": stage.description,
                    "store": store.address,
                    "context": asdict(context),
                }
                if stage.kind in TOGETHER:
                    _together(request, store, ranks, watch)
                else:
                    _by_the_first(request, stage, ranks, watch)


def _together(request: dict[str, Any], store: Store, ranks: Ranks, watch: Watcher) -> None:
    """Errors are raised as they are: torchrun ends the other ranks with the one that fails."""
    key = request["key"]
    tell = watch if ranks.rank == 0 else _silently
    with store.lock(key) if ranks.rank == 0 else nullcontext():
        if ranks.agree(store.has(key)):
            return
        tell({"event": "begun", "key": key})
        worker.do(request, store, tell, ranks)
    tell({"event": "done", "key": key})


def _by_the_first(request: dict[str, Any], stage: Stage, ranks: Ranks, watch: Watcher) -> None:
    there = open_store(request["store"]).has(request["key"])
    answers: list[Any] = [None]
    if ranks.rank == 0 and not there:
        answers[0] = worker.perform(request, watch)
    torch.distributed.broadcast_object_list(answers, src=0)
    answer = answers[0]
    if answer is None:
        return
    if answer["event"] == "refused":
        raise InputError(answer["message"])
    if answer["event"] == "failed":
        message = f"{stage.label} ({stage.key}): {answer['message']}\n{answer['trace']}"
        raise StageError(message.rstrip())
    if ranks.rank == 0:
        watch(answer)


def _silently(event: dict[str, Any]) -> None:
    pass
