"""The landscape study: maps of the loss."""

from __future__ import annotations

from ..study import Drawing, Reading, Study
from ..tables import Results
from . import figures, tables


def read(results: Results) -> Reading:
    """What is told of one landscape study."""
    return Reading(
        lead=tables.lead(results),
        facts=tables.facts(results),
        findings=(),
        diverged=tables.diverged(results),
        tables={"maps": tables.maps(results), "runs": tables.runs(results)},
        printed=("maps",),
        hues={},
    )


LANDSCAPE = Study(
    title="Maps of the loss",
    template="landscape/page.html.j2",
    figures={
        "solutions": Drawing(
            figures.solutions, "Training loss and accuracy on the plane of the three solutions."
        ),
        "paths": Drawing(
            figures.paths, "Training loss on the planes of two quadratic paths, sparse and dense."
        ),
        "surroundings": Drawing(
            figures.surroundings, "Training loss around scratch and pruned, sparse and dense."
        ),
        "courses": Drawing(
            figures.courses, "Two training runs in the plane of their principal components."
        ),
        "spectra": Drawing(
            figures.spectra, "Densities of the Hessian's eigenvalues, inside the mask and dense."
        ),
    },
    read=read,
    scenes=figures.scenes,
)
