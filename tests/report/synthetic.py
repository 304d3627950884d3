"""Made-up results of a difficulty study: deterministic, of the shape the study writes."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

ARMS = ("dense", "pruned", "lottery", "scratch", "scratch-fan-in")
END = {"dense": 4e-4, "pruned": 0.348, "lottery": 0.381, "scratch": 1.549, "scratch-fan-in": 0.61}
LINES = (
    ("initialization", "→", "lottery"),
    ("initialization", "→", "scratch"),
    ("initialization", "→", "scratch-fan-in"),
    ("initialization", "→", "pruned"),
    ("scratch", "↔", "pruned"),
    ("lottery", "↔", "pruned"),
    ("scratch", "↔", "lottery"),
)
WEIGHTS, NONZEROS = 13_584, 272


def results(seeds: int = 3, diverged: bool = True) -> dict[str, Any]:
    """A whole ``results.json``.

    Args:
        seeds: how many, from 0.
        diverged: whether the last seed's scratch run diverged, its paths with it, and one search.
    """
    lost = {("scratch", seeds - 1)} if diverged else set()
    solutions = [_solution(arm, seed, (arm, seed) in lost) for seed in range(seeds) for arm in ARMS]
    lines = [
        _line(seed, first, joint, last, bool({(first, seed), (last, seed)} & lost))
        for seed in range(seeds)
        for first, joint, last in LINES
    ]
    curves = [
        _curve(seed, start, degree, space, (start, seed) in lost)
        for seed in range(seeds)
        for start in ("scratch", "lottery")
        for space in ("sparse", "dense")
        for degree in (2, 3)
    ]
    return {
        "study": "difficulty",
        "schema": 1,
        "command": f"sparsescape study difficulty --seeds {seeds}",
        "settings": {
            "problem": "digits-conv",
            "sparsity": 0.98,
            "seeds": seeds,
            "steps": 2000,
            "curve_steps": 1000,
            "curve_lr": 0.05,
            "points": 61,
        },
        "problem": {
            "name": "digits-conv",
            "summary": "8×8 digits (scikit-learn); two strided 3×3 convolutions, 64 hidden",
            "recipe": {"steps": 2000, "batch_size": 100, "lr": 0.1, "schedule": "cosine"},
        },
        "arms": list(ARMS),
        "solutions": solutions,
        "lines": lines,
        "curves": curves,
        "table": [_row(arm, [row for row in solutions if row["arm"] == arm]) for arm in ARMS],
        "paths": _paths(curves),
        "claims": _claims(seeds),
    }


def interval(values: list[float | None]) -> dict[str, Any]:
    """As the study makes them, over the values that are there."""
    there = [value for value in values if value is not None]
    if not there:
        return {"mean": None, "low": None, "high": None, "n": 0}
    mean = statistics.fmean(there)
    if len(there) < 2:
        return {"mean": mean, "low": None, "high": None, "n": len(there)}
    quantile = {2: 12.706, 3: 4.303}.get(len(there), 2.5)
    half = quantile * statistics.stdev(there) / math.sqrt(len(there))
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(there)}


def _wiggle(*of: Any) -> float:
    """A number in [−1, 1] that any run of Python makes the same."""
    return random.Random(repr(of)).uniform(-1, 1)


def _solution(arm: str, seed: int, lost: bool) -> dict[str, Any]:
    loss = END[arm] * (1 + 0.3 * _wiggle(arm, seed))
    nonzeros = WEIGHTS if arm == "dense" else NONZEROS
    return {
        "seed": seed,
        "arm": arm,
        "train_loss": None if lost else loss,
        "train_accuracy": None if lost else math.exp(-loss / 1.5),
        "test_loss": None if lost else loss * 1.15 + 0.02,
        "test_accuracy": None if lost else math.exp(-loss / 1.4) * 0.985,
        "initial_loss": 2.31 + 0.05 * _wiggle(seed, arm),
        "nonzeros": nonzeros,
        "weights": WEIGHTS,
        "sparsity": 1 - nonzeros / WEIGHTS,
        "flops": 1.53e11 * (1.0 if arm == "dense" else 0.41 if arm == "pruned" else 0.07),
        "steps": 312 if lost else 2000,
        "diverged": lost,
        "run": f"train-{seed}{arm}",
    }


def _measures(values: list[float] | None) -> dict[str, Any]:
    if values is None:
        return {"barrier": None, "climb": None, "tolerance": None, "decreasing": False}
    lowest, climb = math.inf, 0.0
    for value in values if values[0] >= values[-1] else values[::-1]:
        lowest = min(lowest, value)
        climb = max(climb, value - lowest)
    n, first, last = len(values) - 1, values[0], values[-1]
    barrier = max(v - ((1 - i / n) * first + i / n * last) for i, v in enumerate(values))
    tolerance = max(1e-3, 0.01 * abs(first - last))
    return {
        "barrier": max(0.0, barrier),
        "climb": climb,
        "tolerance": tolerance,
        "decreasing": climb <= tolerance,
    }


def _line(seed: int, first: str, joint: str, last: str, lost: bool) -> dict[str, Any]:
    t = [round(-0.2 + 0.02 * i, 2) for i in range(71)]
    ends = {**END, "initialization": 2.31}
    a, b = (ends[end] * (1 + 0.3 * _wiggle(end, seed)) for end in (first, last))
    hump = 0.0 if first == "initialization" else 1.4 + 0.5 * _wiggle(seed, first)
    values = [
        max(a * (1 - s) ** 1.6 + b * s**0.7, 0.0) + hump * math.sin(math.pi * s) ** 2
        if 0 <= s <= 1
        else (a if s < 0 else b) + 9 * (s if s < 0 else s - 1) ** 2
        for s in t
    ]
    inside = [value for s, value in zip(t, values, strict=True) if 0 <= s <= 1]
    return {
        "seed": seed,
        "name": f"{first} {joint} {last}",
        "from": first,
        "to": last,
        "t": t,
        "train_loss": [None] * 71 if lost else values,
        "test_loss": [None] * 71 if lost else [value * 1.1 + 0.03 for value in values],
        **_measures(None if lost else inside),
        "run": f"profile-{seed}{LINES.index((first, joint, last))}",
    }


def _curve(seed: int, start: str, degree: int, space: str, lost: bool) -> dict[str, Any]:
    t = [i / 60 for i in range(61)]
    a, b = (END[end] * (1 + 0.3 * _wiggle(end, seed)) for end in (start, "pruned"))
    hump = (0.3 + 0.1 * _wiggle(seed, degree, start)) * (0.7 if degree == 3 else 1.0)
    if space == "dense":
        hump = -0.2 * min(a, b) / (degree - 1)
    values = [a * (1 - s) + b * s + hump * math.sin(math.pi * s) for s in t]
    search_lost = (start, space, degree, seed) == ("lottery", "sparse", 3, 1)
    lost = lost or search_lost
    name = f"{seed}{start[0]}{degree}{space[0]}"
    return {
        "seed": seed,
        "start": start,
        "degree": degree,
        "space": space,
        "t": t,
        "train_loss": [None] * 61 if lost else values,
        "test_loss": [None] * 61 if lost else [value * 1.1 + 0.03 for value in values],
        **_measures(None if lost else values),
        "steps": 0 if lost else 1000,
        "examples": 0 if lost else 100_000,
        "diverged": search_lost,
        "fit": f"fit-{name}",
        "run": f"profile-{name}",
    }


def _row(arm: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    kept = [row for row in rows if not row["diverged"]]
    measured = ("train_loss", "train_accuracy", "test_accuracy", "nonzeros", "flops")
    return {
        "arm": arm,
        "n": len(kept),
        **{key: interval([row[key] for row in kept]) for key in measured},
        "diverged": len(rows) - len(kept),
    }


def _paths(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = dict.fromkeys((row["start"], row["space"], row["degree"]) for row in curves)
    rows = []
    for start, space, degree in kinds:
        of = [r for r in curves if (r["start"], r["space"], r["degree"]) == (start, space, degree)]
        measured = [row for row in of if row["climb"] is not None]
        rows.append(
            {
                "start": start,
                "space": space,
                "degree": degree,
                "climb": interval([row["climb"] for row in measured]),
                "barrier": interval([row["barrier"] for row in measured]),
                "decreasing": sum(row["decreasing"] for row in measured),
                "n": len(measured),
                "steps": sum(row["steps"] for row in of),
                "examples": sum(row["examples"] for row in of),
            }
        )
    return rows


def _claims(seeds: int) -> list[dict[str, Any]]:
    every = list(range(seeds))
    return [
        {
            "claim": 1,
            "title": "Gap",
            "statement": "Scratch and lottery end much worse than pruned, at the same mask.",
            "verdict": "holds",
            "rule": "Holds if the paired 95 % interval of train loss minus pruned’s lies above 0 "
            "for both; does not hold if one lies below; else undecided.",
            "evidence": [
                "scratch − pruned: 1.20 ± 0.44 (n = 2).",
                "lottery − pruned: 0.033 ± 0.012 (n = 3).",
            ],
            "seeds": every,
            "n": seeds,
        },
        {
            "claim": 2,
            "title": "A way exists",
            "statement": "From the initialization a straight line leads to the pruned solution, "
            "and the training loss decreases along it.",
            "verdict": "holds",
            "rule": "Holds if the line decreases in every seed.",
            "evidence": ["The line decreases in 3 of 3 seeds; the largest climb is 0."],
            "seeds": every,
            "n": seeds,
        },
        {
            "claim": 3,
            "title": "No way within",
            "statement": "From a bad solution no decreasing path to the good one is found inside "
            "the sparse subspace.",
            "verdict": "undecided",
            "rule": "Holds if no curve of any degree decreases, in any seed with a bad start.",
            "evidence": ["Quadratic: climb 0.196; cubic: 0.139.", "One seed has no bad start."],
            "seeds": every[:2],
            "n": len(every[:2]),
        },
        {
            "claim": 4,
            "title": "A way outside",
            "statement": "Free to leave the sparse subspace, a decreasing path is found.",
            "verdict": "does not hold",
            "rule": "Holds if some curve decreases in every seed with a bad start.",
            "evidence": ["Planted: no curve decreases in 2 of 2 seeds."],
            "seeds": every[:2],
            "n": len(every[:2]),
        },
    ]
