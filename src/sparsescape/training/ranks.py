"""Several processes that train one model together, as ``torchrun`` starts them.

What is trained is written once, for any number of processes: :data:`ALONE` is one, :class:`Ranks`
are many. Each rank takes its part of the same batch, weighted so that the mean of the ranks'
gradients is the gradient of the batch's mean loss; every random choice is that of the seed and the
step, so masks agree by construction.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..evaluation import Evaluation, Tally
from ..objective import Batch, Objective
from ..points import PointLike, as_point, move_to, named_parameters, plain_name
from ..seeds import derived_seed
from ..sparsifiers.shards import whole
from .checkpoints import Checkpoint, ShardedCheckpoint

Parallel: TypeAlias = Literal["ddp", "fsdp"]
Thing = TypeVar("Thing")

LETTING_GO = 0.1
"""Seconds that the threads of a group get to drop what they hold."""


class Alone:
    """One process: does everything, and talks to nobody."""

    rank: int = 0
    size: int = 1

    def spread(self, model: nn.Module) -> nn.Module:
        """What is trained in the place of the model: the model itself, or a copy over the ranks."""
        return model

    def gather(self, trained: nn.Module, model: nn.Module) -> None:
        """Move the model, on every rank, to where the one that was spread has come to."""

    def fit(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer step what was spread."""

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """This rank's part of a batch, and what its mean loss counts."""
        return batch, 1.0

    def draw(self, seed: int, step: int) -> None:
        """Seed what a model draws itself in this step: dropout, say."""

    def value(self, loss: Tensor) -> float:
        """The loss of the whole batch, from the weighted losses of its parts."""
        return loss.item()

    def mean(self, losses: Tensor) -> Tensor:
        """The losses of the whole batch, differentiable, from the weighted ones of its parts."""
        return losses

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Let gradients be the mean of those of all ranks."""

    def mine(self, count: int) -> range:
        """Which of so many things this rank does."""
        return range(self.rank, count, self.size)

    def together(self, done: list[Thing]) -> list[Thing]:
        """All of the things, in order, from those that each rank did."""
        return done

    def agree(self, verdict: bool) -> bool:
        """What the first rank says, so that all do the same."""
        return verdict

    def any(self, verdict: bool) -> bool:
        """Whether one of the ranks says so."""
        return verdict

    def evaluate(self, objective: Objective, point: PointLike) -> Evaluation:
        """The objective at the point, its batches shared among the ranks."""
        return objective.evaluate(point)

    def checkpoint(self, folder: Path, every: float) -> Checkpoint | ShardedCheckpoint:
        """Where a run of these ranks leaves its state."""
        return Checkpoint(folder / "checkpoint.safetensors", every=every)

    @contextmanager
    def folder(self, path: Path) -> Iterator[Path]:
        """Where this rank may write: only what the first one writes is kept."""
        yield path

    def wait(self) -> None:
        """Until all ranks have come here."""


ALONE = Alone()


@dataclass(frozen=True)
class Ranks(Alone):
    """One of several processes.

    Args:
        parallel: ``"ddp"`` keeps the whole model on every rank, ``"fsdp"`` a shard of it
            (``fully_shard``).
        mesh: all of the ranks, for shards.
        device: where this rank computes.
        rank, size: which of how many.
    """

    parallel: Parallel
    mesh: Any
    device: torch.device
    rank: int
    size: int

    def spread(self, model: nn.Module) -> nn.Module:
        spread = copy.deepcopy(model).to(self.device)
        if self.parallel == "fsdp":
            return self._shard(spread)
        # Of a tensor with one channel DDP and autograd may write the same strides in two ways.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        ids = [self.device.index] if self.device.type == "cuda" else None
        # DDP waits for ever for the gradient of a parameter that is not used, unless it looks at
        # each step which come: no few examples tell, for what is used may hang on the batch.
        warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
        return nn.parallel.DistributedDataParallel(
            spread, device_ids=ids, find_unused_parameters=True
        )

    def _shard(self, model: nn.Module) -> nn.Module:
        """Shard the blocks of every list of them, one by one, and then what is left."""
        from torch.distributed.fsdp import fully_shard

        for name, parameter in named_parameters(model).items():
            if parameter.ndim == 0:
                raise InputError(f"A single number such as {name!r} has no shards: use ddp.")
        for block in blocks(model):
            fully_shard(block, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)
        return model

    @torch.no_grad()
    def gather(self, trained: nn.Module, model: nn.Module) -> None:
        there = as_point(model)  # a tied parameter once, and no buffer that is not kept
        state = {plain_name(name): whole(t) for name, t in trained.state_dict().items()}
        state = {name: t for name, t in state.items() if name in there}
        for name, _ in trained.named_buffers():  # whose statistics are of each rank's own part
            if plain_name(name) in state:
                torch.distributed.broadcast(state[plain_name(name)], src=0)
        move_to(model, {name: t.to("cpu") for name, t in state.items()})

    def fit(self, optimizer: torch.optim.Optimizer) -> None:
        if self.parallel == "fsdp":
            for group in optimizer.param_groups:
                if group.get("fused"):
                    group["fused"] = False  # those kernels know no shards

    def part(self, batch: Batch) -> tuple[Batch, float]:
        inputs, targets = batch
        if len(inputs) < self.size:
            raise InputError(
                f"A batch of {len(inputs)} examples has no part for each of {self.size} ranks."
            )
        mine = inputs.tensor_split(self.size)[self.rank].to(self.device)
        share = len(mine) * self.size / len(inputs)
        return (mine, targets.tensor_split(self.size)[self.rank].to(self.device)), share

    def draw(self, seed: int, step: int) -> None:
        torch.manual_seed(derived_seed(seed, "training", step, self.rank))

    def value(self, loss: Tensor) -> float:
        total = loss.detach().clone()
        torch.distributed.all_reduce(total)
        return total.item() / self.size

    def mean(self, losses: Tensor) -> Tensor:
        return _Mean.apply(losses, self.size)

    @torch.no_grad()
    def average(self, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def together(self, done: list[Thing]) -> list[Thing]:
        parts: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(parts, done)
        rows = zip_longest(*parts, fillvalue=_NOTHING)
        return [thing for row in rows for thing in row if thing is not _NOTHING]

    def agree(self, verdict: bool) -> bool:
        said = torch.tensor(int(verdict), device=self.device)
        torch.distributed.broadcast(said, src=0)
        return bool(said)

    def any(self, verdict: bool) -> bool:
        return self._sum([float(verdict)])[0] > 0

    @torch.no_grad()
    def evaluate(self, objective: Objective, point: PointLike) -> Evaluation:
        tally = Tally(objective.loss)
        mine = islice(objective.batches(), self.rank, None, self.size)
        for outputs, targets in objective.outputs(point, mine):
            tally.add(outputs, targets)
        sums = self._sum([tally.total, tally.correct, tally.count, float(not tally.classes)])
        tally.total, tally.correct, tally.count = sums[:3]
        tally.classes = sums[3] == 0
        return tally.evaluation(objective.penalty(point))

    def _sum(self, numbers: list[float]) -> list[float]:
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def checkpoint(self, folder: Path, every: float) -> Checkpoint | ShardedCheckpoint:
        shared = [str(folder)]
        torch.distributed.broadcast_object_list(shared, src=0)
        return ShardedCheckpoint(Path(shared[0]) / "checkpoint", self, every=every)

    @contextmanager
    def folder(self, path: Path) -> Iterator[Path]:
        if self.rank == 0:
            yield path
            return
        with tempfile.TemporaryDirectory() as unread:
            yield Path(unread)

    def wait(self) -> None:
        torch.distributed.barrier()


_NOTHING = object()


_LISTS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """What lies in a ``Sequential`` or a ``ModuleList`` and has parameters: the innermost first, as
    ``fully_shard`` wants it; each once; no list, which nobody calls; and none that shares a
    parameter with what is outside it.

    >>> inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> [type(block).__name__ for block in blocks(nn.Sequential(inner, inner))]
    ['Linear', 'Sequential']
    """
    lists = [m for m in model.modules() if isinstance(m, (nn.Sequential, nn.ModuleList))]
    listed = {block for found in lists for block in found.children()}
    everywhere = _owners(model)
    for module in reversed(list(model.modules())):
        if module in listed and not isinstance(module, _LISTS):
            here = _owners(module)
            if here and all(everywhere[key] == count for key, count in here.items()):
                yield module


def _owners(module: nn.Module) -> Counter[int]:
    """Of every parameter, how many modules have it as their own."""
    each = (m.named_parameters(recurse=False) for m in module.modules())
    return Counter(id(parameter) for own in each for _, parameter in own)


class _Mean(torch.autograd.Function):
    """The mean over the ranks of a number that each has; to each it is its own that is moved."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, size: int) -> Tensor:
        total = mine.clone()
        torch.distributed.all_reduce(total)
        return total / size

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope, None  # the factor 1 / size is that of :meth:`Ranks.average`


@contextmanager
def process_group(backend: str, **meeting: Any) -> Iterator[None]:
    """The group of all processes, and no thread of it left when the block is done.

    A thread of gloo that drops its last tensor while the interpreter ends aborts the process. So
    the group has to end with the block: functions whose defaults it is are made before there is
    one (imported by an optimizer's first step, they would keep it). What is sharded is kept by
    torch's caches, and the group with it, whose threads then get the time to drop what they hold.

    Args:
        backend, meeting: as ``torch.distributed.init_process_group`` takes them.
    """
    import torch.distributed.nn.functional

    torch.distributed.init_process_group(backend, **meeting)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        time.sleep(LETTING_GO)


@contextmanager
def joined(parallel: Parallel) -> Iterator[Ranks]:
    """The ranks that were launched together, for as long as the block takes."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    there = torch.distributed.is_initialized()
    backend = "nccl" if device.type == "cuda" else "gloo"
    with nullcontext() if there else process_group(backend):
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        mesh = torch.distributed.init_device_mesh(device.type, (size,))
        yield Ranks(parallel, mesh, device, rank, size)
