"""Write a page on all finished escape studies of one problem in a store, as Markdown.

    python docs/results/escape.py runs digits-conv > docs/results/escape-digits.md

Every number comes from ``results.json`` and ``provenance.json`` of the studies.
"""

from __future__ import annotations

import sys
from typing import Any

import markdown

from sparsescape.report.escape import tables
from sparsescape.report.numbers import interval
from sparsescape.studies.statistics import interval as over_seeds
from sparsescape.studies.store import read_json

INTRODUCTION = """# The escape study on `{problem}`

Written by `python docs/results/escape.py STORE {problem}` from the store of the commands below; not
edited by hand. Means ± half the 95 % interval (Student's t) over n seeds; [escape.md](../escape.md)
says what the columns mean.
"""


def main(root: str, problem: str) -> None:
    studies = markdown.finished(root, "escape", problem)
    print(INTRODUCTION.format(problem=problem))
    print(markdown.machine(studies[0]))
    for folder in studies:
        results = read_json(folder / "results.json")
        print(f"\n## {results['settings']['sparsity']:.0%} sparsity\n\n    {results['command']}\n")
        print(tables.lead(results) + "\n")
        print(_ends(results) + "\n")
        for finding in tables.findings(results):
            print(f"**{finding.title}: {finding.verdict}** ({', '.join(finding.basis)}).")
            print(f"{finding.statement} {finding.rule}\n")
            print("\n".join(f"- {sentence}" for sentence in finding.evidence) + "\n")
        for table in (tables.comparison(results), tables.against_rigl(results)):
            print(markdown.table(table.header, table.rows))
        print(markdown.figures(folder))


def _ends(results: dict[str, Any]) -> str:
    """What the bad and the pruned solutions are like."""
    bad = tables.bad_seeds(results)
    said = []
    for arm, name in (("scratch", "bad"), ("pruned", "pruned")):
        ends = [s for s in results["solutions"] if s["arm"] == arm and s["seed"] in bad]
        loss = over_seeds([end["train_loss"] for end in ends])
        of = {"mean": loss.mean, "low": loss.low, "high": loss.high, "n": loss.n}
        said.append(f"{name} {interval(of)}")
    return f"Training loss of the solutions it starts from and is held against: {', '.join(said)}."


if __name__ == "__main__":
    main(*sys.argv[1:])
