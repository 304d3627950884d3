"""The escape study: which ways lead out of a bad solution, how far, and over which climbs."""

from __future__ import annotations

from ..study import Drawing, Reading, Study
from ..tables import Results
from . import figures, tables
from .families import colours


def read(results: Results) -> Reading:
    """What is told of one escape study."""
    return Reading(
        lead=tables.lead(results),
        facts=tables.facts(results),
        findings=tables.findings(results),
        diverged=tables.diverged(results),
        tables={
            "comparison": tables.comparison(results),
            "rigl": tables.against_rigl(results),
            "ways": tables.ways(results),
            "runs": tables.runs(results),
        },
        printed=("comparison", "rigl"),
        hues=colours(results),
    )


ESCAPE = Study(
    title="Escaping a bad sparse solution",
    template="escape/page.html.j2",
    figures={
        "closed": Drawing(
            figures.closed,
            "The share of the gap to the pruned solution that every way closes, a dot per seed.",
        ),
        "sweep": Drawing(
            figures.sweep, "The share of the gap closed against how many weights are opened."
        ),
        "trajectories": Drawing(
            figures.trajectories, "Training loss of every way against training FLOPs."
        ),
    },
    read=read,
)
