"""The difficulty study: Evci et al. 2019, *The Difficulty of Training Sparse Neural Networks*.

Per seed: a dense run; gradual magnitude pruning from the same start; then, with the mask that
pruning found, training from the original start (lottery), from a fresh one (scratch), and from a
fresh one scaled to the sparse fan-in. Straight lines between them, and Bézier curves to the pruned
solution, inside the sparse subspace and through all of weight space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .claims import seen_to_climb, verdicts
from .command import heading
from .flags import check_above_zero, check_at_least, check_sparsity
from .graph import Stage, common_settings
from .statistics import interval
from .store import Store

SPARSE_ARMS = {
    "lottery": "initialization",
    "scratch": "fresh",
    "scratch-fan-in": "fresh-sparse-fan-in",
}
"""Arm → where it starts (:func:`sparsescape.studies.stages.runs.start`)."""

ARMS = ("dense", "pruned", *SPARSE_ARMS)

_LINES = (  # name, start run, which of its points, end run
    ("initialization → lottery", "lottery", "start", "lottery"),
    ("initialization → scratch", "scratch", "start", "scratch"),
    ("initialization → scratch-fan-in", "scratch-fan-in", "start", "scratch-fan-in"),
    ("initialization → pruned", "lottery", "start", "pruned"),
    ("scratch ↔ pruned", "scratch", "point", "pruned"),
    ("lottery ↔ pruned", "lottery", "point", "pruned"),
    ("scratch ↔ lottery", "scratch", "point", "lottery"),
)
_DEGREES = (2, 3)
_SPACES = ("sparse", "dense")
_BAD_STARTS = ("scratch", "lottery")
TRIALS = 0
"""The degree of a path that several trials found: any."""
_MARGIN = 0.2  # how far lines go on beyond their ends, in t


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: float
    distribution: str
    seeds: int
    steps: int | None
    curve_steps: int
    curve_lr: float
    points: int
    search: str = "curves"
    """``"curves"``, or ``"trials"`` to make all trials of ``find_path`` as well."""
    execution: str = "auto"
    """How what is inside a mask is run: ``"auto"``, ``"masked"`` or ``"sparse"``."""

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        check_at_least(self, seeds=1, steps=1, curve_steps=1, points=3)
        check_above_zero(self, "curve_lr")


@dataclass(frozen=True)
class Path:
    """A stage that evaluates a path, and what the path is."""

    about: Mapping[str, Any]
    along: Stage
    fit: Stage | None = None


@dataclass(frozen=True)
class SeedStages:
    """The stages of one seed."""

    seed: int
    runs: Mapping[str, Stage]
    lines: tuple[Path, ...]
    curves: tuple[Path, ...]

    def all(self) -> Iterator[Stage]:
        yield from self.runs.values()
        for path in (*self.curves, *self.lines):
            yield path.along


# ---------------------------------------------------------------------------- the graph


def plan(settings: Settings) -> list[SeedStages]:
    """The graph of the study, seed by seed."""
    common = common_settings(settings.problem, settings.steps, settings.execution)
    checked = Stage("check", common, label="check")
    return [_plan_seed(settings, common, checked, seed) for seed in range(settings.seeds)]


def _plan_seed(
    settings: Settings, common: Mapping[str, Any], checked: Stage, seed: int
) -> SeedStages:
    runs = arms(common, checked, seed, settings.sparsity, settings.distribution)
    lines = tuple(_line(settings, common, seed, runs, *line) for line in _LINES)
    degrees = _DEGREES if settings.search == "curves" else (*_DEGREES, TRIALS)
    curves = tuple(
        _curve(settings, common, seed, runs, start, degree, space)
        for start in _BAD_STARTS
        for degree in degrees
        for space in _SPACES
    )
    return SeedStages(seed, runs, lines, curves)


def arms(
    common: Mapping[str, Any],
    checked: Stage,
    seed: int,
    sparsity: float,
    distribution: str,
    label: str = "",
) -> dict[str, Stage]:
    """Arm → its training run, of one seed; other studies start from some of them.

    Args:
        label: of the runs, before their own; the seed unless given.
    """
    label = label or f"seed {seed}"

    def run(arm: str, method: str, start: str, **inputs: Stage) -> Stage:
        what = {
            "method": method,
            "sparsity": 0.0 if method == "dense" else sparsity,
            "distribution": None if method == "dense" else distribution,
            "start": start,
            "seed": seed,
        }
        needed = {"check": checked, **inputs}
        return Stage("train", {**common, **what}, needed, label=f"{label}: train {arm}")

    pruned = run("pruned", "gradual-magnitude", "initialization")
    runs = {"dense": run("dense", "dense", "initialization"), "pruned": pruned}
    for arm, start in SPARSE_ARMS.items():
        runs[arm] = run(arm, "static", start, mask=pruned)
    return runs


def _line(
    settings: Settings,
    common: Mapping[str, Any],
    seed: int,
    runs: Mapping[str, Stage],
    name: str,
    start: str,
    which: str,
    end: str,
) -> Path:
    what = {**common, "t": _grid(settings.points, margin=_MARGIN), "from": which}
    ends = {"start": runs[start], "end": runs[end]}
    stage = Stage("along", what, ends, label=f"seed {seed}: line {name}")
    first = "initialization" if which == "start" else start
    return Path({"seed": seed, "name": name, "from": first, "to": end}, stage)


def _curve(
    settings: Settings,
    common: Mapping[str, Any],
    seed: int,
    runs: Mapping[str, Stage],
    start: str,
    degree: int,
    space: str,
) -> Path:
    about = {"seed": seed, "start": start, "degree": degree, "space": space}
    if degree == TRIALS:
        fit = _trials(settings, common, seed, runs, start, space)
    else:
        budget = {"curve_steps": settings.curve_steps, "curve_lr": settings.curve_lr}
        fit = search(common, budget, seed, runs, start, degree, space)
    grid = {**common, "t": _grid(settings.points), "from": "point"}
    name = f"seed {seed}: curve {start} → pruned, degree {degree}, {space}"
    ends = {"start": runs[start], "end": runs["pruned"]}
    return Path(about, Stage("along", grid, {**ends, "curve": fit}, label=name), fit)


def search(
    common: Mapping[str, Any],
    budget: Mapping[str, Any],
    seed: int,
    runs: Mapping[str, Stage],
    start: str,
    degree: int,
    space: str,
) -> Stage:
    """The search for a curve from where an arm ended to where the pruned one did."""
    return Stage(
        "fit",
        {**common, **budget, "degree": degree, "space": space, "seed": seed},
        {"start": runs[start], "end": runs["pruned"], "mask": runs["pruned"]},
        label=f"seed {seed}: search {start} → pruned, degree {degree}, {space}",
    )


def _trials(
    settings: Settings,
    common: Mapping[str, Any],
    seed: int,
    runs: Mapping[str, Stage],
    start: str,
    space: str,
) -> Stage:
    """The same with all of ``find_path``'s trials."""
    # Imported here, as it needs torch, unlike the study from the store.
    from ..landscape.search.trials import TRIALS

    trials = [asdict(trial) for trial in TRIALS]
    return Stage(
        "find",
        {**common, "trials": trials, "points": settings.points, "seed": seed, "space": space},
        {"start": runs[start], "end": runs["pruned"], "mask": runs["pruned"]},
        label=f"seed {seed}: trials {start} → pruned, {space}",
    )


def _grid(points: int, margin: float = 0.0) -> list[float]:
    """Evenly spaced t with ``points`` of them in [0, 1], 0 and 1 among them, and a margin."""
    last = points - 1
    beyond = round(margin * last)
    return [i / last for i in range(-beyond, last + beyond + 1)]


# ---------------------------------------------------------------------------- the results


def results(settings: Settings, planned: list[SeedStages], store: Store) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished stages: the same every time."""
    solutions = [
        {"seed": seed.seed, "arm": arm, **store.metrics(stage.key), "run": stage.key}
        for seed in planned
        for arm, stage in seed.runs.items()
    ]
    lines = [_found(path, store) for seed in planned for path in seed.lines]
    curves = [_found(path, store) for seed in planned for path in seed.curves]
    return {
        **heading("difficulty", settings),
        "arms": list(ARMS),
        "solutions": solutions,
        "lines": lines,
        "curves": curves,
        "table": [_row(arm, [s for s in solutions if s["arm"] == arm]) for arm in ARMS],
        "paths": _paths(curves),
        "claims": verdicts(solutions, lines, curves),
    }


def _found(path: Path, store: Store) -> dict[str, Any]:
    found = {**path.about, **store.metrics(path.along.key), "run": path.along.key}
    if path.fit is not None:
        searched = store.metrics(path.fit.key)
        effort = ("steps", "examples", "attempts")
        found |= {name: searched[name] for name in effort if name in searched}
        found |= {"diverged": searched["diverged"] or found["diverged"], "fit": path.fit.key}
        found["decreasing"] = found["decreasing"] and not seen_to_climb(found)
    return found


_MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "nonzeros", "flops")


def _row(arm: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm over its seeds; diverged runs are counted, not averaged."""
    ended = [run for run in runs if not run["diverged"]]
    measured = {m: asdict(interval([run[m] for run in ended])) for m in _MEASURES}
    return {"arm": arm, "n": len(ended), **measured, "diverged": len(runs) - len(ended)}


def _paths(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kind of curve over its seeds."""
    kinds = {(c["start"], c["space"], c["degree"]): [] for c in curves}  # type: ignore[var-annotated]
    for curve in curves:
        if not curve["diverged"]:
            kinds[curve["start"], curve["space"], curve["degree"]].append(curve)
    return [
        {
            "start": start,
            "space": space,
            "degree": degree,
            "climb": asdict(interval([c["climb"] for c in found])),
            "barrier": asdict(interval([c["barrier"] for c in found])),
            "decreasing": sum(c["decreasing"] for c in found),
            "n": len(found),
            "steps": sum(c["steps"] for c in found),
            "examples": sum(c["examples"] for c in found),
        }
        for (start, space, degree), found in kinds.items()
    ]
