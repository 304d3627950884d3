"""A problem of a user's own that trains in a blink, and the study of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsescape.studies.executors import worker
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.job import Job

COMMAND = str(Path(sys.executable).with_name("sparsescape"))
"""The installed program."""

DEADLINE = 120.0
"""Seconds after which what has not happened never will, on however busy a machine."""

HEADER = '''
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import sparsescape as ss

calls = 0


def loss(outputs, targets):
    """Cross entropy; the PAUSE_AT-th time that it is trained with, says so and waits."""
    global calls
    calls += torch.is_grad_enabled()
    if calls == int(os.environ.get("PAUSE_AT", -1)):
        wait()
    return F.cross_entropy(outputs, targets)


def wait():
    Path(os.environ["PAUSED"]).write_text(str(os.getpid()))
    time.sleep(600)


def data(seed, count=64):
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=draws)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()


def network():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


def recipe(**changes):
    return ss.Recipe(**{"steps": 20, "batch_size": 16, "lr": 0.1, "prune_every": 2, **changes})


def problem(**changes):
    parts = {"model": network, "train": data(0), "test": data(1), "loss": loss}
    return ss.Problem(**{**parts, "recipe": recipe(), **changes})
'''

TINY = "return problem()"


def write(folder: Path, body: str = TINY) -> str:
    """A problem file whose ``make_problem`` has this body; what to call it with ``--problem``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "tiny.py").write_text(f"{HEADER}\n\ndef make_problem():\n{lines}", encoding="utf-8")
    return f"{folder / 'tiny.py'}:make_problem"


def study(problem: str, store: Path, *more: str) -> list[str]:
    """The words of the command that studies the problem."""
    size = ["--seeds", "2", "--sparsity", "0.8", "--curve-steps", "10", "--points", "6"]
    where = ["--problem", problem, "--store", str(store)]
    return ["study", "difficulty", *where, *size, *more]


def results_file(store: Path) -> Path:
    (found,) = store.glob("difficulty-*/results.json")
    return found


def results(store: Path) -> dict[str, Any]:
    return json.loads(results_file(store).read_text(encoding="utf-8"))


def eventually(happened: Callable[[], Any], what: str) -> None:
    """Wait until it has happened; an error where it never does."""
    last = time.monotonic() + DEADLINE
    while not happened():
        if time.monotonic() > last:
            raise TimeoutError(what)
        time.sleep(0.005)


def checkpointed(out: Path) -> dict[str, Any] | None:
    """What a stage that is under way kept last, in the folder where it keeps it."""
    job = Job({}, {}, out, Context(""), observer=lambda steps: lambda step, loss: None)
    return job.checkpoint().load()


class PoolHere:
    """Stands in for the pool of worker processes: does the stages in this one."""

    def __init__(self, count: int = 1, threads: int = 1):
        self.answers: list[dict[str, Any]] = []

    @property
    def idle(self) -> bool:
        return not self.answers

    def send(self, request: dict[str, Any]) -> None:
        def tell(event: dict[str, Any]) -> None:
            if event["event"] == "begun":
                self.answers.append(event)

        self.answers.append(worker.perform(request, tell))

    def next_answer(self) -> tuple[str, dict[str, Any]]:
        answer = self.answers.pop(0)
        return answer["key"], answer

    def close(self) -> None:
        pass
