"""From the results of a difficulty study to its tables and sentences."""

from __future__ import annotations

from dataclasses import replace

from .. import tables as shared
from ..numbers import MISSING, amount, count, finite, number, percent, percent_interval
from ..study import Finding
from ..tables import Column, Results, Row, Table, column, interval_column, table, without_empty

_DEGREES = {0: "best of all trials", 1: "line", 2: "quadratic", 3: "cubic"}


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What is common to all studies, and how much was searched."""
    names = {"curve_steps": "Search steps per path", "points": "Points evaluated per path"}
    given = results["settings"]
    own = tuple((name, str(given[key])) for key, name in names.items() if key in given)
    return (*shared.facts(results), *own)


def solutions(results: Results) -> Table:
    """One row per arm: losses, accuracies, what is left of the weights and what training cost.

    Columns that hold nothing at all, as the accuracies of a regression or the count of diverged
    runs where there is none, are left out.
    """
    weights = {row["arm"]: row.get("weights") for row in results["solutions"]}
    columns = [
        column("arm", "arm"),
        column("n", "n"),
        interval_column("train loss", "train_loss"),
        interval_column("train accuracy, %", "train_accuracy", percent_interval),
        interval_column("test accuracy, %", "test_accuracy", percent_interval),
        Column("nonzeros", lambda row: _nonzeros(row, weights.get(row["arm"]))),
        Column("training FLOPs", lambda row: amount((row["flops"] or {}).get("mean"))),
        Column("diverged", lambda row: str(row["diverged"] or MISSING)),
    ]
    full = table(
        "Solutions",
        columns,
        results["table"],
        words=1,
        note="Means over n seeds ± half the 95 % interval (Student’s t). Nonzeros counts the "
        "weights that are not zero, and their share of all weights, biases apart; training FLOPs "
        "counts multiply and add apart, and follows each layer’s density.",
    )
    return without_empty(full)


def paths(results: Results) -> Table:
    """One row per kind of curve that was searched for: what it measures and what it cost."""
    columns = [
        column("from", "start"),
        column("space", "space"),
        column("path", "degree", degree),
        column("n", "n"),
        interval_column("climb", "climb"),
        interval_column("barrier", "barrier"),
        Column("decreasing", lambda row: f"{row['decreasing']} of {row['n']}"),
        column("search steps", "steps", count),
        column("examples seen", "examples", count),
    ]
    return table(
        "Paths to the pruned solution",
        columns,
        results["paths"],
        words=3,
        note="Training loss, over n seeds ± half the 95 % interval (Student’s t). Search steps and "
        "examples seen are totals over the seeds: the effort behind every “no path was found”.",
    )


def runs(results: Results) -> Table:
    """One row per trained network: its numbers, and the stage that holds its points."""
    columns = [
        column("arm", "arm"),
        *shared.of_a_run(),
        column("sparsity, %", "sparsity", percent),
        column("steps", "steps", count),
    ]
    rows = sorted(results["solutions"], key=lambda row: (_place(results, row["arm"]), row["seed"]))
    return without_empty(table("Every network", columns, rows, words=2))


def walks(results: Results) -> Table:
    """One row per line and per curve: its measures, and the stage that holds its losses."""
    columns = [
        Column("path", _walk),
        Column("run", lambda row: row.get("run") or MISSING),
        column("seed", "seed"),
        column("climb", "climb", number),
        column("barrier", "barrier", number),
        column("tolerance", "tolerance", number),
        Column(
            "decreasing", lambda row: {True: "yes", False: "no"}.get(row["decreasing"], MISSING)
        ),
    ]
    rows = [*results["lines"], *results["curves"]]
    order = list(dict.fromkeys(map(_walk, rows)))
    rows.sort(key=lambda row: (order.index(_walk(row)), row["seed"]))
    return table("Every path", columns, rows, words=2)


def diverged(results: Results) -> tuple[str, ...]:
    """A sentence for each training run and each search that was given up.

    >>> diverged({"solutions": [{"arm": "scratch", "seed": 1, "diverged": True, "run": "train-1a",
    ...                          "steps": 2000}], "curves": []})
    ('scratch, seed 1: training diverged (train-1a).',)
    """
    networks = (
        f"{row['arm']}, seed {row['seed']}: training diverged ({row['run']})."
        for row in results["solutions"]
        if row["diverged"]
    )
    searches = (
        f"{_walk(row)}, seed {row['seed']}: the search diverged ({row.get('fit') or row['run']})."
        for row in results["curves"]
        if row["diverged"]
    )
    return (*networks, *searches)


def findings(results: Results) -> tuple[Finding, ...]:
    """Every claim of the paper: its verdict, and the seeds that speak to it."""
    return tuple(
        replace(Finding.of(claim), title=f"{claim['claim']}. {claim['title']}")
        for claim in results["claims"]
    )


def tally(results: Results) -> str:
    """The verdicts in one sentence.

    >>> tally({"claims": [{"claim": 1, "verdict": "holds"}, {"claim": 2, "verdict": "undecided"},
    ...                   {"claim": 3, "verdict": "holds"}]})
    'Claims 1 and 3 hold; claim 2 is undecided.'
    """
    parts = []
    for verdict, one, many in (
        ("holds", "holds", "hold"),
        ("does not hold", "does not hold", "do not hold"),
        ("undecided", "is undecided", "are undecided"),
    ):
        found = [str(row["claim"]) for row in results["claims"] if row["verdict"] == verdict]
        if len(found) == 1:
            parts.append(f"claim {found[0]} {one}")
        elif found:
            parts.append(f"claims {', '.join(found[:-1])} and {found[-1]} {many}")
    return f"{'; '.join(parts).capitalize()}." if parts else "No claim was judged."


def degree(of: int) -> str:
    """The name of a Bézier curve of this degree.

    >>> degree(2), degree(8), degree(0)
    ('quadratic', 'degree 8', 'best of all trials')
    """
    return _DEGREES.get(of, f"degree {of}")


def _nonzeros(row: Row, weights: int | None) -> str:
    mean = (row["nonzeros"] or {}).get("mean")
    share = f" ({mean / weights * 100:.3g} %)" if weights and finite(mean) else ""
    return count(mean) + share


def _walk(row: Row) -> str:
    """The name of a line, or of a curve."""
    return row.get("name") or f"{row['start']} → pruned, {row['space']} {degree(row['degree'])}"


def _place(results: Results, arm: str) -> int:
    arms = list(results["arms"])
    return arms.index(arm) if arm in arms else len(arms)
