"""The escape study: from the same bad solution, which ways of training on lead out?

The bad solution is the difficulty study's scratch arm: trained with the mask that pruning found.
From it every way trains on, to the same sparsity, over the same batches, for as many steps as a
budget of training FLOPs pays for. The budget is a multiple of what the bad solution's own training
cost, so that what opens weights has fewer steps. What a way costs is found by two short pilots, and
where a run then spends something else, it is done again (:mod:`spending`). Where no seed's solution
is bad there is nothing to get out of, and nothing is tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..sparsifiers.escape import check_open, how_many
from . import difficulty, spending
from .claims import is_bad
from .command import heading
from .flags import check_above_zero, check_at_least, check_sparse
from .graph import Stage, common_settings
from .leaving import comparisons, findings, judged, table
from .stages.openings import MEASURED, counting, to_open
from .statistics import interval
from .store import Store
from .ways import Way, all_ways

BAD, GOOD = "scratch", "pruned"
"""Arms of the difficulty study: where every way starts, and what it should get to."""

_PILOT = 10
"""The shorter pilot takes one of so many parts of the steps, the longer one two."""


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: float
    distribution: str
    seeds: int
    steps: int | None
    budget: float
    open: tuple[int | float | str, ...]
    noise: float
    constant_lr: float
    trajectory: int
    points: int
    execution: str = "auto"
    """How what is inside a mask is run: ``"auto"``, ``"masked"`` or ``"sparse"``."""

    def __post_init__(self) -> None:
        check_sparse(self.sparsity)
        check_at_least(self, seeds=1, steps=1, trajectory=1, points=3)
        check_above_zero(self, "budget", "noise", "constant_lr")
        for count in self.open:
            if count != MEASURED:
                check_open(count)
        if not self.open or len(set(self.open)) < len(self.open):
            raise InputError("--open takes at least one number of weights, and none twice.")


def opening(word: str) -> int | float | str:
    """What a word on the command line says is to be opened: a count, a share, or the measured one.

    >>> [opening(word) for word in ("40", "0.01", "measured")]
    [40, 0.01, 'measured']

    Raises:
        InputError: it is none of them.
    """
    if word == MEASURED:
        return word
    try:
        return int(word) if word.isdecimal() else float(word)
    except ValueError:
        message = (
            f"--open takes counts, shares of the closed weights or {MEASURED!r}, not {word!r}."
        )
        raise InputError(message) from None


@dataclass(frozen=True)
class Cell:
    """One run of the study: from the bad solution of a seed, one way."""

    way: Way
    seed: int
    stage: Stage
    line: Stage
    """The straight line from the bad solution to where the run ends."""


@dataclass(frozen=True)
class Start:
    """What every run of a seed starts from, and is held against."""

    seed: int
    check: Stage
    bad: Stage
    good: Stage


# ---------------------------------------------------------------------------- the graph


def tries(settings: Settings) -> list[Stage]:
    """What tries whether as many weights are closed as are to be opened: before any other stage."""
    counts = [count for count in settings.open if count != MEASURED]
    asked = {"opened": counts, "sparsity": settings.sparsity}
    return [Stage("check", {**_common(settings), **asked}, label="check of what is opened")]


def starts(settings: Settings) -> list[Start]:
    """The bad and the good solution of every seed: stages of the difficulty study, done first."""
    common = _common(settings)
    check = Stage("check", common, label="check")
    found = []
    for seed in range(settings.seeds):
        arms = difficulty.arms(common, check, seed, settings.sparsity, settings.distribution)
        found.append(Start(seed, check, arms[BAD], arms[GOOD]))
    return found


def pilots(settings: Settings, store: Store) -> list[Cell]:
    """Every way from the first seed for a tenth and for a fifth of the bad solution's steps; none
    where no seed's solution is bad.

    The stages of :func:`starts` are finished.
    """
    first, *_ = found = starts(settings)
    runs = [(store.metrics(s.bad.key), store.metrics(s.good.key)) for s in found]
    bad = [one for one, good in runs if is_bad(one, good)]
    if not bad:
        return []
    steps = store.metrics(first.bad.key)["steps"]
    brief = replace(settings, trajectory=1)  # nobody reads the losses on their way
    return [
        _cell(brief, way, first, max(part, steps * part // _PILOT))
        for way in _ways(settings)
        for part in (1, 2)
    ]


def equal_flops(settings: Settings, done: Sequence[Cell], store: Store) -> list[Cell]:
    """Every way for the steps that the budget pays for.

    A run of n steps costs a·n + b: the schedules of all methods stretch with the run, so that a
    step's density does not depend on n, and the number of updates that need dense gradients does
    not either. The pilots give a and b.

    Args:
        done: the finished cells of :func:`pilots`. A way whose pilots diverged has no cells.
    """
    budget, cells = _budget(settings, store), []
    for start in starts(settings):
        for way in _ways(settings):
            runs = [store.metrics(cell.stage.key) for cell in done if cell.way == way]
            if runs and budget is not None and not any(run["diverged"] for run in runs):
                cells.append(_cell(settings, way, start, _affordable(budget, *runs)))
    return cells


def again(settings: Settings, tried: Sequence[Cell], store: Store) -> list[Cell]:
    """The ways that spent something else than the budget, for the steps that this corrects to.

    Args:
        tried: the finished cells of :func:`equal_flops`, and of this function before.
    """
    budget, cells = _budget(settings, store), []
    for way, runs in _by_way(tried).items():
        steps = None if budget is None else spending.better_steps(runs, store, budget)
        if steps is not None:
            cells += [_cell(settings, way, start, steps) for start in starts(settings)]
    return cells


def nearest(settings: Settings, tried: Sequence[Cell], store: Store) -> list[Cell]:
    """Of the finished cells, those of every way that came nearest to the budget, seed by seed."""
    budget = _budget(settings, store)
    if budget is None:
        return list(tried)
    kept = [cell for of in _by_way(tried).values() for cell in spending.nearest(of, store, budget)]
    return sorted(kept, key=lambda cell: cell.seed)


def _by_way(cells: Sequence[Cell]) -> dict[Way, list[Cell]]:
    found: dict[Way, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.way, []).append(cell)
    return found


def _budget(settings: Settings, store: Store) -> float | None:
    """The training FLOPs of every run; None where all bad solutions diverged."""
    bad = [store.metrics(start.bad.key) for start in starts(settings)]
    spent = interval([run["flops"] for run in bad if not run["diverged"]]).mean
    return None if spent is None else settings.budget * spent


def _affordable(budget: float, short: Mapping[str, Any], long: Mapping[str, Any]) -> int:
    """How many steps a budget pays for, from what two runs cost; at least one.

    >>> _affordable(1000.0, {"steps": 10, "flops": 120.0}, {"steps": 20, "flops": 220.0})
    98

    Where the pilots are so short that rounding their schedules hides what a step costs, the mean
    cost of the longer one's steps is taken.

    >>> _affordable(1000.0, {"steps": 1, "flops": 200.0}, {"steps": 2, "flops": 200.0})
    10
    """
    per_step = (long["flops"] - short["flops"]) / (long["steps"] - short["steps"])
    fixed = short["flops"] - per_step * short["steps"]
    if per_step <= 0 or fixed >= budget:
        per_step, fixed = long["flops"] / long["steps"], 0.0
    return max(1, math.floor((budget - fixed) / per_step + 1e-6))


def _ways(settings: Settings) -> tuple[Way, ...]:
    return all_ways(settings.open, settings.noise, settings.constant_lr)


def _common(settings: Settings) -> dict[str, Any]:
    return common_settings(settings.problem, settings.steps, settings.execution)


def _cell(settings: Settings, way: Way, start: Start, steps: int) -> Cell:
    what = {
        **_common(settings),
        "steps": steps,
        "method": way.method,
        "sparsity": settings.sparsity,
        "distribution": settings.distribution,
        "start": way.start,
        "seed": start.seed,
        "trajectory": settings.trajectory,
        **way.more,
    }
    inputs = {"check": start.check, "mask": start.good, "start": start.bad}
    if way.measured:
        inputs["measured"] = _measured(settings, start)
    label = f"seed {start.seed}: {way.name}, {steps} steps"
    stage = Stage("train", what, inputs, label=label)
    t = [i / (settings.points - 1) for i in range(settings.points)]
    along = {**_common(settings), "t": t, "from": "point"}
    ends = {"start": start.bad, "end": stage}
    return Cell(way, start.seed, stage, Stage("along", along, ends, f"line, {label}"))


def _measured(settings: Settings, start: Start) -> Stage:
    """How many weights it takes to get from the seed's bad solution to the good one."""
    ends = {"start": start.bad, "end": start.good, "mask": start.good}
    label = f"seed {start.seed}: how many dimensions"
    return counting(_common(settings), ends, choose="gradient", seed=start.seed, label=label)


# ---------------------------------------------------------------------------- the results


def results(settings: Settings, cells: Sequence[Cell], store: Store) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished cells: the same every time."""
    solutions = [
        {"seed": start.seed, "arm": arm, **store.metrics(stage.key), "run": stage.key}
        for start in starts(settings)
        for arm, stage in ((BAD, start.bad), (GOOD, start.good))
    ]
    runs = [judged(_found(cell, store), solutions) for cell in cells]
    against, budget = comparisons(runs), _budget(settings, store)
    return {
        **heading("escape", settings),
        "ways": [
            {"name": way.name, "family": way.family, "summary": way.summary, "open": way.open}
            for way in dict.fromkeys(cell.way for cell in cells)
        ],
        "unpriced": [way.name for way in _ways(settings) if cells and way not in _by_way(cells)],
        "solutions": solutions,
        "runs": runs,
        "table": [
            {**row, "off": spending.off(row["flops"]["mean"], budget)} for row in table(runs)
        ],
        "comparisons": against,
        "findings": findings(runs, against),
    }


def _found(cell: Cell, store: Store) -> dict[str, Any]:
    run, line = store.metrics(cell.stage.key), store.metrics(cell.line.key)
    return {
        "way": cell.way.name,
        "open": cell.way.open,
        "seed": cell.seed,
        **run,
        "opened": _opened(cell, run, store),
        "line": {name: line[name] for name in ("t", "train_loss", "climb", "decreasing")},
        "run": cell.stage.key,
    }


def _opened(cell: Cell, run: Mapping[str, Any], store: Store) -> int | None:
    """How many weights the first round of the run opened."""
    opened = cell.way.open
    if opened is None or run["diverged"]:
        return None
    if isinstance(opened, str):
        return to_open(store.metrics(cell.stage.inputs["measured"].key))
    closed = run["weights"] - run["active"]
    return min(closed, how_many(opened, closed))
