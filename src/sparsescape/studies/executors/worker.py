"""What a worker does with a stage, and the worker process of this machine.

:func:`perform` does one stage, wherever it runs. The process takes stages from its standard input,
one JSON line each, and answers in JSON lines on what was its standard output when it started;
anything that a user's code prints goes to standard error. It ends when its input does, so it never
outlives the process that started it, however that one ended.
"""

from __future__ import annotations

import faulthandler
import json
import os
import platform
import queue
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ...errors import InputError
from ..store import Store, write_json
from ..stores import open_store
from .memory import keep_freed_memory

if TYPE_CHECKING:
    # These import torch: the thread that reads requests comes first.
    from ...training.ranks import Alone
    from ..stages.job import Job

Tell = Callable[[dict[str, Any]], None]

_PROGRESS_EVERY = 0.1  # seconds


def main(threads: int) -> None:
    faulthandler.enable()  # where it was, should compiled code end it
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    requests = _requests()
    import torch

    torch.set_num_threads(threads)
    for request in requests:
        _answer(answers, perform(request, lambda event: _answer(answers, event)))


def _requests() -> Iterator[dict[str, Any]]:
    """The requests, read by a thread that ends the process when there can be no more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # at once, in the middle of a stage: nobody waits for it

    threading.Thread(target=read, daemon=True).start()
    return iter(lambda: json.loads(lines.get()), None)


def perform(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Do one stage, unless another process did it meanwhile.

    Args:
        request: key and description of the stage, the store's folder and the context.
        tell: called with ``{"event": "begun" | "step", "key": …}`` on the way.

    Returns:
        How it ended: ``{"event": "done" | "refused" | "failed", "key": …}``.
    """
    key = request["key"]
    try:
        store = open_store(request["store"])
        tell({"event": "begun", "key": key})
        with store.lock(key):
            if not store.has(key):
                _do(request, store, tell)
    except InputError as error:
        return {"event": "refused", "key": key, "message": str(error)}
    except Exception as error:  # the study goes on without it and says so
        message = f"{type(error).__name__}: {error}"
        return {"event": "failed", "key": key, "message": message, "trace": traceback.format_exc()}
    return {"event": "done", "key": key}


def _do(request: dict[str, Any], store: Store, tell: Tell) -> None:
    from ...training.ranks import ALONE

    do(request, store, tell, ALONE)


def do(request: dict[str, Any], store: Store, tell: Tell, ranks: Alone) -> None:
    """Do a stage that nobody else is doing; of several ranks, all call it."""
    from ..stages.context import Context
    from ..stages.job import Job
    from ..stages.kinds import KINDS

    keep_freed_memory()
    key, description = request["key"], request["description"]
    began, clock = time.time(), time.perf_counter()
    work = KINDS[description["kind"]]
    with ranks.folder(store.partial(key)) as out:
        job = Job(
            settings=description["settings"],
            inputs={role: store.path(k) for role, k in description["inputs"].items()},
            out=out,
            context=Context(**request["context"]),
            observer=lambda steps: _Progress(tell, key, steps),
            ranks=ranks,
        )
        job.problem()  # which a worker reads once, for all its stages
        loading = time.perf_counter() - clock
        rehearsal = _rehearse(description["kind"], job)
        clock, cpu = time.perf_counter(), time.process_time()
        metrics = work(job)
        job.shared_checkpoint().discard()
        write_json(out / "stage.json", description)
        write_json(out / "metrics.json", metrics)
        times = {"began": began, "loading": loading, **rehearsal}
        times["seconds"] = time.perf_counter() - clock
        times["cpu_seconds"] = time.process_time() - cpu
        write_json(out / "provenance.json", {**_machine(), **times, "memory": _peak_memory()})
        if ranks.rank == 0:
            store.finish(key)
    ranks.wait()


_rehearsed: set[str] = set()


def _rehearse(kind: str, job: Job) -> dict[str, float]:
    """Where the context asks for it, what the first stage of a kind takes that no other does:
    importing, compiling, filling caches."""
    from ..stages.kinds import KINDS

    if not job.context.rehearse or kind in _rehearsed:
        return {}
    _rehearsed.add(kind)
    out = job.out / "rehearsal"
    out.mkdir(exist_ok=True)
    clock = time.perf_counter()
    KINDS[kind](replace(job, out=out))
    seconds = time.perf_counter() - clock
    shutil.rmtree(out)
    return {"rehearsal": seconds}


class _Progress:
    """Passes the step and the loss on, a few times a second."""

    def __init__(self, tell: Tell, key: str, steps: int):
        self.tell, self.key, self.steps, self.last = tell, key, steps, 0.0

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if now - self.last >= _PROGRESS_EVERY:
            self.last = now
            event = {"event": "step", "key": self.key, "step": step, "steps": self.steps}
            self.tell({**event, "loss": repr(loss)})


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")


def _machine() -> dict[str, Any]:
    import torch

    from ... import __version__

    return {
        "sparsescape": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }


def _peak_memory() -> int:
    """The most bytes that this process has held so far, on a GPU where it used one."""
    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved()
    try:
        import resource  # which Windows lacks
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
