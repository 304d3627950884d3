"""Write a page on all finished dimensions studies of one problem in a store, as Markdown.

    python docs/results/dimensions.py runs digits-conv > docs/results/dimensions-digits.md

Every number comes from ``results.json`` and ``provenance.json`` of the studies, and so does what is
said of the prototype's claim (:data:`PROTOTYPE`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import markdown

from sparsescape.report.dimensions import tables
from sparsescape.studies.statistics import interval
from sparsescape.studies.store import read_json

INTRODUCTION = """# The dimensions study on `{problem}`

Written by `python docs/results/dimensions.py STORE {problem}` from the store of the commands below;
not edited by hand. [dimensions.md](../dimensions.md) says what is counted and how; every count is
an upper bound, worth the search that is on record here.
"""

PROTOTYPE = {"gradient": 39, "random": 1300, "closed": 13312}
"""What a prototype found on one network: 39 weights of 13 312 chosen by gradient do what takes
about 1300 random ones."""


def main(root: str, problem: str) -> None:
    print(INTRODUCTION.format(problem=problem))
    found = [
        (f, read_json(f / "results.json")) for f in markdown.finished(root, "dimensions", problem)
    ]
    found.sort(key=lambda study: _order(study[1]["settings"]))
    print("## Against the search\n")
    print(markdown.table(EFFORT, [row for _, results in found for row in _effort(results)]))
    for folder, results in found:
        print(f"## {_title(results)}\n\n    {results['command']}\n")
        print(markdown.machine(folder) + "\n")
        print(tables.lead(results) + "\n")
        print("### Does the prototype's claim hold?\n")
        print("\n".join(_claim(results)) + "\n")
        print("### Verdicts\n")
        for finding in tables.findings(results):
            print(f"**{finding.title}: {finding.verdict}** ({', '.join(finding.basis)}).")
            print(f"{finding.statement} {finding.rule}\n")
            print("\n".join(f"- {sentence}" for sentence in finding.evidence) + "\n")
        for table in (tables.starts, tables.counts, tables.layers, tables.searches):
            made = table(results)
            print(f"### {made.title}\n\n{made.note}\n")
            print(markdown.table(made.header, made.rows))
        shown = {"transition": any(s["counts"] for s in results["starts"])}
        shown["layers"] = bool(results["layers"])
        print(markdown.figures(folder, [name for name, full in shown.items() if full]))


def _order(given: Mapping[str, Any]) -> tuple[float, int]:
    """By how long was trained, and how hard was searched."""
    return given["steps"] or math.inf, given["search_passes"]


EFFORT = (
    "training steps",
    "passes a curve",
    "sparsity",
    "bad starts",
    "a path inside from",
    "others",
    "opened by gradient",
    "opened at random",
)


def _effort(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Per sparsity: how many bad starts there are, from how many nothing need be opened, and what
    it takes from the others, seed by seed."""
    given = results["settings"]
    for sparsity in given["sparsity"]:
        bad = [s for s in results["starts"] if s["sparsity"] == sparsity and s["bad"]]
        left = [s for s in bad if s["counts"]]
        rows = {r["choice"]: r for r in results["table"] if r["sparsity"] == sparsity}
        each = [_counts(rows.get(choice)) for choice in ("gradient", "random")]
        counts = map(str, (given["search_passes"], len(bad), len(bad) - len(left), len(left)))
        passes, *numbers = counts
        yield _training(given), passes, f"{sparsity * 100:.4g} %", *numbers, *each


def _counts(row: Mapping[str, Any] | None) -> str:
    """Of a choice that the study may not have made."""
    counts = [] if row is None else row["counts"]
    return ", ".join("none" if k is None else str(k) for k in counts) or "–"


def _training(given: Mapping[str, Any]) -> str:
    return "the recipe's" if given["steps"] is None else str(given["steps"])


def _title(results: Mapping[str, Any]) -> str:
    given = results["settings"]
    shown = ", ".join(f"{sparsity * 100:.4g} %" for sparsity in given["sparsity"])
    steps = "" if given["steps"] is None else f", {given['steps']} training steps"
    passes = f"{given['search_passes']} passes a curve"
    return f"{shown} sparsity, {given['seeds']} seeds{steps}, {passes}"


def _claim(results: Mapping[str, Any]) -> Iterator[str]:
    """Per start that counts, and over those of a sparsity: how many times as many at random."""
    expected = PROTOTYPE["random"] / PROTOTYPE["gradient"]
    yield (
        f"A prototype found {PROTOTYPE['gradient']} weights of {PROTOTYPE['closed']} chosen by "
        f"gradient enough where it took about {PROTOTYPE['random']} random ones, "
        f"{expected:.0f} times as many."
    )
    for sparsity in results["settings"]["sparsity"]:
        yield from _claim_at(sparsity, results, expected)


def _claim_at(sparsity: float, results: Mapping[str, Any], expected: float) -> Iterator[str]:
    seeds = [s["seed"] for s in results["starts"] if s["counts"] and s["sparsity"] == sparsity]
    ratios = []
    for seed in sorted(seeds):
        found = {
            r["choice"]: r
            for r in results["searches"]
            if (r["sparsity"], r["seed"], r["layer"]) == (sparsity, seed, None)
        }
        if not {"random", "gradient"} <= found.keys():
            continue
        told = " and ".join(f"{name} {_told(found[name])}" for name in ("gradient", "random"))
        yield f"\n- {sparsity * 100:.4g} %, seed {seed}: {told}."
        counts = [found[name]["count"] for name in ("random", "gradient")]
        if all(counts):
            ratios.append(math.log(counts[0] / counts[1]))
    yield f"\nAt {sparsity * 100:.4g} %: " + _verdict(ratios, expected)


def _told(search: Mapping[str, Any]) -> str:
    if search["count"] is None:
        return f"no number of {search['closed']} ({search['passes']} passes)"
    return (
        f"{search['count']} of {search['closed']} (not {search['failed']}; "
        f"{search['passes']} passes)"
    )


def _verdict(ratios: list[float], expected: float) -> str:
    """By the interval of the mean log ratio over the seeds that have both counts."""
    if not ratios:
        return "No start has a count for both, so nothing is said of it."
    of = interval(ratios)
    assert of.mean is not None
    mean = f"{math.exp(of.mean):.3g} times as many random ones (geometric mean, n = {of.n})"
    if of.low is None or of.high is None:
        return f"It took {mean}; with one start there is no interval, and the claim is undecided."
    low, high = math.exp(of.low), math.exp(of.high)
    shown = f"It took {mean}, 95 % interval {low:.3g} to {high:.3g}."
    if low > 1:
        near = "within" if low <= expected <= high else "not within"
        return f"{shown} Fewer chosen ones do hold; the prototype's {expected:.0f} is {near} it."
    return f"{shown} " + (
        "That is the other way round." if high < 1 else "Whether fewer are enough is undecided."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
