"""The methods study: every way to train a sparse network, on one problem, at equal cost.

Each method trains from the same initialization, over the same batches, to the same sparsity: once
for the recipe's steps (equal steps), and once for as many steps as a budget of training FLOPs pays
for (equal FLOPs). The budget is a share of what dense training costs at the recipe's steps, so that
a method that is dense for long has few steps and one that is always sparse has many. Where a run
then spends something else, it is done again with corrected steps (:mod:`spending`).

Iterative magnitude pruning trains in rounds, each as long as the recipe; its cost is that of all
rounds. At equal steps it is therefore not equal at all, and its numbers say so; at equal FLOPs all
of its rounds are shortened alike, and the recipe with them, until together they fit the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from ..sparsifiers.catalogue import METHODS, described, named
from . import imp, spending
from .command import heading
from .flags import check_at_least, check_sparsity
from .graph import Stage, common_settings
from .statistics import interval
from .store import Store

REFERENCE = "static"
"""The method that the others' gain is measured against, seed by seed."""

BUDGETS = ("steps", "flops")

_NOT_ANYWHERE = {
    "small-dense": "needs a problem that says how its model is scaled",
    "n-m": "its sparsity is fixed, and every layer's inputs must be a multiple of 4",
    "sr-ste": "likewise",
    "str": "it chooses its own sparsity",
    "movement": "it is for fine-tuning",
    "escape": "it is for a network that is sparse and stuck: see the escape study",
}
DEFAULT = tuple(name for name in METHODS if name not in _NOT_ANYWHERE)
"""The methods that any problem can be trained with, to any sparsity."""


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: float
    distribution: str
    seeds: int
    steps: int | None
    flops: float
    methods: tuple[str, ...]
    """Names in the catalogue, or functions in files: ``"my_file.py:make_sparsifier"``."""
    execution: str = "auto"
    """How what is inside a mask is run: ``"auto"``, ``"masked"`` or ``"sparse"``."""

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        check_at_least(self, seeds=1, steps=1)
        if not 0 <= self.flops <= 100:
            raise InputError(f"--flops is from 0 to 100, not {self.flops}.")
        names = [described(method)["method"] for method in self.methods]
        if twice := [name for name in set(names) if names.count(name) > 1]:
            raise InputError(f"--methods names {min(twice)} twice.")


@dataclass(frozen=True)
class Cell:
    """One run of the study."""

    method: str
    """Its name in the results: of one in a file, without the file's folder."""
    budget: str
    seed: int
    stage: Stage


# ---------------------------------------------------------------------------- the graph


def tries(settings: Settings) -> list[Stage]:
    """What tries whether the problem has all that the methods need, and whether those of one's own
    can be made: done before any other stage."""
    check, tried = _check(settings), []
    if "small-dense" in settings.methods:
        what = {**check.settings, "scaled": True}
        tried.append(Stage("check", what, label="check for small-dense"))
    for method in settings.methods:
        how = described(method)
        if "method_source" in how:
            what = {**check.settings, **how, **_sparse(settings), "seed": 0}
            tried.append(Stage("check", what, label=f"check {how['method']}"))
    return tried


def equal_steps(settings: Settings) -> list[Cell]:
    """Every method for the recipe's steps; dense and the reference are always among them."""
    check = _check(settings)
    return [
        Cell(name, "steps", seed, _training(settings, check, name, seed, settings.steps))
        for name in _methods(settings)
        for seed in range(settings.seeds)
    ]


def equal_flops(settings: Settings, done: Sequence[Cell], store: Store) -> list[Cell]:
    """Every sparse method for the steps that the budget pays for, from what a step of it cost.

    Args:
        done: the finished cells of :func:`equal_steps`. A method all of whose runs diverged has
            none here, and without a budget no method has.
    """
    if not settings.flops:
        return []
    costs = {
        name: _cost_of_a_step(name, done, store) for name in dict.fromkeys(c.method for c in done)
    }
    budget, check = _budget(settings, done, store), _check(settings)
    cells = []
    for name, cost in costs.items():
        if name == "dense" or not cost:
            continue
        steps = max(1, int(budget / cost))
        if named(_methods(settings)[name]).in_rounds:
            steps = max(1, int(steps / imp.recipes(settings.sparsity)))
        cells += [
            Cell(name, "flops", seed, _training(settings, check, name, seed, steps))
            for seed in range(settings.seeds)
        ]
    return cells


def again(settings: Settings, tried: Sequence[Cell], store: Store) -> list[Cell]:
    """The methods that spent something else than the budget, for the steps that this corrects to.

    Args:
        tried: the finished cells of :func:`equal_steps`, of :func:`equal_flops`, and of this
            function before.
    """
    budget, check = _budget(settings, tried, store), _check(settings)
    cells = []
    for name, runs in _at_equal_flops(tried).items():
        steps = spending.better_steps(runs, store, budget)
        if steps is not None:
            cells += [
                Cell(name, "flops", seed, _training(settings, check, name, seed, steps))
                for seed in range(settings.seeds)
            ]
    return cells


def nearest(settings: Settings, tried: Sequence[Cell], store: Store) -> list[Cell]:
    """The cells at equal steps, and those of every method that came nearest to the budget."""
    budget = _budget(settings, tried, store)
    kept = [cell for cell in tried if cell.budget == "steps"]
    for runs in _at_equal_flops(tried).values():
        kept += spending.nearest(runs, store, budget)
    return kept


def _at_equal_flops(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.budget == "flops":
            found.setdefault(cell.method, []).append(cell)
    return found


def _budget(settings: Settings, done: Sequence[Cell], store: Store) -> float:
    """The training FLOPs of every run at equal FLOPs."""
    dense = [store.metrics(c.stage.key) for c in done if c.method == "dense"]
    return settings.flops * max((run["flops"] or 0.0) for run in dense)


def _cost_of_a_step(name: str, done: Sequence[Cell], store: Store) -> float | None:
    """The mean over the seeds that ended; over a whole run, for it changes with the density."""
    runs = [store.metrics(cell.stage.key) for cell in done if cell.method == name]
    ended = [run for run in runs if not run["diverged"]]
    return interval([run["flops"] / run["steps"] for run in ended]).mean


def _methods(settings: Settings) -> dict[str, str]:
    """All methods of the study: its name in the results → as it was given."""
    given = ("dense", REFERENCE, *settings.methods)
    return {described(method)["method"]: method for method in given}


def _sparse(settings: Settings) -> dict[str, Any]:
    return {"sparsity": settings.sparsity, "distribution": settings.distribution}


def _check(settings: Settings) -> Stage:
    """The stage that tries the problem: one for all runs, which then need not describe it anew."""
    common = common_settings(settings.problem, settings.steps, settings.execution)
    return Stage("check", common, label="check")


def _training(settings: Settings, check: Stage, name: str, seed: int, steps: int | None) -> Stage:
    common, method = {**check.settings, "steps": steps}, _methods(settings)[name]
    if named(method).in_rounds:
        return imp.final(method, settings.sparsity, seed, common, check, steps)
    spread = {"sparsity": 0.0, "distribution": None} if name == "dense" else _sparse(settings)
    what = {**common, **described(method), **spread, "start": "initialization", "seed": seed}
    return Stage(
        "train", what, {"check": check}, label=f"seed {seed}: {name}, {steps or 'all'} steps"
    )


# ---------------------------------------------------------------------------- the results


def results(settings: Settings, cells: Sequence[Cell], store: Store) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished cells: the same every time."""
    runs = [_found(cell, store) for cell in cells]
    names, given = list(dict.fromkeys(cell.method for cell in cells)), _methods(settings)
    by = _judged_by(runs)
    spends = {"steps": None, "flops": _budget(settings, cells, store)}
    return {
        **heading("methods", settings),
        "methods": [_about(name, given[name]) for name in names],
        "runs": runs,
        "table": [
            _row(name, budget, runs, by, spends[budget])
            for budget in BUDGETS
            for name in names
            if any(r["method"] == name and r["budget"] == budget for r in runs)
        ],
    }


def _found(cell: Cell, store: Store) -> dict[str, Any]:
    """A run, its sparsity by its mask: weights that have just grown are 0, and active all the same.
    Where a method finds its own sparsity, its mask has it."""
    run = store.metrics(cell.stage.key)
    by_mask = None if run["active"] is None else 1 - run["active"] / run["weights"]
    return {
        "method": cell.method,
        "budget": cell.budget,
        "seed": cell.seed,
        **run,
        "sparsity": by_mask,
        "run": cell.stage.key,
    }


def _about(name: str, method: str) -> dict[str, Any]:
    known, how = named(method), described(method)
    source = {"source": how["method_source"]} if "method_source" in how else {}
    return {
        "name": name,
        "family": known.family,
        "summary": known.summary,
        "in_rounds": known.in_rounds,
        **source,
    }


_MEASURES = (
    "train_loss",
    "test_loss",
    "test_accuracy",
    "active",
    "nonzeros",
    "sparsity",
    "flops",
    "steps",
)


def _judged_by(runs: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """What gains are of, and its sign: test accuracy, or test loss where nothing has classes."""
    has_classes = any(run["test_accuracy"] is not None for run in runs)
    return ("test_accuracy", 1) if has_classes else ("test_loss", -1)


def _row(
    method: str,
    budget: str,
    runs: Sequence[Mapping[str, Any]],
    by: tuple[str, int],
    spends: float | None,
) -> dict[str, Any]:
    """One method at one budget, over its seeds; diverged runs are counted, not averaged."""
    key, better = by
    mine = [r for r in runs if r["method"] == method and r["budget"] == budget]
    ended = [run for run in mine if not run["diverged"]]
    reference = {
        r["seed"]: r[key]
        for r in runs
        if r["method"] == REFERENCE and r["budget"] == budget and not r["diverged"]
    }
    gains = [
        better * (run[key] - reference[run["seed"]])
        for run in ended
        if run[key] is not None and reference.get(run["seed"]) is not None
    ]
    measured = {m: asdict(interval([run[m] for run in ended])) for m in _MEASURES}
    return {
        "method": method,
        "budget": budget,
        "n": len(ended),
        **measured,
        "off": spending.off(measured["flops"]["mean"], spends),
        "gain": asdict(interval(gains)),
        "diverged": len(mine) - len(ended),
    }
