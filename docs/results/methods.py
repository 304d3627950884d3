"""Write a page on all finished methods studies of one problem in a store, as Markdown.

    python docs/results/methods.py runs digits-conv > docs/results/methods-digits.md

Every number comes from ``results.json`` and ``provenance.json`` of the studies, and so does every
verdict on a published order; what was published is listed in :data:`PUBLISHED`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import markdown

from sparsescape.problems.catalogue import CATALOGUE
from sparsescape.report import numbers
from sparsescape.report.methods import standing, tables
from sparsescape.studies.statistics import interval
from sparsescape.studies.store import read_json

INTRODUCTION = """# The methods study on `{problem}`

Written by `python docs/results/methods.py STORE {problem}` from the store of the commands below;
not edited by hand. Means ± half the 95 % interval (Student's t) over n seeds. What is compared, and
what equal steps and equal FLOPs mean: [methods.md](../methods.md).
"""

PUBLISHED = (  # better, worse, who published it
    ("set", "static", "Evci et al. 2020"),
    ("rigl", "static", "Evci et al. 2020"),
    ("rigl", "set", "Evci et al. 2020"),
    ("snip", "static", "Evci et al. 2020"),
    ("set", "snip", "Evci et al. 2020"),
    ("rigl", "snip", "Evci et al. 2020"),
    ("snfs", "set", "Evci et al. 2020"),
    ("gradual-magnitude", "rigl", "Evci et al. 2020, with the pruning of Gale et al. 2019"),
    ("gradual-magnitude", "one-shot", "Zhu & Gupta 2017"),
    ("dsr", "set", "Mostafa & Wang 2019"),
    ("dsr", "deep-r", "Mostafa & Wang 2019"),
    ("force", "snip", "de Jorge et al. 2021, at high sparsity"),
    ("synflow", "snip", "Tanaka et al. 2020, at high sparsity"),
    ("synflow", "magnitude", "Tanaka et al. 2020, at high sparsity"),
    ("rigl-itop", "rigl", "Liu et al. 2021 (ITOP)"),
    ("granet", "rigl", "Liu et al. 2021 (GraNet)"),
    ("granet", "gradual-magnitude", "Liu et al. 2021 (GraNet)"),
    ("acdc", "rigl", "Peste et al. 2021"),
    ("acdc", "gradual-magnitude", "Peste et al. 2021"),
    ("imp-weight-rewinding", "random", "Frankle & Carbin 2019"),
    ("imp-weight-rewinding", "snip", "Frankle et al. 2021"),
    ("imp-weight-rewinding", "synflow", "Frankle et al. 2021"),
    ("imp-lr-rewinding", "imp-weight-rewinding", "Renda et al. 2020"),
)
"""Orders by test accuracy that a paper reports, mostly of ResNets at 80 % to 98 % sparsity and at
equal steps."""

RULE = (
    "The difference of test accuracy in points, the first method minus the second, paired by seed. "
    "An order is *as published* if the 95 % interval lies above 0, *the other way round* if it "
    "lies below; else it is *undecided*, and the sign of the mean says which way it leans."
)


def main(root: str, problem: str) -> None:
    studies = markdown.finished(root, "methods", problem)
    print(INTRODUCTION.format(problem=problem))
    print(markdown.machine(studies[0]))
    for folder in studies:
        results = read_json(folder / "results.json")
        given = results["settings"]
        print(f"\n## {given['sparsity']:.0%} sparsity\n\n    {results['command']}\n")
        print(standing.lead(results) + "\n")
        for sentence in standing.diverged(results):
            print(f"- {sentence}")
        for budget in standing.budgets(results):
            table = tables.comparison(results, budget)
            print(f"### {table.title}\n\n{markdown.table(table.header, table.rows)}")
        _test_losses(results)
        _published(results)
        print("\n" + markdown.figures(folder))


def _test_losses(results: Mapping[str, Any]) -> None:
    """And what was published of the problem, where the catalogue knows."""
    print("### Test loss\n")
    rows = [
        (row["method"], row["budget"], str(row["n"]), numbers.interval(row["test_loss"]))
        for row in results["table"]
    ]
    print(markdown.table(("method", "budget", "n", "test loss"), rows))
    entry = CATALOGUE.get(results["problem"]["name"])
    if entry is not None and entry.published:
        print(f"Published of this problem ({entry.source}): {entry.published}.\n")


def _published(results: dict[str, Any]) -> None:
    """Whether the published orders are found, and a sentence for each that is not."""
    rows, against = [], []
    there = {method["name"] for method in results["methods"]}
    for better, worse, source in PUBLISHED:
        if not {better, worse} <= there:
            continue
        row = [f"{better} > {worse}", source]
        for budget in standing.budgets(results):
            found = _difference(results, budget, better, worse)
            row += [numbers.signed_percent_interval(found), _verdict(found)]
            if _leans_against(found):
                where = standing.BUDGETS[budget]
                shown = numbers.signed_percent_interval(found)
                against.append(
                    f"- {better} was published as better than {worse} ({source}); at {where} it "
                    f"differs by {shown} points here: {_verdict(found)}."
                )
        rows.append(row)
    header = ["published order", "by"]
    for budget in standing.budgets(results):
        header += [f"at {standing.BUDGETS[budget]}", "verdict"]
    print(f"### Against the published order\n\n{RULE}\n\n{markdown.table(header, rows)}")
    print("Where the mean lies against what was published:\n")
    print("\n".join(against) if against else "- nowhere.")


def _difference(results: dict[str, Any], budget: str, one: str, other: str) -> dict[str, Any]:
    def reached(method: str) -> dict[int, float]:
        return {
            run["seed"]: run["test_accuracy"]
            for run in results["runs"]
            if (run["method"], run["budget"]) == (method, budget) and not run["diverged"]
        }

    mine, theirs = reached(one), reached(other)
    found = interval([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _verdict(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "not run"
    words = {"beats": "as published", "behind": "the other way round"}
    leaning = "against" if found["mean"] < 0 else "towards"
    return words.get(standing.verdict(found), f"undecided, leaning {leaning}")


def _leans_against(found: Mapping[str, Any]) -> bool:
    return found["mean"] is not None and found["mean"] < 0


if __name__ == "__main__":
    main(*sys.argv[1:])
