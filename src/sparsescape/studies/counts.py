"""How many weights had to be opened, over the seeds, and what follows: rows, rules and verdicts.

Everything here is a function of the numbers in ``results.json`` and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .claims import FAILS, HOLDS, UNDECIDED
from .statistics import Interval, interval

Record = Mapping[str, Any]

LAYER_CHOICE = "gradient"
"""What is opened first where only one layer may be."""


def nested(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The records, none of which contradicts another.

    A path with some weights of one layer open is a path with all closed weights open. So where a
    search found none at any number, and another one from the same start found one, all of them are
    enough: ``by`` names that other run. Choices of the whole network cannot differ in that, as with
    all open they make one and the same search.
    """
    known = {(r["sparsity"], r["seed"]): r["run"] for r in records if r["count"] is not None}
    made = []
    for record in records:
        other = known.get((record["sparsity"], record["seed"]))
        if record["count"] is None and record["layer"] is None and other is not None:
            enough = {"count": record["closed"], "fraction": 1.0, "gradient_share": 1.0}
            enough |= {"failed": 0, "by": other}
            made.append({**record, **enough})
        else:
            made.append(dict(record))
    return made


def row(of: Record, records: Sequence[Record]) -> dict[str, Any]:
    """One kind of search over its seeds; the counts' mean is geometric, of those that have one."""
    mine = [r for r in records if all(r[key] == value for key, value in of.items())]
    enough = [r for r in mine if r["count"] is not None]
    return {
        **of,
        "n": len(mine),
        "reached": len(enough),
        "count": _geometric([r["count"] for r in enough]),
        "fraction": _geometric([r["fraction"] for r in enough]),
        "gradient_share": _geometric([r["gradient_share"] for r in enough if r["gradient_share"]]),
        "counts": [r["count"] for r in mine],
        "passes": sum(r["passes"] for r in mine),
    }


def layer_row(
    sparsity: float,
    layer: str,
    whole: Sequence[Record],
    single: Sequence[Record],
) -> dict[str, Any]:
    alone = row({"sparsity": sparsity, "layer": layer}, single)
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


def findings(
    sparsity: float, choices: Collection[str], whole: Sequence[Record]
) -> Iterator[dict[str, Any]]:
    """Whether each choice needs fewer than chance, and whether a few are enough."""
    mine = [r for r in whole if r["sparsity"] == sparsity]
    for choice in choices:
        if choice != "random" and "random" in choices:
            yield _fewer_than_random(sparsity, choice, mine)
    if {"random", LAYER_CHOICE} <= set(choices):
        yield _less_gradient_than_random(sparsity, mine)
    if LAYER_CHOICE in choices:
        yield _few_are_enough(sparsity, [r for r in mine if r["choice"] == LAYER_CHOICE])


def _fewer_than_random(sparsity: float, choice: str, records: Sequence[Record]) -> dict[str, Any]:
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


def _less_gradient_than_random(sparsity: float, records: Sequence[Record]) -> dict[str, Any]:
    """Whether the few are fewer because each of them holds more of the gradient."""
    shares = {
        (r["choice"], r["seed"]): 1.0 if r["count"] is None else r["gradient_share"]
        for r in records
    }
    seeds = [seed for name, seed in shares if name == LAYER_CHOICE and ("random", seed) in shares]
    pairs = {seed: (shares["random", seed], shares[LAYER_CHOICE, seed]) for seed in seeds}
    pairs = {seed: pair for seed, pair in pairs.items() if all(pair)}  # of 0 there is no ratio
    of = interval([math.log(random / chosen) for random, chosen in pairs.values()])
    return {
        "title": f"At {sparsity:.4g}, {LAYER_CHOICE} needs less of the gradient than random",
        "verdict": _sign(of),
        "statement": f"Of |∂L/∂w|² at the start, summed over the closed weights, those opened by "
        f"{LAYER_CHOICE} need hold less than those opened at random. Where that is not so although "
        "they are fewer, they are fewer because the gradient is concentrated in few weights.",
        "rule": f"{_USABLE} Per seed, the ratio of random's share of that sum to this one's. It "
        "holds, does not hold or is undecided by the interval of the mean log ratio, as above.",
        "evidence": [
            f"seed {seed}: random {random:.2%}, {LAYER_CHOICE} {chosen:.2%}"
            for seed, (random, chosen) in pairs.items()
        ],
        "ratio": None if of.mean is None else math.exp(of.mean),
        "seeds": seeds,
        "n": len(seeds),
    }


def _few_are_enough(sparsity: float, records: Sequence[Record]) -> dict[str, Any]:
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


def _told(records: Sequence[Record], choice: str, seed: int) -> str:
    (found,) = (r for r in records if (r["choice"], r["seed"]) == (choice, seed))
    if found["count"] is None:
        return f"no number of {found['closed']} ({found['passes']} passes)"
    return f"{found['count']} (not {found['failed']}) of {found['closed']}"
