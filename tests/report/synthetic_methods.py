"""Made-up results of a methods study: deterministic, of the shape the study writes."""

from __future__ import annotations

import random
from typing import Any

from synthetic import interval

METHODS = {
    "dense": ("baseline", 98.6, 1.0),
    "small-dense": ("baseline", 93.4, 0.07),
    "static": ("fixed mask", 94.1, 0.11),
    "static-uniform": ("fixed mask", 92.9, 0.05),
    "lottery": ("fixed mask", 95.2, 0.11),
    "imp-lr-rewinding": ("fixed mask", 97.5, 4.6),
    "snip": ("at initialization", 94.6, 0.17),
    "force": ("at initialization", 94.9, 0.16),
    "grasp": ("at initialization", 10.2, 0.09),
    "synflow": ("at initialization", 94.4, 0.13),
    "magnitude": ("at initialization", 93.8, 0.12),
    "one-shot": ("dense to sparse", 96.0, 0.55),
    "gradual-magnitude": ("dense to sparse", 97.1, 0.41),
    "gradual-magnitude-global": ("dense to sparse", 97.4, 0.44),
    "ac-dc": ("dense to sparse", 97.0, 0.53),
    "granet": ("dense to sparse", 97.2, 0.22),
    "str": ("dense to sparse", 96.1, 0.48),
    "powerpropagation": ("dense to sparse", 96.4, 1.0),
    "set": ("sparse to sparse", 95.3, 0.11),
    "deepr": ("sparse to sparse", 94.3, 0.11),
    "snfs": ("sparse to sparse", 96.2, 0.35),
    "dsr": ("sparse to sparse", 95.5, 0.12),
    "rigl": ("sparse to sparse", 96.0, 0.115),
    "rigl-itop": ("sparse to sparse", 96.3, 0.116),
    "top-kast": ("sparse to sparse", 95.9, 0.16),
    "mest": ("sparse to sparse", 95.1, 0.11),
    "n-m": ("structured", 94.0, 0.11),
    "srigl": ("structured", 95.6, 0.12),
    "block": ("structured", 91.2, 0.11),
}
"""Method → family, test accuracy in per cent at equal steps, FLOPs relative to dense."""

DENSE_FLOPS, WEIGHTS, BUDGET = 1.53e11, 13_584, 0.1


def methods_results(
    seeds: int = 3, names: tuple[str, ...] = tuple(METHODS), classes: bool = True
) -> dict[str, Any]:
    """A whole ``results.json``.

    Args:
        seeds: how many, from 0.
        names: the methods.
        classes: whether the problem has any; without, nothing has an accuracy.

    The last seed of block diverged at equal FLOPs, where lottery was not run at all.
    """
    runs = [
        _run(name, budget, seed, seeds, classes)
        for name in names
        for budget in ("steps", "flops")
        for seed in range(seeds)
        if (name, budget) != ("lottery", "flops")
    ]
    return {
        "study": "methods",
        "schema": 1,
        "command": f"sparsescape study methods --problem digits-conv --seeds {seeds}",
        "settings": {
            "problem": "digits-conv",
            "sparsity": 0.95,
            "distribution": "erk",
            "seeds": seeds,
            "steps": None,
            "flops": BUDGET,
            "methods": list(names),
        },
        "problem": {
            "name": "digits-conv",
            "summary": "8×8 digits (scikit-learn); two strided 3×3 convolutions, 64 hidden",
            "recipe": {"steps": 2000, "batch_size": 100, "lr": 0.1, "schedule": "cosine"},
        },
        "methods": [
            {
                "name": name,
                "family": METHODS[name][0],
                "summary": f"does as {name} does (2020)",
                "in_rounds": name.startswith("imp-"),
            }
            for name in names
        ],
        "runs": runs,
        "table": [
            _row(name, budget, runs)
            for name in names
            for budget in ("steps", "flops")
            if any((run["method"], run["budget"]) == (name, budget) for run in runs)
        ],
    }


def _run(name: str, budget: str, seed: int, seeds: int, classes: bool) -> dict[str, Any]:
    _, percent, cost = METHODS[name]
    lost = (name, budget, seed) == ("block", "flops", seeds - 1)
    wiggle = random.Random(repr((name, budget, seed))).uniform(-1, 1)
    steps = 2000 if budget == "steps" else round(2000 * BUDGET / cost)
    tired = 0.0 if budget == "steps" else 1.5 * max(0.0, cost / BUDGET - 1) ** 0.4
    accuracy = (percent - tired + 0.35 * wiggle) / 100
    accuracy = None if lost or not classes else accuracy
    loss = None if lost else (100.5 - percent + tired + 0.3 * wiggle) / 25
    weights = WEIGHTS // 20 if name == "small-dense" else WEIGHTS
    sparsity = {"dense": 0.0, "small-dense": 0.0, "str": 0.9437}.get(name, 0.95)
    return {
        "method": name,
        "budget": budget,
        "seed": seed,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "test_loss": None if loss is None else loss * 1.2,
        "test_accuracy": accuracy,
        "initial_loss": 2.31,
        "nonzeros": round(weights * (1 - sparsity)),
        "weights": weights,
        "sparsity": sparsity,
        "flops": DENSE_FLOPS * cost * steps / 2000,
        "steps": 312 if lost else steps,
        "diverged": lost,
        "run": f"train-{name}-{budget}-{seed}",
    }


def _row(name: str, budget: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    def of(method: str) -> dict[int, dict[str, Any]]:
        here = (run for run in runs if (run["method"], run["budget"]) == (method, budget))
        return {run["seed"]: run for run in here}

    mine, static = of(name), of("static")
    kept = [run for run in mine.values() if not run["diverged"]]
    measured = (
        "train_loss",
        "test_loss",
        "test_accuracy",
        "nonzeros",
        "sparsity",
        "flops",
        "steps",
    )
    classes = any(run["test_accuracy"] is not None for run in runs)
    by, better = ("test_accuracy", 1) if classes else ("test_loss", -1)
    gains = [
        better * (run[by] - static[seed][by])
        for seed, run in mine.items()
        if seed in static and run[by] is not None
    ]
    return {
        "method": name,
        "budget": budget,
        "n": len(kept),
        **{key: interval([run[key] for run in kept]) for key in measured},
        "gain": interval(list(gains)),
        "diverged": len(mine) - len(kept),
    }
