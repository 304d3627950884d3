"""Which ways leave a bad solution, how far they get, and which beats RigL: rules and verdicts.

Everything here is a function of the numbers in ``results.json`` and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..landscape.profiles import measures
from .claims import FAILS, HOLDS, UNDECIDED, bad_margin
from .stages.openings import MEASURED
from .statistics import Interval, interval

Record = Mapping[str, Any]

LEAVES, STAYS = "leaves", "stays"
BEATS, BEHIND = "beats", "behind"
RIGL = ("rigl", "rigl 0.1")
"""RigL as published, and moving less: what knows how many weights to open must beat both."""


# ---------------------------------------------------------------------------- one run


def judged(run: Record, solutions: Sequence[Record]) -> dict[str, Any]:
    """A run with how it stands to its seed's bad and pruned solutions.

    ``gap`` is the bad solution's training loss minus the pruned one's; ``closed`` the share of it
    that the run made good; ``left`` and ``arrived`` whether its loss is below the bad solution's,
    or not above the pruned one's, by more than the margin of :func:`bad_margin`. All are None
    where the seed's solution is not bad, by the same margin, or a run of the three diverged.
    ``climb`` is that of the losses along the run, from the bad solution on.
    """
    loss = {s["arm"]: s["train_loss"] for s in solutions if s["seed"] == run["seed"]}
    bad, good, end = loss["scratch"], loss["pruned"], run["train_loss"]
    unknown = dict.fromkeys(("gap", "closed", "left", "arrived", "climb", "climbs"))
    if run["diverged"] or bad is None or good is None or bad - good <= bad_margin(good):
        return {**run, **unknown}
    way = [bad, *run["trajectory"]["train_loss"]]
    climb = measures.climb(way)
    return {
        **run,
        "gap": bad - good,
        "closed": (bad - end) / (bad - good),
        "left": bad - end > bad_margin(good),
        "arrived": end - good <= bad_margin(good),
        "climb": climb,
        "climbs": climb > measures.tolerance(way),
    }


# ---------------------------------------------------------------------------- one way

_MEASURES = ("closed", "train_loss", "test_accuracy", "flops", "steps", "climb")


def table(runs: Sequence[Record]) -> list[dict[str, Any]]:
    """A row for each way, over the seeds whose solution is bad."""
    ways = dict.fromkeys(run["way"] for run in runs)
    return [_row(way, [run for run in runs if run["way"] == way]) for way in ways]


def _row(way: str, runs: Sequence[Record]) -> dict[str, Any]:
    judged_ones = [run for run in runs if run["closed"] is not None]
    return {
        "way": way,
        "n": len(judged_ones),
        **{m: asdict(interval([run[m] for run in judged_ones])) for m in _MEASURES},
        "line_climb": asdict(interval([run["line"]["climb"] for run in judged_ones])),
        "left": sum(run["left"] for run in judged_ones),
        "arrived": sum(run["arrived"] for run in judged_ones),
        "climbing": sum(run["climbs"] for run in judged_ones),
        "line_decreasing": sum(run["line"]["decreasing"] for run in judged_ones),
        "verdict": leaving(sum(run["left"] for run in judged_ones), len(judged_ones)),
        "diverged": sum(run["diverged"] for run in runs),
    }


def leaving(left: int, n: int) -> str:
    """Whether a way leaves: in all seeds, in at most half, or undecided; so with one seed.

    >>> leaving(3, 3), leaving(1, 3), leaving(2, 3), leaving(1, 1)
    ('leaves', 'stays', 'undecided', 'undecided')
    """
    if n < 2 or n / 2 < left < n:
        return UNDECIDED
    return LEAVES if left == n else STAYS


# ---------------------------------------------------------------------------- two ways


def comparisons(runs: Sequence[Record]) -> list[dict[str, Any]]:
    """Every way against RigL at both drop fractions, paired by seed."""
    ways = dict.fromkeys(run["way"] for run in runs)
    return [
        _comparison(runs, way, reference)
        for reference in RIGL
        if reference in ways
        for way in ways
        if way not in RIGL
    ]


def _comparison(runs: Sequence[Record], way: str, reference: str) -> dict[str, Any]:
    """The gain in the share of the gap closed, at the level that the claim on k asks for."""
    of = {(run["way"], run["seed"]): run for run in runs if run["closed"] is not None}
    seeds = [s for name, s in of if name == way and (reference, s) in of]
    # Several numbers of weights are tried: one of them would look good by chance too often.
    tried = len({r["open"] for r in runs if r["open"] not in (None, MEASURED)})
    fixed = next(r["open"] for r in runs if r["way"] == way) not in (None, MEASURED)
    level = 1 - 0.05 / max(1, tried if fixed else 1)
    gain = interval([of[way, s]["closed"] - of[reference, s]["closed"] for s in seeds], level)
    accuracy = [
        of[way, s]["test_accuracy"] - of[reference, s]["test_accuracy"]
        for s in seeds
        if None not in (of[way, s]["test_accuracy"], of[reference, s]["test_accuracy"])
    ]
    return {
        "way": way,
        "reference": reference,
        "open": next(r["open"] for r in runs if r["way"] == way),
        "level": level,
        "gain": asdict(gain),
        "accuracy_gain": asdict(interval(accuracy, level)),
        "better": sum(of[way, s]["closed"] > of[reference, s]["closed"] for s in seeds),
        "verdict": _sign(gain),
    }


def _sign(gain: Interval) -> str:
    if gain.low is None or gain.high is None:
        return UNDECIDED
    if gain.low > 0:
        return BEATS
    return BEHIND if gain.high < 0 else UNDECIDED


# ---------------------------------------------------------------------------- the findings

_BAD = (
    "A seed counts where its scratch solution's training loss is above the pruned one's by more "
    "than the margin, 0.01 + 10 % of the pruned loss."
)
_LEAVES = (
    f"{_BAD} A run leaves if it ends below the scratch solution's loss by more than the margin; a "
    "way leaves if all its runs do, stays if at most half do, and is undecided otherwise, and "
    "with fewer than two seeds. The share closed is of the difference between the two solutions' "
    "training losses; arrived is at most the margin above the pruned loss."
)
_CLIMBS = (
    f"{_BAD} Along a run: the training loss over the whole set at even places, the scratch "
    "solution's first; and along the straight line from the scratch solution to the run's end. "
    "Each climbs where its climb (the measure of every path) exceeds the larger of 1e-3 and 1 % "
    "of the difference of its ends. Holds if no run of a way that leaves goes without a climb, "
    "does not hold if at least half do, and is undecided otherwise, and with fewer than two seeds."
)
_KNOWS = (
    f"{_BAD} Gain: the share of the gap closed minus RigL's, paired by seed. With the measured "
    "number of weights it holds if the 95 % interval of the gain lies above 0 against RigL at both "
    "drop fractions, 0.3 and 0.1; does not hold if it lies below 0 against one; else undecided. "
    "Without a measured number every number tried is judged so, at 95 % for all of them together "
    "(Bonferroni): holds if one number beats both, does not hold if every number is behind one."
)


def findings(runs: Sequence[Record], against: Sequence[Record]) -> list[dict[str, Any]]:
    """Who leaves, whether the way there climbs, and whether knowing k beats RigL."""
    if not runs:
        return []
    rows = table(runs)
    seeds = sorted({run["seed"] for run in runs if run["closed"] is not None})
    parts = (_who_leaves(rows), _whether_it_climbs(runs, rows), _knowing(against))
    return [{"seeds": seeds, "n": len(seeds), **part} for part in parts]


def _who_leaves(rows: Sequence[Record]) -> dict[str, Any]:
    leave = [row["way"] for row in rows if row["verdict"] == LEAVES]
    best_first = sorted(rows, key=lambda row: -_mean(row["closed"]))
    by_verdict = {
        verdict: [row["way"] for row in best_first if row["verdict"] == verdict]
        for verdict in (LEAVES, STAYS, UNDECIDED)
    }
    best = best_first[0]
    return {
        "title": "Ways out",
        "statement": "From the bad solution, training on leads out and down.",
        "verdict": f"{len(leave)} of {len(rows)} leave",
        "rule": _LEAVES,
        "evidence": [
            f"furthest: {best['way']}, {_show(best['closed'])} of the gap closed, "
            f"{best['arrived']} of {best['n']} arrived",
            *(f"{verdict}: {', '.join(ways)}" for verdict, ways in by_verdict.items() if ways),
        ],
    }


def _whether_it_climbs(runs: Sequence[Record], rows: Sequence[Record]) -> dict[str, Any]:
    leave = {row["way"] for row in rows if row["verdict"] == LEAVES}
    out = [run for run in runs if run["way"] in leave and run["closed"] is not None]
    level = [run for run in out if not run["climbs"]]
    several = len({run["seed"] for run in out}) >= 2
    verdict = UNDECIDED
    if several and not level:
        verdict = HOLDS
    elif several and len(level) >= len(out) / 2:
        verdict = FAILS
    return {
        "title": "The way climbs",
        "statement": "What leads out goes uphill first.",
        "verdict": verdict,
        "rule": _CLIMBS,
        "evidence": [
            f"{row['way']}: {row['climbing']} of {row['n']} runs climb, {_show(row['climb'])}; "
            f"{row['n'] - row['line_decreasing']} of {row['n']} lines do, "
            f"{_show(row['line_climb'])}"
            for row in rows
            if row["way"] in leave
        ],
    }


def _knowing(pairs: Sequence[Record]) -> dict[str, Any]:
    opened = [pair for pair in pairs if pair["open"] is not None]
    measured = [pair for pair in opened if pair["open"] == MEASURED]
    return {
        "title": "Knowing how many",
        "statement": "To open a known number of weights by gradient and to prune back beats RigL.",
        "verdict": _any_of(
            [[pair["verdict"] for pair in of] for of in _by_way(measured or opened)]
        ),
        "rule": _KNOWS,
        "evidence": [
            f"{of[0]['way']}: "
            + "; ".join(
                f"{pair['verdict']} against {pair['reference']}, gain {_show(pair['gain'])}"
                for pair in of
            )
            for of in _by_way(opened)
        ],
    }


def _by_way(pairs: Iterable[Record]) -> list[list[Record]]:
    """The pairs of each way together: one against RigL at each drop fraction."""
    found: dict[str, list[Record]] = {}
    for pair in pairs:
        found.setdefault(pair["way"], []).append(pair)
    return list(found.values())


def _any_of(ways: Sequence[Sequence[str]]) -> str:
    """Holds if one way beats all, does not hold if each is behind one.

    >>> _any_of([["beats", "beats"], ["behind", "undecided"]])
    'holds'
    >>> _any_of([["beats", "behind"], ["behind", "undecided"]]), _any_of([["beats", "undecided"]])
    ('does not hold', 'undecided')
    """
    if any(all(verdict == BEATS for verdict in way) for way in ways):
        return HOLDS
    return FAILS if ways and all(BEHIND in way for way in ways) else UNDECIDED


def _mean(of: Mapping[str, Any]) -> float:
    return -math.inf if of["mean"] is None else of["mean"]


def _show(of: Mapping[str, Any]) -> str:
    if of["mean"] is None:
        return "none"
    if of["low"] is None or of["high"] is None:
        return f"{of['mean']:.3g} (n = {of['n']})"
    return f"{of['mean']:.3g} [{of['low']:.3g}, {of['high']:.3g}] (n = {of['n']})"
