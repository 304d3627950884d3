"""Trains on one of several ranks, and writes what came out; started by ``test_distributed``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

import sparsescape as ss
from sparsescape.training.ranks import process_group

METHODS = {
    "rigl": lambda: ss.RigL(0.6, update_every=2, distribution="uniform"),
    "set": lambda: ss.SET(0.6, update_every=2),
    "snfs": lambda: ss.SNFS(0.6, update_every=2),
    "gradual": lambda: ss.GradualMagnitude(0.6, begin=1, end=5, every=2),
    "deep-r": lambda: ss.DeepR(0.6, shrinkage=0.2, temperature=1e-3),
    "sr-ste": lambda: ss.SRSTE(1, 3),
    "top-kast": lambda: ss.TopKAST(0.6, update_every=2),
    "str": lambda: ss.STR(initial=-2.5),
    "movement": lambda: ss.MovementPruning(0.6, begin=1, end=5),
}
METHODS_ON_NONZEROS = {
    "static": lambda: ss.Static(sparsity=0.6),
    "rigl": METHODS["rigl"],
    "set": lambda: ss.SET(0.6, update_every=2, distribution="uniform"),
    "mest": lambda: ss.MEST(0.6, update_every=2),
    "snfs of one layer": lambda: ss.SNFS(0.6, update_every=2, dense=["2", "4"]),
    "top-kast": lambda: ss.TopKAST(0.8, backward_sparsity=0.65, update_every=2),
}
"""Run on truly sparse layers: those that keep every layer's count."""
STEPS = 6
PARTS = 4


def make_model(kind: str = "") -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3), nn.Tanh(), nn.Linear(3, 1)
    model = nn.Sequential(*layers).double()
    if "sparse" in kind:
        mask = ss.Mask.from_scores(
            ss.scores.magnitude(model), densities=ss.distributions.uniform(model, sparsity=0.6)
        )
        ss.to_sparse(model, 0.0, mask=mask)
    return model


def part(step: int, index: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * step + index)
    return torch.randn(5, 6, generator=generator, dtype=torch.float64)


def methods(kind: str) -> dict[str, Any]:
    return METHODS_ON_NONZEROS if "sparse" in kind else METHODS


def train(
    kind: str, method: str, rank: int, world: int, resume: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Six steps over four micro-batches each, shared among the ranks.

    Half-way the model's and the sparsifier's state are kept; with ``resume`` it starts from them.
    """
    model = make_model(kind)
    if resume is not None:
        model.load_state_dict(resume["model"])
    wrapped: nn.Module = model
    if "fsdp" in kind:
        from torch.distributed.fsdp import fully_shard
    if kind == "fsdp":
        for layer in (model[0], model[2], model[4], model):
            fully_shard(layer)
    if kind == "fsdp of one group":
        fully_shard(model)
    if "ddp" in kind:
        views = "views" in kind
        wrapped = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=views)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.3, momentum=0.0)
    # A sparsifier may be given what DistributedDataParallel wraps as well.
    given = model if method == "mest" else wrapped
    sparsifier = methods(kind)[method]().attach(given, optimizer)
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
            quiet = wrapped.no_sync() if kind.endswith("ddp") and not last else nullcontext()
            if kind == "fsdp":
                model.set_requires_gradient_sync(last)
            with quiet:
                wrapped(part(step, index)).square().mean().div(len(mine)).backward()
        optimizer.step()
        masks |= {f"{step} {n}": m for n, m in sparsifier.mask.items()}
    sparsifier.detach()
    return masks | whole(model)


def whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state, put together and copied."""
    state = {n: p.detach() for n, p in model.state_dict().items()}
    return {
        n: (p.full_tensor() if hasattr(p, "full_tensor") else p).clone() for n, p in state.items()
    }


def main() -> None:
    kind, out, store, rank, world = sys.argv[1:]
    place = {"init_method": f"file://{store}", "rank": int(rank), "world_size": int(world)}
    with process_group("gloo", **place):
        found = {m: train(kind, m, int(rank), int(world)) for m in methods(kind)}
    torch.save(found, f"{out}.{rank}")


if __name__ == "__main__":
    main()
