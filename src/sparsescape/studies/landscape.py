"""The landscape study: pictures of the loss around, between and on the way to the solutions.

One seed of the difficulty study, mapped: planes through its solutions, and through a quadratic
path and its ends, in the sparse subspace and in the dense space; random planes around the scratch
and the pruned solution, inside their mask and through all of weight space; two runs in the plane
of their own principal components; and the spectrum of the Hessian where each of them ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .command import heading
from .difficulty import arms, search
from .flags import check_above_zero, check_at_least, check_sparse
from .graph import Stage, common_settings
from .store import Store

_SPACES = ("sparse", "dense")
_SEEN = ("scratch", "pruned")
"""The runs whose surroundings and course are shown: the bad solution and the good one."""


_SPECTRA = "spectra"
_ON_A_SPECTRUM = 200  # eigenvalues at which a density is drawn


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: float
    distribution: str
    seed: int
    steps: int | None
    curve_steps: int
    curve_lr: float
    grid: int
    snapshots: int
    execution: str = "auto"
    """How what is inside a mask is run: ``"auto"``, ``"masked"`` or ``"sparse"``."""

    def __post_init__(self) -> None:
        check_sparse(self.sparsity)
        check_at_least(self, grid=3, snapshots=3, curve_steps=1, steps=1)
        check_above_zero(self, "curve_lr")


@dataclass(frozen=True)
class Map:
    """A stage that surveys a plane, and what is on it."""

    name: str
    kind: str
    """``"solutions"``, ``"path"``, ``"surroundings"``, ``"course"`` or ``"spectra"``."""
    about: Mapping[str, Any]
    marks: tuple[str, ...]
    stage: Stage


def plan(settings: Settings) -> list[Map]:
    """Every map of the study."""
    common = common_settings(settings.problem, settings.steps, settings.execution)
    check = Stage("check", common, label="check")
    runs = arms(common, check, settings.seed, settings.sparsity, settings.distribution)
    ends = {"start": runs["scratch"], "end": runs["pruned"]}
    seen = {**common, "grid": settings.grid}
    solutions = Map(
        "through the three solutions",
        "solutions",
        {},
        ("scratch", "pruned", "lottery"),
        Stage("through", seen, {**ends, "third": runs["lottery"]}, label="map of the solutions"),
    )
    return [
        solutions,
        *(_path(settings, common, seen, runs, space) for space in _SPACES),
        *(_around(settings, seen, runs, name, space) for name in _SEEN for space in _SPACES),
        *(_course(settings, seen, runs, name) for name in _SEEN),
        *(_spectra(settings, common, runs, name) for name in _SEEN),
    ]


def _path(
    settings: Settings,
    common: Mapping[str, Any],
    seen: Mapping[str, Any],
    runs: Mapping[str, Stage],
    space: str,
) -> Map:
    budget = {"curve_steps": settings.curve_steps, "curve_lr": settings.curve_lr}
    fit = search(common, budget, settings.seed, runs, "scratch", 2, space)
    ends = {"start": runs["scratch"], "end": runs["pruned"], "curve": fit}
    name = f"scratch → pruned, {space} quadratic"
    stage = Stage("through", seen, ends, label=f"map of {name}")
    return Map(name, "path", {"space": space}, ("scratch", "pruned", "bend"), stage)


def _around(
    settings: Settings, seen: Mapping[str, Any], runs: Mapping[str, Stage], name: str, space: str
) -> Map:
    what = {**seen, "space": space, "seed": settings.seed}
    stage = Stage("around", what, {"of": runs[name]}, label=f"map around {name}, {space}")
    about = {"run_name": name, "space": space}
    return Map(f"around {name}, {space}", "surroundings", about, (name,), stage)


def _course(
    settings: Settings, seen: Mapping[str, Any], runs: Mapping[str, Stage], name: str
) -> Map:
    run = runs[name]
    watched = Stage(
        run.kind,
        {**run.settings, "snapshots": settings.snapshots},
        run.inputs,
        label=f"{run.label}, with snapshots",
    )
    stage = Stage("course", seen, {"of": watched}, label=f"map of the course of {name}")
    return Map(f"the course of {name}", "course", {"run_name": name}, ("start", name), stage)


def _spectra(
    settings: Settings, common: Mapping[str, Any], runs: Mapping[str, Stage], name: str
) -> Map:
    what = {**common, "points": _ON_A_SPECTRUM, "seed": settings.seed}
    stage = Stage("spectra", what, {"of": runs[name]}, label=f"spectra of {name}")
    return Map(f"spectra of {name}", _SPECTRA, {"run_name": name}, (), stage)


def results(settings: Settings, maps: Sequence[Map], store: Store) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished stages: the same every time."""
    return {
        **heading("landscape", settings),
        "maps": [_found(one, store) for one in maps if one.kind != _SPECTRA],
        "spectra": [
            {"name": one.name, **one.about, **store.metrics(one.stage.key), "run": one.stage.key}
            for one in maps
            if one.kind == _SPECTRA
        ],
    }


def _found(one: Map, store: Store) -> dict[str, Any]:
    found = store.metrics(one.stage.key)
    marks = [{"name": n, **mark} for n, mark in zip(one.marks, found["marks"], strict=False)]
    about = {"name": one.name, "kind": one.kind, **one.about}
    return {**about, **found, "marks": marks, "run": one.stage.key}
