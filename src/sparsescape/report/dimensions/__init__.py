"""The dimensions study: how many closed weights lead out, chosen how, and in which layers."""

from __future__ import annotations

from ..study import Drawing, Reading, Study
from ..tables import Results
from . import figures, tables
from .choices import colour


def read(results: Results) -> Reading:
    """What is told of one dimensions study."""
    return Reading(
        lead=tables.lead(results),
        facts=tables.facts(results),
        findings=tables.findings(results),
        diverged=tables.diverged(results),
        tables={
            "counts": tables.counts(results),
            "layers": tables.layers(results),
            "starts": tables.starts(results),
            "searches": tables.searches(results),
        },
        printed=("starts", "counts", "layers"),
        hues={choice: colour(choice) for choice in results["choices"]},
    )


DIMENSIONS = Study(
    title="How many extra dimensions it takes",
    template="dimensions/page.html.j2",
    figures={
        "transition": Drawing(
            figures.transition,
            "Climb of the best path found against the number of opened weights, by choice.",
        ),
        "layers": Drawing(
            figures.layers,
            "Where the opened weights lie, and how many it takes where one layer alone may open.",
        ),
    },
    read=read,
)
