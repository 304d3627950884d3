"""The methods study: every method on one problem, at equal steps and at equal training FLOPs."""

from __future__ import annotations

from ..study import Drawing, Reading, Study
from ..tables import Results
from . import figures, standing, tables
from .families import colours, family_of


def read(results: Results) -> Reading:
    """What is told of one methods study."""
    budgets = standing.budgets(results)
    return Reading(
        lead=standing.lead(results),
        facts=tables.facts(results),
        findings=standing.findings(results),
        diverged=standing.diverged(results),
        tables={
            **{budget: tables.comparison(results, budget) for budget in budgets},
            "methods": tables.methods(results),
            "runs": tables.runs(results),
        },
        printed=tuple(budgets),
        hues=colours(family_of(results).values()),
    )


METHODS = Study(
    title="Methods of sparse training",
    template="methods/page.html.j2",
    figures={
        "methods": Drawing(
            figures.methods,
            "What every method reaches, a dot per seed: equal steps beside equal training FLOPs.",
        ),
        "cost": Drawing(figures.cost, "What every method reaches against what its training cost."),
    },
    read=read,
)
