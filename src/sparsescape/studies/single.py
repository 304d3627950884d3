"""Single stages for the command line: one training run, one path between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..errors import InputError
from ..problems import catalogue
from ..sparsifiers.catalogue import described, named
from . import imp
from .flags import check_sparsity
from .graph import Stage, common_settings, run_as
from .store import Store, read_results

CONSTANT = "of the network's kind"
"""What answers a diagnosis holds a network against, a setting of it: others may end otherwise."""


def training(
    problem: str,
    *,
    method: str,
    sparsity: float,
    distribution: str,
    seed: int,
    steps: int | None,
    execution: str = "auto",
    parallel: str | None = None,
) -> Stage:
    """One training run from the problem's own initialization.

    Args:
        method: a name in the catalogue, or ``"my_file.py:make_sparsifier"``.
        execution: how layers are run inside the mask: ``"auto"``, ``"masked"`` or ``"sparse"``.
        parallel: how several ranks train together, if they do. How many there are is no setting:
            any number comes to the same within rounding, and may go on where another stopped.

    Raises:
        InputError: an unknown problem or method, or a sparsity outside [0, 1).
    """
    in_rounds, how = named(method).in_rounds, described(method)
    check_sparsity(sparsity)
    common = common_settings(problem, steps, execution)
    what = {**how, "sparsity": sparsity, "distribution": distribution, "seed": seed}
    check = Stage("check", {**common, **what} if "method_source" in how else common, label="check")
    if parallel is not None:
        common["parallel"] = parallel
    if in_rounds:
        return imp.final(method, sparsity, seed, common, check, steps)
    whole = {**common, **what, "start": "initialization"}
    return Stage("train", whole, {"check": check}, label=f"train {how['method']}")


def path(
    start: Stage,
    end: Stage,
    *,
    space: str,
    points: int,
    search: Mapping[str, Any],
    execution: str | None = None,
    parallel: str | None = None,
) -> Stage:
    """A curve fitted between two training runs, evaluated along its length.

    Args:
        execution: as in :func:`training`; that of ``start`` unless given.
        parallel: that several ranks search and evaluate together, if they do: as in
            :func:`training`.

    Raises:
        InputError: the runs are of different problems, or one is no training run.
    """
    if search["degree"] < 1 or search["curve_steps"] < 1 or not search["curve_lr"] > 0:
        raise InputError("--degree and --curve-steps are at least 1, and --curve-lr is above 0.")
    shared = {} if parallel is None else {"parallel": parallel}
    common = _of_all(start, execution)
    what = {**search, **shared, "space": space}
    return _searched("fit", start, end, points, common, what, shared)


def best_path(
    start: Stage,
    end: Stage,
    *,
    space: str,
    points: int,
    curve_steps: int,
    seed: int,
    execution: str | None = None,
    parallel: str | None = None,
) -> Stage:
    """The best path between two training runs that all of ``find_path``'s trials find.

    Args:
        curve_steps: passes of each curve that is tried.
        execution: as in :func:`training`; that of ``start`` unless given.
        parallel: that several ranks evaluate it together, if they do; one of them searches.

    Raises:
        InputError: the runs are of different problems, or one is no training run.
    """
    # Imported here, as it needs torch, unlike what lists or refuses.
    from ..landscape.search.trials import default_trials

    if curve_steps < 1:
        raise InputError(f"--curve-steps is at least 1, not {curve_steps}.")
    trials = [asdict(trial) for trial in default_trials(curve_steps)]
    search = {"trials": trials, "points": points, "seed": seed, "space": space}
    shared = {} if parallel is None else {"parallel": parallel}
    return _searched("find", start, end, points, _of_all(start, execution), search, shared)


def _searched(
    kind: str,
    start: Stage,
    end: Stage,
    points: int,
    common: Mapping[str, Any],
    search: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> Stage:
    """A search of that kind, and the evaluation of what it finds."""
    for run in (start, end):
        if run.kind != "train":
            raise InputError(f"{run.key} is not a training run.")
    # Not of different lengths: a diagnosis advises to search the path from a run to a longer one.
    if end.settings["problem"] != common["problem"]:
        raise InputError("The two runs are of different problems.")
    if points < 3:
        raise InputError(f"--points is at least 3, not {points}.")
    ends = {"start": start, "end": end}
    found = Stage(kind, {**common, **search}, {**ends, "mask": end}, label="search the path")
    t = [i / (points - 1) for i in range(points)]
    grid = {**common, **shared, "t": t, "from": "point"}
    return Stage("along", grid, {**ends, "curve": found}, "evaluate")


def diagnosis(
    run: Stage,
    reference: Stage | None,
    *,
    curve_steps: int | None,
    seed: int,
    execution: str | None = None,
) -> Stage:
    """Which kind of stuck a training run is, compared with another where one is given.

    Args:
        curve_steps: of each trial of the search for a path, instead of its own.
        execution: as in :func:`training`; that of the run unless given.

    Raises:
        InputError: one is no training run, or they are of different problems.
    """
    from ..landscape.search.trials import TRIALS, default_trials

    inputs = {"run": run} if reference is None else {"run": run, "reference": reference}
    for stage in inputs.values():
        if stage.kind != "train":
            raise InputError(f"{stage.key} is not a training run.")
        if stage.settings["problem"] != run.settings["problem"]:
            raise InputError("The two runs are of different problems.")
    if curve_steps is not None and curve_steps < 1:
        raise InputError(f"--curve-steps is at least 1, not {curve_steps}.")
    trials = default_trials(curve_steps) if curve_steps else TRIALS
    search = {"trials": [asdict(trial) for trial in trials], "seed": seed}
    what = {**_of_all(run, execution), **search, "constant": CONSTANT}
    return Stage("diagnose", what, inputs, "diagnose")


def _of_all(run: Stage, execution: str | None) -> dict[str, Any]:
    """What further stages have in common with a training run, but where told how to be run."""
    how = run.settings.get("execution", "auto") if execution is None else execution
    return {"problem": run.settings["problem"], "steps": run.settings["steps"], **run_as(how)}


def locator(stage: Stage, given: str | None) -> str:
    """Where the problem of a stage is found: its name, or the file that the user gives.

    Raises:
        InputError: it is a problem of the user's own and no file, or another one, was given.
    """
    described = stage.settings["problem"]
    if "name" in described:
        return described["name"]
    if given is None or catalogue.describe(given) != described:
        raise InputError(
            f"The runs are of {described['function']} in {described['file']}: "
            "give that file, unchanged, with --problem."
        )
    return given


def summaries(store: Store) -> list[tuple[str, str]]:
    """Every study and training run in the store, with a line on what it is: runs by problem,
    sparsity, method and seed, without those that only found out what a way of escape costs."""
    results = {folder.name: read_results(folder) for folder in store.studies()}
    told = {run["run"] for found in results.values() for run in found.get("runs", ())}
    escaped = any(found["study"] == "escape" for found in results.values())
    described = {key: store.description(key) for key in store.runs()}
    listed = [
        key
        for key, of in described.items()
        if key in told or not (escaped and "trajectory" in of["settings"])
    ]
    listed.sort(key=lambda key: _place(described[key]["settings"]))
    return [
        *((name, found["command"]) for name, found in results.items()),
        *((key, _summary(described[key], store.metrics(key))) for key in listed),
    ]


def _place(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    where = _named(settings["problem"])
    return where, settings["sparsity"], settings["method"], settings["seed"], settings["start"]


def _named(problem: Mapping[str, Any]) -> str:
    return str(problem.get("name") or f"{problem['file']}:{problem['function']}")


_STARTS = {
    "initialization": "the initialization",
    "fresh": "fresh weights",
    "fresh-sparse-fan-in": "fresh weights at the scale of the sparse fan-in",
}


def _summary(description: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    settings, inputs = description["settings"], description["inputs"]
    start = _STARTS.get(settings["start"]) or f"where {inputs['start']} ended"
    mask = f" with the mask of {inputs['mask']}" if "mask" in inputs else ""
    run = f", run {settings['execution']}" if "execution" in settings else ""
    loss = metrics.get("train_loss")
    reached = "diverged" if loss is None else f"training loss {loss:.4f}"
    return (
        f"{_named(settings['problem'])}, sparsity {settings['sparsity']:g}, {settings['method']}, "
        f"seed {settings['seed']}, {metrics['steps']} steps from {start}{mask}{run}: {reached}"
    )
