"""The dimensions study: how many closed weights lead out of a bad sparse solution, and which.

Per sparsity and seed: pruning, and training from scratch with the mask that it found, as in the
difficulty study, whose runs these are. From the scratch solution to the pruned one, weights are
opened while travelling only, the first by one choice or another, until the path need not climb
(:func:`sparsescape.extra_dimensions`); then those of one layer alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError, unknown
from ..landscape.dimensions.openings import CHOICES
from ..problems import catalogue
from .claims import FAILS, HOLDS, UNDECIDED, bad_margin
from .command import command
from .graph import Stage
from .openings import counting
from .statistics import Interval, interval
from .store import Store

LAYER_CHOICE = "gradient"
"""What is opened first where only one layer may be."""


@dataclass(frozen=True)
class Settings:
    """All that decides the result of the study."""

    problem: str
    sparsity: tuple[float, ...]
    distribution: str
    seeds: int
    steps: int | None
    choices: tuple[str, ...]
    search_steps: int
    points: int
    precision: float

    def __post_init__(self) -> None:
        for sparsity in self.sparsity:
            if not 0 <= sparsity < 1:
                raise InputError(f"Sparsity is a number from 0 to below 1, not {sparsity}.")
        if not self.sparsity or not self.choices:
            raise InputError("A study of dimensions needs a sparsity and a choice at least.")
        least = {"seeds": 1, "steps": 1, "search_steps": 1, "points": 3}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"--{name.replace('_', '-')} is at least {low}, not {value}.")
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


def cases(settings: Settings) -> list[Case]:
    """The runs to start from, the same stages as those of the difficulty study."""
    common = {"problem": catalogue.describe(settings.problem), "steps": settings.steps}
    check = Stage("check", common, label="check")
    return [
        Case(sparsity, seed, dict(_runs(settings, common, check, sparsity, seed)))
        for sparsity in settings.sparsity
        for seed in range(settings.seeds)
    ]


def _runs(
    settings: Settings, common: Mapping[str, Any], check: Stage, sparsity: float, seed: int
) -> Iterator[tuple[str, Stage]]:
    def run(arm: str, method: str, start: str, **inputs: Stage) -> Stage:
        dense = method == "dense"
        what = {
            "method": method,
            "sparsity": 0.0 if dense else sparsity,
            "distribution": None if dense else settings.distribution,
            "start": start,
            "seed": seed,
        }
        label = f"sparsity {sparsity:g}, seed {seed}: train {arm}"
        return Stage("train", {**common, **what}, {"check": check, **inputs}, label=label)

    pruned = run("pruned", "gradual-magnitude", "initialization")
    yield "dense", run("dense", "dense", "initialization")
    yield "pruned", pruned
    yield "scratch", run("scratch", "static", "fresh", mask=pruned)


def searches(settings: Settings, found: Sequence[Case], store: Store) -> list[Search]:
    """Every choice, then every layer alone, from each start that is worse than pruned.

    Args:
        found: cases whose runs are done.
    """
    planned = []
    for case in found:
        if not is_bad(case, store):
            continue
        layers = list(_layers(case, store))
        planned += [_search(settings, case, choice, None) for choice in settings.choices]
        if len(layers) > 1:
            planned += [_search(settings, case, LAYER_CHOICE, layer) for layer in layers]
    return planned


def is_bad(case: Case, store: Store) -> bool:
    """Whether scratch ended above pruned by more than the margin of the difficulty study."""
    scratch, pruned = (store.metrics(case.runs[arm].key) for arm in ("scratch", "pruned"))
    if scratch["diverged"] or pruned["diverged"]:
        return False
    return scratch["train_loss"] - pruned["train_loss"] > bad_margin(pruned["train_loss"])


def _layers(case: Case, store: Store) -> Iterator[str]:
    """Names of the weights that have closed ones."""
    from ..masks import Mask

    mask = Mask.load(store.path(case.runs["pruned"].key) / "mask.safetensors")
    yield from (name for name, density in mask.densities.items() if density < 1)


def _search(settings: Settings, case: Case, choice: str, layer: str | None) -> Search:
    runs = case.runs
    ends = {"start": runs["scratch"], "end": runs["pruned"], "mask": runs["pruned"]}
    if choice == "distance":
        ends["reference"] = runs["dense"]
    where = f" in {layer}" if layer else ""
    stage = counting(
        {"problem": catalogue.describe(settings.problem), "steps": settings.steps},
        ends,
        choose=choice,
        seed=case.seed,
        label=f"sparsity {case.sparsity:g}, seed {case.seed}: open by {choice}{where}",
        among=[layer or "*"],
        search_steps=settings.search_steps,
        points=settings.points,
        precision=settings.precision,
    )
    return Search(case, choice, layer, stage)


# ---------------------------------------------------------------------------- the results


def results(
    settings: Settings, found: Sequence[Case], made: Sequence[Search], store: Store
) -> dict[str, Any]:
    """What ``results.json`` holds, from the finished stages: the same every time."""
    records = [
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
    starts = [_start(case, records, store) for case in found]
    counted = {(s["sparsity"], s["seed"]) for s in starts if s["counts"]}
    usable = [r for r in records if (r["sparsity"], r["seed"]) in counted]
    whole = [r for r in usable if r["layer"] is None]
    single = [r for r in usable if r["layer"] is not None]
    return {
        "study": "dimensions",
        "schema": 1,
        "command": command("dimensions", settings),
        "settings": {k: _plain(value) for k, value in asdict(settings).items()},
        "problem": {"name": settings.problem, **catalogue.describe(settings.problem)},
        "choices": list(settings.choices),
        "starts": starts,
        "searches": records,
        "table": [
            _row({"sparsity": s, "choice": c}, whole) for s in settings.sparsity
            for c in settings.choices
        ],
        "layers": [
            _layer_row(s, layer, whole, single)
            for s in settings.sparsity
            for layer in dict.fromkeys(r["layer"] for r in single if r["sparsity"] == s)
        ],
        "findings": [
            finding for s in settings.sparsity for finding in _findings(s, settings, whole)
        ],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _start(case: Case, records: Sequence[Mapping[str, Any]], store: Store) -> dict[str, Any]:
    """One start: how bad it is, how it climbs inside the mask, and whether it counts."""
    losses = {arm: store.metrics(run.key)["train_loss"] for arm, run in case.runs.items()}
    mine = [r for r in records if (r["sparsity"], r["seed"]) == (case.sparsity, case.seed)]
    inside = mine[0]["tried"][0] if mine and mine[0]["tried"] else None
    bad = is_bad(case, store)
    lost = any(store.metrics(run.key)["diverged"] for run in case.runs.values())
    return {
        "sparsity": case.sparsity,
        "seed": case.seed,
        **losses,
        "bad": bad,
        "climb_inside": inside["climb"] if inside else None,
        "passes_inside": inside["passes"] if inside else None,
        "counts": bad and bool(mine) and all(r["count"] != 0 for r in mine),
        "diverged": lost,
        "run": case.runs["scratch"].key,
    }


def _row(of: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One kind of search over its seeds; the counts' mean is geometric, of those that have one."""
    mine = [r for r in records if all(r[key] == value for key, value in of.items())]
    enough = [r for r in mine if r["count"] is not None]
    return {
        **of,
        "n": len(mine),
        "reached": len(enough),
        "count": _geometric([r["count"] for r in enough]),
        "fraction": _geometric([r["fraction"] for r in enough]),
        "counts": [r["count"] for r in mine],
        "passes": sum(r["passes"] for r in mine),
    }


def _layer_row(
    sparsity: float,
    layer: str,
    whole: Sequence[Mapping[str, Any]],
    single: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    alone = _row({"sparsity": sparsity, "layer": layer}, single)
    free = [r for r in whole if r["sparsity"] == sparsity and r["choice"] == LAYER_CHOICE]
    opened = [r for r in free if r["count"]]
    return {
        **alone,
        "opened_share": asdict(interval([_share(r["opened_by_layer"], layer) for r in opened])),
        "closed_share": asdict(interval([_share(r["closed_by_layer"], layer) for r in opened])),
    }


def _share(counts: Mapping[str, int], layer: str) -> float:
    return counts[layer] / sum(counts.values())


def _geometric(values: Sequence[float]) -> dict[str, Any]:
    """The geometric mean and its interval: Student's of the logarithms, taken back."""
    of = interval([math.log(value) for value in values])
    mean, low, high = (None if x is None else math.exp(x) for x in (of.mean, of.low, of.high))
    return {"mean": mean, "low": low, "high": high, "n": of.n}


# ---------------------------------------------------------------------------- findings

_USABLE = (
    "Only starts count that are worse than pruned by more than 0.01 + 10 % of its loss and between "
    "which and pruned no search found a path inside the mask. Where no number was enough, all "
    "closed weights stand in, and the ratio is a bound."
)
FEW = 0.01
"""The share of the closed weights that is called few."""


def _findings(
    sparsity: float, settings: Settings, whole: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    mine = [r for r in whole if r["sparsity"] == sparsity]
    for choice in settings.choices:
        if choice != "random" and "random" in settings.choices:
            yield _fewer_than_random(sparsity, choice, mine)
    if LAYER_CHOICE in settings.choices:
        yield _few_are_enough(sparsity, [r for r in mine if r["choice"] == LAYER_CHOICE])


def _fewer_than_random(
    sparsity: float, choice: str, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    counts = {(r["choice"], r["seed"]): r["count"] or r["closed"] for r in records}
    seeds = [seed for name, seed in counts if name == choice and ("random", seed) in counts]
    ratios = [math.log(counts["random", seed] / counts[choice, seed]) for seed in seeds]
    of = interval(ratios)
    return {
        "title": f"At {sparsity:.4g}, {choice} needs fewer than random",
        "verdict": _sign(of),
        "statement": f"Fewer weights have to be opened where they are chosen by {choice}.",
        "rule": f"{_USABLE} Per seed, the ratio of random's count to this one's. It holds where "
        "the 95 % Student interval of the mean log ratio lies above 0, does not hold where it lies "
        "below 0 or is 0 alone, and is undecided otherwise, and with fewer than two seeds.",
        "evidence": [
            f"seed {seed}: random {_told(records, 'random', seed)}, "
            f"{choice} {_told(records, choice, seed)}"
            for seed in seeds
        ],
        "ratio": None if of.mean is None else math.exp(of.mean),
        "seeds": seeds,
        "n": len(seeds),
    }


def _few_are_enough(sparsity: float, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shares = [r["fraction"] if r["count"] else 1.0 for r in records]
    spared = interval([math.log(FEW / share) for share in shares])
    return {
        "title": f"At {sparsity:.4g}, a few dimensions are enough",
        "verdict": _sign(spared),
        "statement": f"Opening {FEW:.0%} of the closed weights, by {LAYER_CHOICE}, is enough.",
        "rule": f"{_USABLE} It holds where the 95 % Student interval of the mean log share lies "
        f"below {FEW:.0%}, does not hold where it lies above, and is undecided otherwise, and with "
        "fewer than two seeds.",
        "evidence": [
            f"seed {r['seed']}: {_told(records, LAYER_CHOICE, r['seed'])}" for r in records
        ],
        "share": None if spared.mean is None else FEW / math.exp(spared.mean),
        "seeds": [r["seed"] for r in records],
        "n": len(records),
    }


def _sign(of: Interval) -> str:
    """Whether the mean is above 0: holds, does not hold or undecided."""
    if of.low is None or of.high is None:
        return UNDECIDED
    if of.low > 0:
        return HOLDS
    return FAILS if of.high < 0 or of.low == of.high else UNDECIDED


def _told(records: Sequence[Mapping[str, Any]], choice: str, seed: int) -> str:
    (found,) = (r for r in records if (r["choice"], r["seed"]) == (choice, seed))
    if found["count"] is None:
        return f"no number of {found['closed']} ({found['passes']} passes)"
    return f"{found['count']} (not {found['failed']}) of {found['closed']}"
