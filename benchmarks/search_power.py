"""How low a climb each way to search reaches, against the forward and backward passes it takes.

    python benchmarks/search_power.py [--seeds 2] [--passes 2000] [--store runs]

Every search gets the same number of passes over a batch (the elastic band at most that: it gets
pivots as it needs them), on a planted wall with a perfect way round it, and on real pairs: the
scratch and the pruned solution of the difficulty study at its defaults (digits-conv, 98 %), inside
the mask and free. The training runs are taken from the store, or made there. Last, all of
find_path's default trials, one after the other, each from the best. No times are measured: passes
cost the same whatever they are for.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

import sparsescape as ss
from sparsescape.landscape.search.trials import Method
from sparsescape.points import load_point
from sparsescape.problems.catalogue import load
from sparsescape.studies import difficulty
from sparsescape.studies.executors.local import LocalExecutor
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store


def ways(passes: int) -> dict[str, tuple[Method, ...]]:
    """Name → the trials that make up one search, all of the same cost."""
    mean = ss.Trial(degree=3, steps=passes)
    adam = replace(mean, optimizer="adam", lr=0.01)
    climbing = ss.Trial(degree=3, steps=passes // 8, goal="uphill")
    half = replace(adam, steps=passes // 2)
    quarter = passes // 4
    cycles = (
        ss.Cycle(quarter // 5, 0.1),
        ss.Cycle(quarter // 7, 0.05),
        ss.Cycle(quarter // 9, 0.01),
    )
    return {
        "mean, cubic, SGD (Garipov)": (mean,),
        "mean, cubic, SGD, t where high": (replace(mean, sampling="high"),),
        "mean, cubic, Adam": (adam,),
        "mean, degree 5, Adam": (replace(adam, degree=5),),
        "mean, chain of 3 bends, Adam": (replace(adam, bends=3),),
        "worst, cubic, SGD": (replace(climbing, goal="worst"),),
        "uphill, cubic, SGD": (climbing,),
        "uphill, chain of 3 bends, SGD": (replace(climbing, bends=3),),
        "mean, then mean at degree 5, Adam": (half, replace(half, degree=5)),
        "mean, Adam, then uphill": (half, replace(climbing, steps=passes // 16)),
        "elastic band": (ss.Band(cycles=cycles, fresh=True),),
    }


def hill(w: Tensor) -> Tensor:
    """Down from 1 to 0 in x; for y below 1 a wall of height 1 stands between. See the tests."""
    ground = torch.sigmoid(-w[0] / 0.3)
    return ground + torch.exp(-(w[0] ** 2) / 0.02) * torch.sigmoid((1 - w[1]) / 0.3)


def planted() -> tuple[ss.Objective, dict[str, Tensor], dict[str, Tensor]]:
    model = nn.Linear(1, 2, bias=False)  # its two weights are the plane
    data = torch.ones(4, 1), torch.zeros(4)
    objective = ss.Objective(model, data, loss=lambda outputs, _: hill(outputs[0]))
    start, end = ({"weight": torch.tensor([[x], [0.05]])} for x in (-1.0, 1.0))
    return objective, start, end


def pairs(
    seeds: int, store: Path, sparsity: float = 0.98
) -> Iterator[tuple[int, dict, dict, ss.Mask]]:
    """Per seed, the scratch and the pruned solution of the difficulty study, and the mask."""
    settings = difficulty.Settings("digits-conv", sparsity, "erk", seeds, None, 1000, 0.05, 61)
    planned = difficulty.plan(settings)
    kept, wanted = Store(store), ("scratch", "pruned")
    stages = [seed.runs[arm] for seed in planned for arm in wanted]
    LocalExecutor(2).run(stages, kept, Context("digits-conv"), watch=lambda event: None)
    for seed in planned:
        scratch, pruned = (kept.path(seed.runs[arm].key) for arm in wanted)
        points = (load_point(path / "point.safetensors") for path in (scratch, pruned))
        yield seed.seed, *points, ss.Mask.load(pruned / "mask.safetensors")


def table(title: str, objective: ss.Objective, start, end, subspace, passes: int) -> None:
    print(f"\n{title}\n{'passes':>7}  {'climb':>8}  search", flush=True)
    for name, trials in ways(passes).items():
        found = ss.find_path(start, end, objective, subspace=subspace, trials=trials, tol=0.0)
        print(f"{found.passes:7}  {found.profile.climb:8.4f}  {name}", flush=True)
    found = ss.find_path(start, end, objective, subspace=subspace)
    spent = 0
    for attempt in found.attempts:
        spent += attempt.passes
        trial = attempt.trial
        what = f"{trial.goal}, degree {trial.degree}{', anew' * trial.fresh}"
        print(f"{spent:7}  {attempt.climb:8.4f}  default trials: {what}", flush=True)
    verdict = "decreases" if found.profile.monotone() else "no path found"
    print(f"{verdict}, with {found.passes} passes; tolerance {found.profile.tolerance:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--passes", type=int, default=2000)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    table("planted wall", *planted(), None, options.passes)
    problem = load("digits-conv")
    objective = problem.objective(problem.make_model(0))
    for seed, start, end, mask in pairs(options.seeds, options.store):
        for space, subspace in (("sparse", mask), ("dense", None)):
            title = f"scratch → pruned, seed {seed}, {space} space"
            table(title, objective, start, end, subspace, options.passes)


if __name__ == "__main__":
    main()
