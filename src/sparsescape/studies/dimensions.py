"""The dimensions study: how many closed weights lead out of a bad sparse solution, and which.

Per sparsity and seed: pruning, and training from scratch with the mask that it found, as in the
difficulty study, whose runs these are. From the scratch solution to the pruned one, weights are
opened while travelling only, the first by one choice or another, until the path need not climb
(:func:`sparsescape.extra_dimensions`); then those of one layer alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, unknown
from ..landscape.dimensions.openings import CHOICES
from ..points import matching
from . import claims, difficulty
from .command import heading
from .counts import LAYER_CHOICE, findings, layer_row, nested, row
from .flags import check_at_least, check_sparse
from .graph import Stage, common_settings
from .stages.openings import counting
from .store import Store


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: tuple[float, ...]
    distribution: str
    seeds: int
    steps: int | None
    choices: tuple[str, ...]
    search_passes: int
    points: int
    precision: float
    layers: tuple[str, ...] = ("*",)
    """Patterns of the layers that are opened alone, too."""
    execution: str = "auto"
    """How what is inside a mask is run: ``"auto"``, ``"masked"`` or ``"sparse"``."""

    def __post_init__(self) -> None:
        for sparsity in self.sparsity:
            check_sparse(sparsity)
        if not self.sparsity or not self.choices:
            raise InputError("A study of dimensions needs a sparsity and a choice at least.")
        for name, given in (("--sparsity", self.sparsity), ("--choices", self.choices)):
            if len(set(given)) < len(given):  # each start would count twice as a seed
                raise InputError(f"{name} takes none twice, not {' '.join(map(str, given))}.")
        check_at_least(self, seeds=1, steps=1, search_passes=1, points=3)
        if not 0 <= self.precision < 1:
            raise InputError(f"--precision is a share from 0 to below 1, not {self.precision}.")
        for name in self.choices:
            if name not in CHOICES:
                raise unknown("choice", name, CHOICES)


@dataclass(frozen=True)
class Case:
    """The runs of one sparsity and seed."""

    sparsity: float
    seed: int
    runs: Mapping[str, Stage]


@dataclass(frozen=True)
class Search:
    """One search for a number of dimensions: what was opened first, and in which layer."""

    case: Case
    choice: str
    layer: str | None
    stage: Stage


# ---------------------------------------------------------------------------- the graph


def tries(settings: Settings) -> list[Stage]:
    """What tries whether the layers are there: done before any other stage."""
    common = common_settings(settings.problem, settings.steps, settings.execution)
    named = {"weights": list(settings.layers)}
    return [Stage("check", {**common, **named}, label="check of the layers")]


def cases(settings: Settings) -> list[Case]:
    """The runs to start from, the same stages as those of the difficulty study."""
    common = common_settings(settings.problem, settings.steps, settings.execution)
    check = Stage("check", common, label="check")

    def runs(sparsity: float, seed: int) -> dict[str, Stage]:
        label = f"sparsity {sparsity:g}, seed {seed}"
        arms = difficulty.arms(common, check, seed, sparsity, settings.distribution, label)
        return {arm: arms[arm] for arm in ("dense", "pruned", "scratch")}

    return [
        Case(sparsity, seed, runs(sparsity, seed))
        for sparsity in settings.sparsity
        for seed in range(settings.seeds)
    ]


def searches(settings: Settings, found: Sequence[Case], store: Store) -> list[Search]:
    """Every choice, then layers alone, from each start that is worse than pruned.

    Args:
        found: cases whose runs are done.
    """
    planned = []
    for case in found:
        if not is_bad(case, store):
            continue
        planned += [_search(settings, case, choice, None) for choice in settings.choices]
        planned += [
            _search(settings, case, LAYER_CHOICE, layer) for layer in _layers(settings, case, store)
        ]
    return planned


def is_bad(case: Case, store: Store) -> bool:
    """Whether scratch ended above pruned by more than the margin of the difficulty study."""
    return claims.is_bad(*(store.metrics(case.runs[arm].key) for arm in ("scratch", "pruned")))


def _layers(settings: Settings, case: Case, store: Store) -> list[str]:
    """Names of the weights to open alone: none where all that is closed is in one layer."""
    from ..masks import Mask

    mask = Mask.load(store.path(case.runs["pruned"].key) / "mask.safetensors")
    closed = [name for name, density in mask.densities.items() if density < 1]
    wanted = matching(mask, settings.layers)
    return [name for name in closed if name in wanted and len(closed) > 1]


def _search(settings: Settings, case: Case, choice: str, layer: str | None) -> Search:
    runs = case.runs
    ends = {"start": runs["scratch"], "end": runs["pruned"], "mask": runs["pruned"]}
    if choice == "distance":
        ends["reference"] = runs["dense"]
    where = f" in {layer}" if layer else ""
    stage = counting(
        common_settings(settings.problem, settings.steps, settings.execution),
        ends,
        choose=choice,
        seed=case.seed,
        label=f"sparsity {case.sparsity:g}, seed {case.seed}: open by {choice}{where}",
        among=[layer or "*"],
        search_passes=settings.search_passes,
        points=settings.points,
        precision=settings.precision,
    )
    return Search(case, choice, layer, stage)


# ---------------------------------------------------------------------------- the results


def results(
    settings: Settings, found: Sequence[Case], made: Sequence[Search], store: Store
) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished stages: the same every time."""
    records = nested(
        [
            {
                "sparsity": search.case.sparsity,
                "seed": search.case.seed,
                "choice": search.choice,
                "layer": search.layer,
                **store.metrics(search.stage.key),
                "run": search.stage.key,
            }
            for search in made
        ]
    )
    starts = [_start(case, records, store) for case in found]
    counted = {(s["sparsity"], s["seed"]) for s in starts if s["counts"]}
    usable = [r for r in records if (r["sparsity"], r["seed"]) in counted]
    whole = [r for r in usable if r["layer"] is None]
    single = [r for r in usable if r["layer"] is not None]
    return {
        **heading("dimensions", settings),
        "choices": list(settings.choices),
        "starts": starts,
        "searches": records,
        "table": [
            row({"sparsity": s, "choice": c}, whole) for s in settings.sparsity
            for c in settings.choices
        ],
        "layers": [
            layer_row(s, layer, whole, single)
            for s in settings.sparsity
            for layer in dict.fromkeys(r["layer"] for r in single if r["sparsity"] == s)
        ],
        "findings": [
            finding for s in settings.sparsity for finding in findings(s, settings.choices, whole)
        ],
    }  # fmt: skip


def _start(case: Case, records: Sequence[Mapping[str, Any]], store: Store) -> dict[str, Any]:
    """One start: how bad it is, how it climbs inside the mask, and whether it counts."""
    losses = {arm: store.metrics(run.key)["train_loss"] for arm, run in case.runs.items()}
    mine = [r for r in records if (r["sparsity"], r["seed"]) == (case.sparsity, case.seed)]
    made = [r for r in mine if r["tried"]]
    # Where none is found to be enough by way of more, all of that search was needed for it.
    best = min(made, key=lambda r: r["tried"][0]["climb"], default=None)
    inside = best and (best if best["count"] == 0 else best["tried"][0])
    bad = is_bad(case, store)
    lost = any(store.metrics(run.key)["diverged"] for run in case.runs.values())
    return {
        "sparsity": case.sparsity,
        "seed": case.seed,
        **losses,
        "bad": bad,
        "climb_inside": best["tried"][0]["climb"] if best else None,
        "passes_inside": inside["passes"] if inside else None,
        "counts": bad and bool(mine) and all(r["count"] != 0 for r in mine),
        "diverged": lost,
        "run": case.runs["scratch"].key,
    }
