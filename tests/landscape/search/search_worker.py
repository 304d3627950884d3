"""One of several ranks that search for paths together; started by ``test_search_on_ranks``."""

from __future__ import annotations

import sys

import torch
from torch import nn

import sparsescape as ss
from sparsescape.training.ranks import Alone, Ranks, process_group

SEARCHES = {
    "mean": {"goal": "mean", "sampling": "high"},
    "worst": {"goal": "worst"},
    "uphill": {"goal": "uphill", "optimizer": "adam", "lr": 0.01},
    "inside": {"goal": "mean"},
}
"""Each on batches of 15: 8 for one of two ranks, 7 for the other."""


def search(name: str, ranks: Alone) -> tuple[torch.Tensor, ss.Profile]:
    """The control points that a search ends at, and the profile of the curve."""
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)) for _ in range(2))
    data = torch.randn(50, 4), torch.randint(3, (50,))
    mask = None
    if name == "inside":
        mask = ss.Mask.from_scores(ss.scores.random(model, seed=0), sparsity=0.5)
        mask.apply_(model)
        mask.apply_(other)
    objective = ss.Objective(model, data, weight_decay=0.01)
    curve = ss.Bezier(model, other, degree=3, subspace=mask)
    ss.fit_curve(curve, objective, steps=20, batch_size=15, ranks=ranks, **SEARCHES[name])
    return curve.control.detach(), ss.profile(curve, objective, points=5, ranks=ranks)


def main() -> None:
    out, meeting, rank, world = sys.argv[1:]
    ranks = Ranks("ddp", None, torch.device("cpu"), int(rank), int(world))
    place = {"init_method": f"file://{meeting}", "rank": ranks.rank, "world_size": ranks.size}
    with process_group("gloo", **place):
        found = {name: search(name, ranks) for name in SEARCHES}
    torch.save({n: (c, p.loss, p.accuracy) for n, (c, p) in found.items()}, f"{out}.{rank}")


if __name__ == "__main__":
    main()
