"""What methods are compared by, and how they stand against static: read off the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..numbers import (
    finite,
    interval,
    percent_interval,
    signed_interval,
    signed_percent_interval,
)
from ..study import Finding, seeds_listed
from ..tables import Results, Row

BUDGETS = {"steps": "equal steps", "flops": "equal training FLOPs"}
REFERENCE = "static"

_RULE = (
    "a method beats static if the 95 % interval of its gain, {gain}, paired by seed, lies above 0; "
    "it falls behind if the interval lies below 0; else it is undecided. Of many such intervals, "
    "one in twenty leaves out 0 by chance alone."
)


@dataclass(frozen=True)
class Measure:
    """What a test says: accuracy where there are classes, loss where there are none."""

    key: str
    name: str
    scale: float
    better: int
    """1 where more is better, -1 where less is."""
    shown: Callable[[Mapping[str, Any] | None], str]
    """A mean and its interval, as text."""
    gain: str
    """What is a gain over static, in words."""
    gain_shown: Callable[[Mapping[str, Any] | None], str]

    def rank(self, of: Mapping[str, Any] | None) -> float:
        """For sorting, the best first and what is unknown last."""
        mean = (of or {}).get("mean")
        return -self.better * mean if finite(mean) else math.inf


ACCURACY = Measure(
    "test_accuracy", "test accuracy, %", 100.0, 1,
    percent_interval, "test accuracy minus that of static", signed_percent_interval,
)  # fmt: skip
LOSS = Measure(
    "test_loss",
    "test loss",
    1.0,
    -1,
    interval,
    "test loss of static minus its own",
    signed_interval,
)


def measure(results: Results) -> Measure:
    """The accuracy if any run has one."""
    return ACCURACY if any(finite(run["test_accuracy"]) for run in results["runs"]) else LOSS


def budgets(results: Results) -> list[str]:
    """The budgets that any method was run at."""
    there = {row["budget"] for row in results["table"]}
    return [budget for budget in BUDGETS if budget in there]


def at(results: Results, budget: str) -> dict[str, Row]:
    """Method → its row of the table at this budget, the best first."""
    by = measure(results)
    rows = [row for row in results["table"] if row["budget"] == budget]
    return {row["method"]: row for row in sorted(rows, key=lambda row: by.rank(row.get(by.key)))}


def best_first(results: Results) -> list[str]:
    """All methods by their mean at equal steps; then those that were only run at another budget."""
    return list(dict.fromkeys(method for b in budgets(results) for method in at(results, b)))


def dense_flops(results: Results) -> float | None:
    """What dense training costs over the recipe's steps; None where it was not run."""
    dense = at(results, "steps").get("dense")
    flops = ((dense or {}).get("flops") or {}).get("mean")
    return flops if finite(flops) and flops > 0 else None


def verdict(gain: Mapping[str, Any] | None) -> str:
    """``"beats"``, ``"behind"``, ``"undecided"``, or ``"unknown"`` where there is no interval.

    >>> verdict({"mean": 0.02, "low": 0.01, "high": 0.03, "n": 3})
    'beats'
    >>> verdict({"mean": 0.02, "low": -0.01, "high": 0.05, "n": 3}), verdict(None)
    ('undecided', 'unknown')
    """
    if gain is None or not (finite(gain["low"]) and finite(gain["high"])):
        return "unknown"
    if gain["low"] > 0:
        return "beats"
    return "behind" if gain["high"] < 0 else "undecided"


def findings(results: Results) -> tuple[Finding, ...]:
    """What beats static, a finding per budget."""
    return tuple(_finding(results, budget) for budget in budgets(results))


def lead(results: Results) -> str:
    """How many beat static, at each budget.

    >>> interval = {"mean": 0.02, "low": 0.01, "high": 0.03, "n": 3}
    >>> rows = [{"method": name, "budget": "steps", "gain": interval} for name in ("static", "set")]
    >>> lead({"table": rows, "runs": []})
    'At equal steps, 1 of 1 beats static.'
    """
    parts = []
    for budget in budgets(results):
        judged = _judged(results, budget)
        n = len(judged["beats"])
        verb = "beats" if n == 1 else "beat"
        parts.append(f"at {BUDGETS[budget]}, {n} of {sum(map(len, judged.values()))} {verb} static")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else "Nothing was run."


def diverged(results: Results) -> tuple[str, ...]:
    """A sentence for each run that was given up."""
    return tuple(
        f"{run['method']} at {BUDGETS[run['budget']]}, seed {run['seed']}: "
        f"training diverged ({run['run']})."
        for run in results["runs"]
        if run["diverged"]
    )


def _judged(results: Results, budget: str) -> dict[str, list[str]]:
    """Verdict → the methods it is passed on; static itself is not judged."""
    found: dict[str, list[str]] = {"beats": [], "behind": [], "undecided": [], "unknown": []}
    for method, row in at(results, budget).items():
        if method != REFERENCE:
            found[verdict(row.get("gain"))].append(method)
    return found


def _finding(results: Results, budget: str) -> Finding:
    judged = _judged(results, budget)
    n = sum(map(len, judged.values()))
    seeds = sorted({run["seed"] for run in results["runs"] if run["budget"] == budget})
    return Finding(
        title=f"At {BUDGETS[budget]}",
        verdict=f"{len(judged['beats'])} of {n}",
        statement=_sentence(judged),
        rule=_RULE.format(gain=measure(results).gain),
        basis=("beat static", seeds_listed(seeds)),
    )


def _sentence(judged: Mapping[str, list[str]]) -> str:
    """Who beats static and who does not, as one sentence.

    >>> _sentence({"beats": ["rigl", "set"], "behind": ["snip"], "undecided": [], "unknown": []})
    'rigl and set beat static; snip falls behind it.'
    """
    ways = {
        "beats": ("beats static", "beat static"),
        "behind": ("falls behind it", "fall behind it"),
        "undecided": ("is undecided", "are undecided"),
        "unknown": ("has too few seeds in common with it", "have too few seeds in common with it"),
    }
    said = []
    for what, (one, many) in ways.items():
        if judged[what]:
            said.append(f"{_listed(judged[what])} {one if len(judged[what]) == 1 else many}")
        elif what == "beats":
            said.append("none beats static")
    return "; ".join(said) + "."


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
