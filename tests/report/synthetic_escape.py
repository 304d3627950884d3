"""Made-up results of an escape study: deterministic, of the shape the study writes."""

from __future__ import annotations

import random
from typing import Any

from sparsescape.studies.leaving import comparisons, findings, judged, table

WAYS: dict[str, tuple[str, float, int | float | str | None]] = {
    "continue": ("same mask", 0.04, None),
    "restart": ("same mask", 0.33, None),
    "noise": ("same mask", 0.31, None),
    "re-initialize": ("same mask", 0.52, None),
    "set": ("drop and grow", 0.71, None),
    "rigl": ("drop and grow", 0.93, None),
    "rigl 0.1": ("drop and grow", 0.88, None),
    "open 13 weights": ("open and prune back", 0.64, 13),
    "open 0.3 %": ("open and prune back", 0.90, 0.003),
    "open 1 %": ("open and prune back", 1.04, 0.01),
    "open 10 %": ("open and prune back", 0.41, 0.1),
    "open measured": ("open and prune back", 1.01, "measured"),
    "detour": ("dense detour", -0.55, None),
    "ac/dc": ("dense detour", -2.4, None),
}
"""Way → family, share of the gap that it closes, and how many weights it opens."""

BAD_FLOPS, WEIGHTS, ACTIVE = 1e9, 13_584, 272


def escape_results(seeds: int = 3, names: tuple[str, ...] = tuple(WAYS)) -> dict[str, Any]:
    """A whole ``results.json``.

    Args:
        seeds: how many, from 0.
        names: the ways.

    The last of three or more seeds has a scratch solution that is not bad; noise diverged in seed
    0 where there are two seeds or more.
    """
    solutions = [_solution(seed, arm, seeds) for seed in range(seeds) for arm in _ARMS]
    runs = [
        judged(_run(name, seed, seeds, solutions), solutions)
        for seed in range(seeds)
        for name in names
    ]
    against = comparisons(runs)
    return {
        "study": "escape",
        "schema": 1,
        "command": f"sparsescape study escape --problem digits-conv --seeds {seeds}",
        "settings": {
            "problem": "digits-conv",
            "sparsity": 0.98,
            "distribution": "erk",
            "seeds": seeds,
            "steps": None,
            "budget": 1.0,
            "open": [13, 0.003, 0.01, 0.1, "measured"],
            "noise": 0.5,
            "constant_lr": 0.1,
            "trajectory": 12,
            "points": 5,
        },
        "problem": {
            "name": "digits-conv",
            "summary": "8×8 digits (scikit-learn); two 3×3 convolutions, 64 hidden",
            "recipe": {"steps": 2000, "batch_size": 50, "lr": 0.1, "schedule": "cosine"},
        },
        "ways": [
            {"name": name, "family": WAYS[name][0], "summary": f"does as {name} does",
             "open": WAYS[name][2]}
            for name in names
        ],
        "unpriced": [],
        "solutions": solutions,
        "runs": runs,
        "table": table(runs),
        "comparisons": against,
        "findings": findings(runs, against),
    }  # fmt: skip


_ARMS = {"scratch": 0.9, "pruned": 0.07}


def _solution(seed: int, arm: str, seeds: int) -> dict[str, Any]:
    spared = arm == "scratch" and seed == seeds - 1 and seeds >= 3
    loss = 0.075 if spared else _ARMS[arm] + 0.01 * seed
    return {
        **_reached(loss),
        "seed": seed,
        "arm": arm,
        "initial_loss": 2.31,
        "active": ACTIVE,
        "weights": WEIGHTS,
        "flops": BAD_FLOPS * (1 if arm == "scratch" else 18),
        "steps": 2000,
        "diverged": False,
        "run": f"train-{arm}-{seed}",
    }


def _run(name: str, seed: int, seeds: int, solutions: list[dict[str, Any]]) -> dict[str, Any]:
    _, share, opened = WAYS[name]
    lost = name == "noise" and seed == 0 and seeds > 1
    wiggle = random.Random(repr((name, seed))).uniform(-1, 1)
    bad, good = (s["train_loss"] for s in solutions if s["seed"] == seed)
    end = max(0.01, bad - (share + 0.06 * wiggle) * (bad - good))
    path = [bad, *(bad * (1 + 0.3 * k * (3 - k)) for k in range(1, 4))]
    path += [path[-1] + (end - path[-1]) * k / 9 for k in range(1, 10)]
    counts = {13: 13, 0.003: 40, 0.01: 133, 0.1: 1331, "measured": 60 + 9 * seed}
    return {
        **_reached(None if lost else end),
        "way": name,
        "open": opened,
        "opened": None if opened is None else counts[opened],
        "seed": seed,
        "initial_loss": bad,
        "active": ACTIVE,
        "weights": WEIGHTS,
        "flops": BAD_FLOPS * (1 + 0.05 * wiggle),
        "steps": 1500,
        "diverged": lost,
        "trajectory": {
            "step": [125 * k for k in range(13)],
            "flops": [BAD_FLOPS * k / 12 for k in range(13)],
            "train_loss": path,
        },
        "line": {
            "t": [0.0, 0.25, 0.5, 0.75, 1.0],
            "train_loss": [bad, 1.2 * bad, 1.5 * bad, bad, end],
            "climb": 0.5 * bad,
            "decreasing": name == "continue",
        },
        "run": f"train-{name.replace(' ', '-').replace('/', '-')}-{seed}",
    }


def _reached(loss: float | None) -> dict[str, Any]:
    accuracy = None if loss is None else max(0.1, 0.985 - 0.35 * loss)
    return {
        "train_loss": loss,
        "train_accuracy": accuracy,
        "test_loss": None if loss is None else 1.3 * loss,
        "test_accuracy": accuracy,
        "nonzeros": ACTIVE,
        "sparsity": 1 - ACTIVE / WEIGHTS,
    }
