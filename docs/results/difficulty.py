"""Write a page on all finished difficulty studies of one problem in a store, as Markdown.

    python docs/results/difficulty.py runs digits-conv > docs/results/difficulty-digits.md

Every number comes from ``results.json`` and ``provenance.json`` of the studies.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import markdown

from sparsescape.report.difficulty import tables
from sparsescape.studies.store import read_json

INTRODUCTION = """# The difficulty study on `{problem}`

Written by `python docs/results/difficulty.py STORE {problem}` from the store of the commands below;
not edited by hand. Means ± half the 95 % interval (Student's t) over n seeds.
"""


def main(root: str, problem: str) -> None:
    studies = markdown.finished(root, "difficulty", problem)
    print(INTRODUCTION.format(problem=problem))
    print(markdown.machine(studies[0]))
    for results, folder in sorted(
        ((read_json(f / "results.json"), f) for f in studies), key=_order
    ):
        given = results["settings"]
        harder = ", and all trials" if given.get("search") == "trials" else ""
        searched = f"{given['curve_steps']} search steps{harder}"
        print(f"\n## {given['sparsity']:.0%} sparsity, {given['seeds']} seeds, {searched}\n")
        print(f"    {results['command']}\n")
        print(tables.tally(results) + "\n")
        for table in (tables.solutions(results), tables.paths(results)):
            print(markdown.table(table.header, table.rows))
        print(markdown.figures(folder))


def _order(study: tuple[dict[str, Any], Path]) -> tuple[float, int, str]:
    given = study[0]["settings"]
    return given["sparsity"], given["curve_steps"], given.get("search", "")


if __name__ == "__main__":
    main(*sys.argv[1:])
