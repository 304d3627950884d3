"""Write a page on all finished difficulty studies of one problem in a store, as Markdown.

    python docs/results/difficulty.py runs digits-conv > docs/results/difficulty-digits.md

Every number comes from ``results.json`` and ``provenance.json`` of the studies.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sparsescape.report.difficulty import tables
from sparsescape.studies.store import Store, read_json

INTRODUCTION = """# The difficulty study on `{problem}`

Written by `python docs/results/difficulty.py STORE {problem}` from the store of the commands below;
not edited by hand. Means ± half the 95 % interval (Student's t) over n seeds.
"""


def main(root: str, problem: str) -> None:
    studies = [folder for folder in Store(root).studies() if _is_of(folder, problem)]
    found = sorted((read_json(f / "results.json") for f in studies), key=_order)
    print(INTRODUCTION.format(problem=problem))
    print(_machine(read_json(studies[0] / "provenance.json")))
    for results in found:
        print(f"\n## {results['settings']['sparsity']:.0%} sparsity, ", end="")
        print(f"{results['settings']['curve_steps']} search steps\n\n    {results['command']}\n")
        print(tables.tally(results) + "\n")
        for table in (tables.solutions(results), tables.paths(results)):
            print(_markdown(table.header, table.rows))


def _is_of(folder: Path, problem: str) -> bool:
    results = read_json(folder / "results.json")
    return results["study"] == "difficulty" and results["problem"]["name"] == problem


def _order(results: dict[str, Any]) -> tuple[float, int]:
    return results["settings"]["sparsity"], results["settings"]["curve_steps"]


def _machine(provenance: dict[str, Any]) -> str:
    stage = next(iter(provenance["stages"].values()))
    return (
        f"Written {provenance['written'][:10]}; sparsescape {stage['sparsescape']}, torch "
        f"{stage['torch']}, Python {stage['python']}, {stage['processor']}, "
        f"{stage['threads']} thread per stage."
    )


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
