"""Trains on one of several ranks, and writes what came out; started by ``test_distributed``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import sparsescape as ss

METHODS = {
    "rigl": lambda: ss.RigL(0.6, update_every=2, distribution="uniform"),
    "set": lambda: ss.SET(0.6, update_every=2),
    "snfs": lambda: ss.SNFS(0.6, update_every=2),
    "gradual": lambda: ss.GradualMagnitude(0.6, begin=1, end=5, every=2),
    "deep-r": lambda: ss.DeepR(0.6, shrinkage=0.2, temperature=1e-3),
    "sr-ste": lambda: ss.SRSTE(1, 3),
    "top-kast": lambda: ss.TopKAST(0.6, update_every=2),
    "movement": lambda: ss.MovementPruning(0.6, begin=1, end=5),
}
STEPS = 6
PARTS = 4


def make_model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3), nn.Tanh(), nn.Linear(3, 1)
    return nn.Sequential(*layers).double()


def part(step: int, index: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * step + index)
    return torch.randn(5, 6, generator=generator, dtype=torch.float64)


def train(
    kind: str, method: str, rank: int, world: int, resume: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Six steps over four micro-batches each, shared among the ranks.

    Half-way the model's and the sparsifier's state are kept; with ``resume`` it starts from them.
    """
    model = make_model()
    if resume is not None:
        model.load_state_dict(resume["model"])
    wrapped: nn.Module = model
    if kind == "fsdp":
        from torch.distributed.fsdp import fully_shard

        for layer in (model[0], model[2], model[4], model):
            fully_shard(layer)
    if kind == "ddp":
        wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.3, momentum=0.0)
    sparsifier = METHODS[method]().attach(wrapped, optimizer)
    if resume is not None:
        sparsifier.load_state_dict(resume["sparsifier"])
    mine = range(rank, PARTS, world)
    masks: dict[str, Any] = {}
    for step in range(sparsifier.step, STEPS):
        if step == STEPS // 2 and resume is None:
            masks["half-way"] = {"model": whole(model), "sparsifier": sparsifier.state_dict()}
        optimizer.zero_grad()
        for index in mine:
            last = index == mine[-1]
            quiet = wrapped.no_sync() if kind == "ddp" and not last else nullcontext()
            if kind == "fsdp":
                model.set_requires_gradient_sync(last)
            with quiet:
                wrapped(part(step, index)).square().mean().div(len(mine)).backward()
        optimizer.step()
        masks |= {f"{step} {n}": m for n, m in sparsifier.mask.items()}
    return masks | whole(model)


def whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state, put together and copied."""
    state = {n: p.detach() for n, p in model.state_dict().items()}
    return {
        n: (p.full_tensor() if hasattr(p, "full_tensor") else p).clone() for n, p in state.items()
    }


def main() -> None:
    kind, out, store, rank, world = sys.argv[1:]
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(world)
    )
    found = {m: train(kind, m, int(rank), int(world)) for m in METHODS}
    torch.save(found, f"{out}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
