"""The methods that can be named, without importing what they need."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown

if TYPE_CHECKING:
    from ..masks import Mask
    from .base import Sparsifier


@dataclass(frozen=True)
class Plan:
    """What a method is made from: how sparse, when it may move the mask, and what with."""

    sparsity: float
    distribution: str
    steps: int
    """Steps of the whole training."""
    begin: int
    """First step at which a method that goes from dense to sparse prunes."""
    end: int
    """Last one; from sparse to sparse the mask moves until 3/4 of the steps, or to the end where
    the authors' does."""
    every: int
    """Steps between two updates of the mask."""
    seed: int = 0
    mask: Mask | None = None
    dense: tuple[str, ...] = ()
    data: Any = None
    """A batch (inputs, targets), for scores that need data."""
    loss: Any = None


@dataclass(frozen=True)
class Method:
    """One method of the catalogue."""

    family: str
    summary: str
    row: str
    """Its function in :mod:`sparsescape.sparsifiers.rows`; empty where there is no sparsifier."""
    in_rounds: bool = False
    """Whether it is no sparsifier but rounds of training (:mod:`sparsescape.studies.imp`)."""


_BASE, _FIXED, _INIT = "baseline", "fixed mask", "at initialization"
_PRUNE, _MOVE, _SHAPE = "dense to sparse", "sparse to sparse", "structured"

METHODS: dict[str, Method] = {
    "dense": Method(_BASE, "no sparsity", ""),
    "small-dense": Method(_BASE, "a narrower dense network of as many weights", ""),
    "static": Method(_FIXED, "a random mask, or the one given, from beginning to end", "static"),
    "imp-weight-rewinding": Method(
        _FIXED, "rounds of pruning, weights rewound (Frankle et al. 2020)", "", in_rounds=True
    ),
    "imp-lr-rewinding": Method(
        _FIXED, "rounds of pruning, learning rate rewound (Renda et al. 2020)", "", in_rounds=True
    ),
    "random": Method(_INIT, "one threshold on random scores", "random"),
    "magnitude": Method(_INIT, "one threshold on the initial magnitudes", "magnitude"),
    "snip": Method(_INIT, "SNIP (Lee et al. 2019)", "snip"),
    "force": Method(_INIT, "FORCE, iterative SNIP (de Jorge et al. 2021)", "force"),
    "grasp": Method(_INIT, "GraSP (Wang et al. 2020)", "grasp"),
    "synflow": Method(_INIT, "SynFlow, without data (Tanaka et al. 2020)", "synflow"),
    "one-shot": Method(_PRUNE, "magnitude pruning at once (Han et al. 2015)", "one_shot"),
    "gradual-magnitude": Method(
        _PRUNE, "gradual magnitude pruning (Zhu & Gupta 2017)", "gradual_magnitude"
    ),
    "acdc": Method(_PRUNE, "AC/DC, dense and sparse in turn (Peste et al. 2021)", "acdc"),
    "granet": Method(_PRUNE, "GraNet, pruning with regeneration (Liu et al. 2021)", "granet"),
    "powerpropagation": Method(
        _PRUNE, "Powerpropagation, pruned gradually (Schwarz et al. 2021)", "powerpropagation"
    ),
    "movement": Method(_PRUNE, "movement pruning, for fine-tuning (Sanh et al. 2020)", "movement"),
    "str": Method(_PRUNE, "STR, which chooses its sparsity (Kusupati et al. 2020)", "str_"),
    "set": Method(_MOVE, "SET, grows at random (Mocanu et al. 2018)", "set_"),
    "deep-r": Method(_MOVE, "Deep Rewiring (Bellec et al. 2018)", "deep_r"),
    "snfs": Method(_MOVE, "sparse momentum (Dettmers & Zettlemoyer 2019)", "snfs"),
    "dsr": Method(_MOVE, "DSR (Mostafa & Wang 2019)", "dsr"),
    "rigl": Method(_MOVE, "RigL, grows by gradient (Evci et al. 2020)", "rigl"),
    "mest": Method(_MOVE, "MEST (Yuan et al. 2021)", "mest"),
    "top-kast": Method(_MOVE, "Top-KAST (Jayakumar et al. 2020)", "top_kast"),
    "rigl-itop": Method(_MOVE, "RigL with ITOP's settings (Liu et al. 2021)", "rigl_itop"),
    "set-itop": Method(_MOVE, "SET with ITOP's settings (Liu et al. 2021)", "set_itop"),
    "escape": Method(_MOVE, "opens by gradient, trains, prunes back", "escape"),
    "srigl": Method(_SHAPE, "SRigL, constant fan-in (Lasby et al. 2024)", "srigl"),
    "n-m": Method(_SHAPE, "2:4 by magnitude (Mishra et al. 2021)", "n_m"),
    "sr-ste": Method(_SHAPE, "2:4, SR-STE (Zhou et al. 2021)", "sr_ste"),
}


def make_method(name: str, plan: Plan, **options: Any) -> Sparsifier | None:
    """A fresh sparsifier of that name; None for dense training.

    Args:
        options: settings of the method that are to be others than its row's, where it takes any.

    Raises:
        InputError: there is no such method, it is no sparsifier but rounds of training, or the
            sparsity is outside [0, 1).
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    if METHODS[name].in_rounds:
        raise InputError(f"{name} is no sparsifier: it is rounds of training, pruning, rewinding.")
    if not 0 <= plan.sparsity < 1:
        raise InputError(f"Sparsity is a number from 0 to below 1, not {plan.sparsity}.")
    row = METHODS[name].row
    if not row:
        return None
    return getattr(importlib.import_module("sparsescape.sparsifiers.rows"), row)(plan, **options)
