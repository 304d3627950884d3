"""The paper's claims, each with the rule by which it holds, does not hold, or is undecided.

Evci et al. 2019, *The Difficulty of Training Sparse Neural Networks*. A verdict is a function of
the numbers in ``results.json`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .statistics import Interval, interval

Record = Mapping[str, Any]

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
STARTS = ("scratch", "lottery")


def bad_margin(pruned_loss: float) -> float:
    """How much more loss than the pruned solution makes a start a bad one: 0.01 + 10 % of it.

    >>> round(bad_margin(0.5), 6)
    0.06
    """
    return 0.01 + 0.1 * pruned_loss


def is_bad(start: Record, pruned: Record) -> bool:
    """Whether a run ended above the pruned one by more than the margin; so it is taken to be where
    losses are not known, in a plan."""
    if start["diverged"] or pruned["diverged"]:
        return False
    if None in (start["train_loss"], pruned["train_loss"]):
        return True
    return start["train_loss"] - pruned["train_loss"] > bad_margin(pruned["train_loss"])


def verdicts(
    solutions: Sequence[Record], lines: Sequence[Record], curves: Sequence[Record]
) -> list[dict[str, Any]]:
    """One entry for each of the claims 1 to 4.

    Args:
        solutions, lines, curves: the lists of that name in ``results.json``.
    """
    losses = {
        (s["seed"], s["arm"]): s["train_loss"]
        for s in solutions
        if not s["diverged"] and s["train_loss"] is not None
    }
    bad = _bad_starts(losses)
    usable = [c for c in curves if not c["diverged"] and (c["seed"], c["start"]) in bad]
    return [
        _gap(losses),
        _a_way_exists([x for x in lines if not x["diverged"]]),
        _no_way_within([c for c in usable if c["space"] == "sparse"], usable),
        _a_way_outside([c for c in usable if c["space"] == "dense"]),
    ]


def _bad_starts(losses: Mapping[tuple[int, str], float]) -> set[tuple[int, str]]:
    """The (seed, start) whose loss is above the pruned one's by more than the margin."""
    return {
        (seed, arm)
        for (seed, arm), loss in losses.items()
        if arm in STARTS
        and (seed, "pruned") in losses
        and loss - losses[seed, "pruned"] > bad_margin(losses[seed, "pruned"])
    }


# ---------------------------------------------------------------------------- claim 1

_GAP_RULE = (
    "Per seed, the gap is the training loss of a start minus that of pruned. It is large where "
    "the 95 % Student interval of the mean gap lies above 0 and its mean above the mean margin "
    "(0.01 + 10 % of the pruned loss); it is not where the whole interval lies below the margin. "
    "The claim holds if the gap is large for scratch and for lottery, does not hold if it is not "
    "for one of them, and is undecided otherwise, and with fewer than two seeds."
)


def _gap(losses: Mapping[tuple[int, str], float]) -> dict[str, Any]:
    found, evidence = [], []
    seeds: set[int] = set()
    for arm in STARTS:
        pairs = {
            seed: (losses[seed, arm], losses[seed, "pruned"])
            for seed, name in losses
            if name == arm and (seed, "pruned") in losses
        }
        gap = interval([start - pruned for start, pruned in pairs.values()])
        margin = interval([bad_margin(pruned) for _, pruned in pairs.values()]).mean
        found.append(_gap_verdict(gap, margin))
        seeds |= pairs.keys()
        evidence.append(f"{arm} − pruned: {_show(gap)}; margin {_number(margin)}: {found[-1]}")
    return {
        "claim": 1,
        "title": "Gap",
        "statement": "Optimizers fail: from scratch and from the lottery's start, training with "
        "the mask fixed ends much worse than pruning, at the same mask.",
        "verdict": _all_of(found),
        "rule": _GAP_RULE,
        "evidence": evidence,
        "seeds": sorted(seeds),
        "n": len(seeds),
    }


def _gap_verdict(gap: Interval, margin: float | None) -> str:
    if gap.mean is None or gap.low is None or gap.high is None or margin is None:
        return UNDECIDED
    if gap.low > 0 and gap.mean > margin:
        return HOLDS
    return FAILS if gap.high < margin else UNDECIDED


def _all_of(parts: Sequence[str]) -> str:
    if FAILS in parts:
        return FAILS
    return HOLDS if all(part == HOLDS for part in parts) else UNDECIDED


# ---------------------------------------------------------------------------- claims 2 to 4

_DECREASING = (
    "A path decreases where its climb is at most the larger of 1e-3 and 1 % of the difference of "
    "its end losses, on the whole training set; one that trials found, where they looked as well."
)
_BAD = (
    "Only bad starts count: scratch and lottery solutions whose training loss is above the pruned "
    "one's by more than 0.01 + 10 % of it, in two seeds at least."
)


def _a_way_exists(lines: Sequence[Record]) -> dict[str, Any]:
    found = {x["seed"]: x for x in lines if x["name"] == "initialization → pruned"}
    decreasing = [seed for seed, line in found.items() if line["decreasing"]]
    return {
        "claim": 2,
        "title": "A way exists",
        "statement": "From the sparse initialization a straight line leads down to the pruned "
        "solution.",
        "verdict": _by_share(len(decreasing), [(seed, "") for seed in found]),
        "rule": f"{_DECREASING} The claim holds if the line decreases in every seed, does not "
        "hold if in at most half of them, and is undecided otherwise, and with fewer than two.",
        "evidence": [
            f"{len(decreasing)} of {len(found)} lines decrease; "
            f"climb {_show(interval([x['climb'] for x in found.values()]))}"
        ],
        "seeds": sorted(found),
        "n": len(found),
    }


def _no_way_within(sparse: Sequence[Record], all_curves: Sequence[Record]) -> dict[str, Any]:
    best = _best(sparse)
    walled = [start for start, curve in best.items() if not curve["decreasing"]]
    passes = sum(c["steps"] for c in sparse)
    dense = [c for c in all_curves if c["space"] == "dense"]
    through = sum(c["decreasing"] for c in _best(dense).values())
    outside = sum(c["steps"] for c in dense)
    return {
        "claim": 3,
        "title": "No way within",
        "statement": "From the bad solutions no decreasing path to the pruned one is found "
        "inside the sparse subspace.",
        "verdict": _by_share(len(walled), best),
        "rule": f"{_BAD} {_DECREASING} Of each bad start the best of its sparse curves counts. "
        "The claim holds if none decreases, does not hold if one does from half of the bad starts "
        "or more, and is undecided otherwise.",
        "evidence": [
            f"no decreasing path found from {len(walled)} of {len(best)} bad starts, with {passes} "
            f"forward and backward passes ({sum(c['examples'] for c in sparse)} examples); "
            f"the same search through the dense space found one from {through}, with {outside}",
            f"smallest climb within: {_show(interval([c['climb'] for c in best.values()]))}",
        ],
        "seeds": sorted({seed for seed, _ in best}),
        "n": len({seed for seed, _ in best}),
        "starts": len(best),
        "passes": passes,
    }


def _a_way_outside(dense: Sequence[Record]) -> dict[str, Any]:
    best = _best(dense)
    through = [start for start, curve in best.items() if curve["decreasing"]]
    return {
        "claim": 4,
        "title": "A way outside",
        "statement": "When the path may leave the sparse subspace, a decreasing one is found.",
        "verdict": _by_share(len(through), best),
        "rule": f"{_BAD} {_DECREASING} Of each bad start the best of its dense curves counts. The "
        "claim holds if it decreases from all, does not hold if from at most half, and is "
        "undecided otherwise.",
        "evidence": [
            f"a decreasing path from {len(through)} of {len(best)} bad starts, with "
            f"{sum(c['steps'] for c in dense)} forward and backward passes",
            f"smallest climb: {_show(interval([c['climb'] for c in best.values()]))}",
        ],
        "seeds": sorted({seed for seed, _ in best}),
        "n": len({seed for seed, _ in best}),
        "starts": len(best),
    }


def seen_to_climb(path: Record) -> bool:
    """Whether the trials that found a path saw it climb where the grid has no point.

    They look at an even stride in weight space as well (:func:`sparsescape.find_path`); a curve
    that was fitted once has no trials, and is seen on the grid alone.
    """
    trials = path.get("attempts", [])
    return bool(trials) and min(map(_climb, trials)) > path["tolerance"]


def _best(curves: Sequence[Record]) -> dict[tuple[int, str], Record]:
    """Per (seed, start) the curve that climbs least."""
    best: dict[tuple[int, str], Record] = {}
    for curve in curves:
        where = curve["seed"], curve["start"]
        if where not in best or _climb(curve) < _climb(best[where]):
            best[where] = curve
    return best


def _climb(curve: Record) -> float:
    return float("inf") if curve["climb"] is None else curve["climb"]


def _by_share(agreeing: int, cases: Collection[tuple[int, str]]) -> str:
    """Holds if all cases agree, does not hold if at most half do; undecided with one seed.

    Args:
        agreeing: how many of the cases agree with the claim.
        cases: their (seed, start).

    >>> two, three = [(0, "scratch"), (1, "scratch")], [(s, "scratch") for s in range(3)]
    >>> _by_share(3, three), _by_share(2, three), _by_share(1, two)
    ('holds', 'undecided', 'does not hold')
    >>> _by_share(2, [(0, "scratch"), (0, "lottery")])
    'undecided'
    """
    if len({seed for seed, _ in cases}) < 2:
        return UNDECIDED
    if agreeing == len(cases):
        return HOLDS
    return FAILS if agreeing <= len(cases) / 2 else UNDECIDED


def _show(found: Interval) -> str:
    if found.low is None or found.high is None:
        return f"{_number(found.mean)} (n = {found.n})"
    return f"{_number(found.mean)} [{_number(found.low)}, {_number(found.high)}] (n = {found.n})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
