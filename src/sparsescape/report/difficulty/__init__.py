"""The difficulty study: where training ends, what lies between, and the claims of the paper."""

from __future__ import annotations

from ..study import Drawing, Reading, Study
from ..tables import Results
from . import figures, tables
from .arms import colour


def read(results: Results) -> Reading:
    """What is told of one difficulty study."""
    return Reading(
        lead=tables.tally(results),
        facts=tables.facts(results),
        findings=tables.findings(results),
        diverged=tables.diverged(results),
        tables={
            "solutions": tables.solutions(results),
            "paths": tables.paths(results),
            "runs": tables.runs(results),
            "walks": tables.walks(results),
        },
        printed=("solutions", "paths"),
        hues={arm: colour(arm) for arm in results["arms"]},
    )


DIFFICULTY = Study(
    title="The difficulty of training sparse networks",
    template="difficulty/page.html.j2",
    figures={
        "solutions": Drawing(
            figures.solutions, "Training loss and test accuracy of every arm, a dot per seed."
        ),
        "lines": Drawing(figures.lines, "Loss along the straight lines between the points."),
        "curves": Drawing(
            figures.curves,
            "Training loss along the paths searched for, in the sparse and the dense space.",
        ),
        "effort": Drawing(
            figures.effort,
            "The smallest climb so far against the effort, in the sparse and the dense space.",
        ),
    },
    read=read,
)
