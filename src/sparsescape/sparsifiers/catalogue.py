"""The methods that can be named, without importing what they need."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown
from ..files import FileFunction, is_file
from .plan import Plan

if TYPE_CHECKING:
    from .base import Sparsifier


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
_OWN = "of one's own"

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


def described(method: str) -> dict[str, str]:
    """All that decides what a method is, as settings of a stage.

    Args:
        method: a name in the catalogue, or ``"my_file.py:make_sparsifier"``.

    Raises:
        InputError: there is no such method, or no such file.

    >>> described("rigl")
    {'method': 'rigl'}
    """
    if is_file(method):
        own = _own(method)
        return {"method": f"{own.path.name}:{own.name}", "method_source": own.source}
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return {"method": method}


def named(method: str) -> Method:
    """What is known of a method without making it; of a file's, where it comes from.

    Raises:
        InputError: there is no such method, or no such file.
    """
    if is_file(method):
        own = _own(method)
        return Method(_OWN, f"{own.name} in {own.path.name}", "")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return METHODS[method]


def absolute(method: str) -> str:
    """The method as it is named from any folder: the path of its file, if it has one, whole.

    >>> absolute("rigl")
    'rigl'
    """
    return _own(method).absolute if is_file(method) else method


def make_method(method: str, plan: Plan, **options: Any) -> Sparsifier | None:
    """A fresh sparsifier of a method; None for dense training.

    Args:
        method: a name in the catalogue, or ``"my_file.py:make_sparsifier"``: a function of the
            plan.
        options: settings of the method that are to be others than its row's, where it takes any.

    Raises:
        InputError: there is no such method, it is no sparsifier but rounds of training, or the
            sparsity is outside [0, 1); the file's function does not make a :class:`Sparsifier`.
    """
    known = named(method)
    if known.in_rounds:
        raise InputError(
            f"{method} is no sparsifier: it is rounds of training, pruning, rewinding."
        )
    if not 0 <= plan.sparsity < 1:
        raise InputError(f"Sparsity is a number from 0 to below 1, not {plan.sparsity}.")
    if is_file(method):
        return _from_file(method, plan)
    if not known.row:
        return None
    rows = importlib.import_module("sparsescape.sparsifiers.rows")
    return getattr(rows, known.row)(plan, **options)


def _own(method: str) -> FileFunction:
    return FileFunction.named(method, "my_file.py:make_sparsifier", takes=("plan",))


def _from_file(method: str, plan: Plan) -> Sparsifier:
    """What the file's function makes, from generators that hang on the run's seed alone."""
    from ..seeds import every_global_seed
    from .base import Sparsifier

    with every_global_seed(plan.seed, "method"):
        return _own(method).make(Sparsifier, plan)
