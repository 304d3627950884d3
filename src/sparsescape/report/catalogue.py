"""The studies that can be reported, each in a folder of its own here."""

from __future__ import annotations

from ..errors import unknown
from .difficulty import DIFFICULTY
from .dimensions import DIMENSIONS
from .escape import ESCAPE
from .landscape import LANDSCAPE
from .methods import METHODS
from .study import Study
from .tables import Results

STUDIES = {
    "difficulty": DIFFICULTY,
    "methods": METHODS,
    "dimensions": DIMENSIONS,
    "escape": ESCAPE,
    "landscape": LANDSCAPE,
}


def study(results: Results) -> Study:
    """The study that these are the results of.

    Raises:
        InputError: there is no such study.
    """
    name = str(results.get("study"))
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    return STUDIES[name]
