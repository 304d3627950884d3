"""The methods that can be named, made from a problem's recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError, unknown
from ..masks import Mask
from .base import Sparsifier
from .pruning import GradualMagnitude, OneShot
from .static import Static


@dataclass(frozen=True)
class Plan:
    """What a method is made from: when it may move the mask, and what it must end at."""

    sparsity: float
    distribution: str
    begin: int
    end: int
    every: int
    mask: Mask | None = None
    dense: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """One method of the catalogue."""

    summary: str
    make: Callable[[Plan], Sparsifier | None]


def _static(plan: Plan) -> Sparsifier:
    if plan.mask is not None:
        return Static(plan.mask)
    return Static(sparsity=plan.sparsity, distribution=plan.distribution, dense=plan.dense)


def _one_shot(plan: Plan) -> Sparsifier:
    return OneShot(plan.sparsity, at=plan.begin, distribution=plan.distribution, dense=plan.dense)


def _gradual(plan: Plan) -> Sparsifier:
    return GradualMagnitude(
        plan.sparsity,
        begin=plan.begin,
        end=plan.end,
        every=plan.every,
        distribution=plan.distribution,
        dense=plan.dense,
    )


METHODS: dict[str, Method] = {
    "dense": Method("no sparsity: the baseline", lambda plan: None),
    "static": Method("one mask from beginning to end (random, unless given)", _static),
    "one-shot": Method("magnitude pruning, all at once", _one_shot),
    "gradual-magnitude": Method("gradual magnitude pruning (Zhu & Gupta 2017)", _gradual),
}


def make_method(name: str, plan: Plan) -> Sparsifier | None:
    """A fresh sparsifier of that name; None for dense training.

    Raises:
        InputError: there is no such method, or the sparsity is outside [0, 1).
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    if not 0 <= plan.sparsity < 1:
        raise InputError(f"Sparsity is a number from 0 to below 1, not {plan.sparsity}.")
    return METHODS[name].make(plan)
