"""Stages as Ray tasks: the executor for many machines.

A task is what a worker process does with a stage
(:func:`sparsescape.studies.executors.worker.perform`), on whichever node has the resources it asks
for. Where its worker dies, Ray starts it again elsewhere, and it goes on from the checkpoint that
it left in the store: a folder that all nodes share. That they do, that the folder's locks hold
between them, and that every node has the same version and the same problem is tried by each worker
before its first stage.
"""

from __future__ import annotations

import os
import socket
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ...errors import InputError
from ...problems import catalogue as problems
from ...problems.roots import absolute_root
from ...sparsifiers import catalogue as methods
from ..graph import Stage, with_inputs
from ..stages.context import Context
from ..store import Store
from ..stores import open_store
from .schedule import Schedule, Watcher
from .worker import perform

_LOOK_EVERY = 0.25  # seconds between two looks at what tasks tell
_ANSWERED_WITHIN = 10.0  # seconds for a cluster's port to be opened


@dataclass(frozen=True)
class RayExecutor:
    """Stages side by side on the nodes of a Ray cluster.

    Args:
        address: of the cluster, as ``ray.init`` takes it; unless given, the one that
            ``RAY_ADDRESS`` names or this machine is a node of, or else one of this machine alone.
        cpus, gpus: that each stage is given; torch uses as many threads as there are CPUs.
        memory: in GiB, that a node must have left for a stage to start there; 0 asks for none.
        retries: how often a stage whose worker dies is begun again.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        if not self.cpus > 0:
            raise InputError(f"--cpus is above 0, not {self.cpus}.")
        for name in ("gpus", "memory", "retries"):
            if getattr(self, name) < 0:
                raise InputError(f"--{name} is 0 or more, not {getattr(self, name)}.")

    def run(self, stages: Iterable[Stage], store: Store, context: Context, watch: Watcher) -> None:
        """Do every stage, and every input of one, that is not in the store yet.

        Raises:
            InputError: there is no Ray or no cluster, a node does not share the store, or a stage
                refused what it was given.
            StageError: a stage failed, or its worker died once too often.
        """
        pending = {s.key: s for s in with_inputs(stages) if not store.has(s.key)}
        if not pending:
            return
        with _connected(self.address), _ground(store, context) as ground:
            pool = _Pool(self, ground)
            try:
                Schedule(pending, store, _anywhere(context), watch).run(pool)
            finally:
                pool.close()

    def slots(self) -> int:
        """How many stages the cluster has room for now; 1 where no node has room for any."""
        with _connected(self.address):
            import ray

            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            wanted = self.resources.items()
            fits = [min(int(n.get(name, 0) / amount) for name, amount in wanted) for n in nodes]
            return max(1, sum(fits))

    @property
    def resources(self) -> dict[str, float]:
        """What a stage is given, under Ray's names."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory * 2**30}
        return {name: amount for name, amount in asked.items() if amount}


def _anywhere(context: Context) -> Context:
    """The context with its paths whole: a worker elsewhere is in another folder."""
    return replace(
        context,
        problem=problems.absolute(context.problem),
        methods=tuple(map(methods.absolute, context.methods)),
        data_root=absolute_root(context.data_root),
    )


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A connection to a cluster; one that was there before stays."""
    try:
        import ray
    except ImportError:
        raise InputError("--executor ray needs Ray: pip install 'sparsescape[ray]'.") from None
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
    named = address if address not in (None, "auto") else os.environ.get("RAY_ADDRESS")
    try:
        _knock(named)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        where = f"at {named!r}" if named else "on this machine"
        raise InputError(f"There is no Ray cluster {where}: {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Try whether anybody listens where a host and a port are named: Ray would wait for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERED_WITHIN).close()


# ---------------------------------------------------------------------------- the nodes' ground


@contextmanager
def _ground(store: Store, context: Context) -> Iterator[dict[str, Any]]:
    """What every worker must find as it is here; a lock is held in the store meanwhile."""
    from ... import __version__

    token = f"driver-{uuid.uuid4().hex}"
    with store.lock(token):
        yield {
            "store": store.address,
            "token": token,
            "version": __version__,
            "torch": _torch(),
            "named": tuple(_described(_anywhere(context))),
        }
    store.forget_lock(token)


def _described(context: Context) -> Iterator[tuple[str, str, str]]:
    """What the files that are named hold: what each is, its name, and its description."""
    for what, name in [("problem", context.problem), *(("method", m) for m in context.methods)]:
        yield what, name, repr(_DESCRIBE[what](name))


def _torch() -> str:
    from importlib.metadata import version

    return version("torch").partition("+")[0]  # the build for another device is the same torch


@lru_cache(maxsize=8)
def _objection(ground: tuple[tuple[str, Any], ...]) -> str | None:
    """Why no stage can be done on this node, if there is a reason; a sentence without its start."""
    from ... import __version__

    here = dict(ground)
    store = open_store(here["store"])
    if not store.is_held(here["token"]):
        return (
            f"the store {here['store']!r} is not the same folder, or its locks do not hold: it "
            "must lie on a file system that all nodes share and that has locks."
        )
    mine = {"version": __version__, "torch": _torch()}
    if any(here[name] != found for name, found in mine.items()):
        wanted = f"{here['version']} on torch {here['torch']}"
        return f"there is sparsescape {__version__} on torch {mine['torch']}, not {wanted}."
    for what, name, described in here["named"]:
        try:
            found = _DESCRIBE[what](name)
        except InputError as error:
            return f"the {what} cannot be found: {error}"
        if repr(found) != described:
            return f"the {what} {name!r} is another one."
    return None


_DESCRIBE: dict[str, Callable[[str], Any]] = {
    "problem": problems.describe,
    "method": methods.described,
}


# ---------------------------------------------------------------------------- tasks


def _task(
    request: dict[str, Any], ground: dict[str, Any], threads: int, events: Any
) -> dict[str, Any]:
    """One stage, on some node."""
    import ray

    if reason := _objection(tuple(ground.items())):
        node = ray.util.get_node_ip_address()
        return {"event": "refused", "key": request["key"], "message": f"On {node} {reason}"}
    import torch

    torch.set_num_threads(threads)

    def tell(event: dict[str, Any]) -> None:
        told = events.tell.remote(event)
        if event["event"] == "begun":
            ray.get(told)  # so that it is known before the end is

    return perform(request, tell)


class _Events:
    """What tasks tell on the way, until it is taken: an actor beside the driver."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def tell(self, event: dict[str, Any]) -> None:
        self.told.append(event)

    def take(self) -> list[dict[str, Any]]:
        told, self.told = self.told, []
        return told


class _Pool:
    """Hands every stage that is ready to Ray, whose scheduler finds it a node."""

    idle = True

    def __init__(self, executor: RayExecutor, ground: dict[str, Any]):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray: Any = ray
        self._ground = ground
        self._warn_if_no_node_has(executor.resources)
        self._threads = max(1, int(executor.cpus))
        self._task = ray.remote(
            num_cpus=executor.cpus,
            num_gpus=executor.gpus,
            memory=executor.resources.get("memory"),
            max_retries=executor.retries,
        )(_task)
        here = ray.get_runtime_context().get_node_id()  # it dies only if the driver's node does
        beside = NodeAffinitySchedulingStrategy(here, soft=False)
        self._events = ray.remote(num_cpus=0, scheduling_strategy=beside)(_Events).remote()
        self._tasks: dict[Any, str] = {}
        self._answers: deque[dict[str, Any]] = deque()

    def _warn_if_no_node_has(self, wanted: dict[str, float]) -> None:
        """A cluster may grow; one that does not would let the stages wait for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(n.get(name, 0) >= a for name, a in wanted.items()) for n in nodes):
            warnings.warn(f"No node of the cluster has {wanted} yet: waiting for one", stacklevel=2)

    def send(self, request: dict[str, Any]) -> None:
        named = self._task.options(name=request["key"])
        task = named.remote(request, self._ground, self._threads, self._events)
        self._tasks[task] = request["key"]

    def next_answer(self) -> tuple[str, dict[str, Any]]:
        while not self._answers:
            ended, _ = self._ray.wait(list(self._tasks), timeout=_LOOK_EVERY)
            under_way = set(self._tasks.values())
            told = self._ray.get(self._events.take.remote())
            self._answers.extend(e for e in told if e["key"] in under_way)  # a step may come late
            self._answers.extend(self._end(task) for task in ended)
        answer = self._answers.popleft()
        return answer["key"], answer

    def _end(self, task: Any) -> dict[str, Any]:
        key = self._tasks.pop(task)
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            message = f"its worker died once too often: {str(error).splitlines()[0]}"
            return {"event": "died", "key": key, "message": message}

    def close(self) -> None:
        """End what is under way: in the middle of a stage, which leaves its checkpoint."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._ray.kill(self._events)
