"""Runs at equal training FLOPs: what they spent, held against the budget, corrects their steps.

How many steps a budget pays for is reckoned from other runs, and badly where runs are short: a mask
is updated a whole number of times. So runs that are off are done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .graph import Stage
from .store import Store

NEAR = 0.05
"""How far from the budget, as a share of it, is near enough."""

ROUNDS = 2
"""How often runs that are off are done again, at most."""


class HasStage(Protocol):
    """One run of a study."""

    @property
    def stage(self) -> Stage: ...


Run = TypeVar("Run", bound=HasStage)


def off(flops: float | None, budget: float | None) -> float | None:
    """How far from the budget, as a share of it; None where that is near enough, or not known.

    >>> off(263.0, 100.0), off(104.0, 100.0), off(None, 100.0)
    (1.63, None, None)
    """
    if flops is None or budget is None or abs(flops - budget) <= NEAR * budget:
        return None
    return flops / budget - 1


def better_steps(tried: Sequence[HasStage], store: Store, budget: float) -> int | None:
    """Steps for one more try at the budget; None where none is needed, or none is left.

    Args:
        tried: finished runs that are alike but for seeds and steps.
    """
    return corrected(_spent(tried, store), budget)


def nearest(tried: Sequence[Run], store: Store, budget: float) -> list[Run]:
    """Those of the runs, alike but for seeds and steps, whose steps came nearest to the budget; the
    first where all of them diverged."""
    spent = _spent(tried, store)
    best = _nearest(spent, budget) if spent else tried[0].stage.settings["steps"]
    return [run for run in tried if run.stage.settings["steps"] == best]


def corrected(spent: dict[int, float], budget: float) -> int | None:
    """Steps in proportion to what the nearest of those tried spent; None where that is near enough,
    or would be what was tried already, as where the budget pays for a handful.

    Args:
        spent: steps → FLOPs.

    >>> corrected({100: 263.0}, 100.0), corrected({100: 263.0, 38: 103.0}, 100.0)
    (38, None)
    >>> corrected({1: 200.0}, 100.0), corrected({3: 90.0}, 100.0)
    (None, None)
    """
    if not spent:
        return None
    best = _nearest(spent, budget)
    if off(spent[best], budget) is None:
        return None
    steps = max(1, round(best * budget / spent[best]))
    return None if steps in spent else steps


def _nearest(spent: dict[int, float], budget: float) -> int:
    return min(spent, key=lambda steps: abs(spent[steps] - budget))


def _spent(runs: Sequence[HasStage], store: Store) -> dict[int, float]:
    """Steps → the mean FLOPs of the runs of so many that did not diverge."""
    found: dict[int, list[float]] = {}
    for run in runs:
        metrics = store.metrics(run.stage.key)
        if not metrics["diverged"]:
            found.setdefault(run.stage.settings["steps"], []).append(metrics["flops"])
    return {steps: sum(flops) / len(flops) for steps, flops in found.items()}
