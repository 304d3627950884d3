"""From results to rows of text: the one source of the terminal's and of the page's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .numbers import (
    MISSING,
    amount,
    count,
    finite,
    interval,
    number,
    percent,
    percent_interval,
)

Results = Mapping[str, Any]
"""What stands in ``results.json``."""
Row = Mapping[str, Any]

_DEGREES = {1: "line", 2: "quadratic", 3: "cubic"}


@dataclass(frozen=True)
class Table:
    """A header and rows of text, all of one length."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    """How many columns at the left hold words; the rest hold numbers."""
    note: str = ""


@dataclass(frozen=True)
class _Column:
    """One column: its heading, and the cell it makes of a row."""

    heading: str
    cell: Callable[[Row], str]


def solutions(results: Results) -> Table:
    """One row per arm: losses, accuracies, what is left of the weights and what training cost.

    Columns that hold nothing at all, as the accuracies of a regression or the count of diverged
    runs where there is none, are left out.
    """
    weights = {row["arm"]: row.get("weights") for row in results["solutions"]}
    columns = [
        _Column("arm", lambda row: row["arm"]),
        _Column("n", lambda row: str(row["n"])),
        _interval("train loss", "train_loss"),
        _interval("train accuracy, %", "train_accuracy", percent_interval),
        _interval("test accuracy, %", "test_accuracy", percent_interval),
        _Column("nonzeros", lambda row: _nonzeros(row, weights.get(row["arm"]))),
        _Column("training FLOPs", lambda row: amount((row["flops"] or {}).get("mean"))),
        _Column("diverged", lambda row: str(row["diverged"] or MISSING)),
    ]
    table = _table(
        "Solutions",
        columns,
        results["table"],
        words=1,
        note="Means over n seeds ± half the 95 % interval (Student’s t). Nonzeros counts the "
        "weights that are not zero, and their share of all weights, biases apart; training FLOPs "
        "counts multiply and add apart, and follows each layer’s density.",
    )
    return _without_empty(table)


def paths(results: Results) -> Table:
    """One row per kind of curve that was searched for: what it measures and what it cost."""
    columns = [
        _Column("from", lambda row: row["start"]),
        _Column("space", lambda row: row["space"]),
        _Column("path", lambda row: degree(row["degree"])),
        _Column("n", lambda row: str(row["n"])),
        _interval("climb", "climb"),
        _interval("barrier", "barrier"),
        _Column("decreasing", lambda row: f"{row['decreasing']} of {row['n']}"),
        _Column("search steps", lambda row: count(row["steps"])),
        _Column("examples seen", lambda row: count(row["examples"])),
    ]
    return _table(
        "Paths to the pruned solution",
        columns,
        results["paths"],
        words=3,
        note="Training loss, over n seeds ± half the 95 % interval (Student’s t). Search steps and "
        "examples seen are totals over the seeds: the effort behind every “no path was found”.",
    )


def claims(results: Results) -> Table:
    """One row per claim of the paper: the verdict, and the seeds that speak to it."""
    columns = [
        _Column("claim", lambda row: f"{row['claim']}. {row['title']}"),
        _Column("verdict", lambda row: row["verdict"]),
        _Column("statement", lambda row: row["statement"]),
        _Column("n", lambda row: str(row["n"])),
        _Column("seeds", lambda row: ", ".join(map(str, row["seeds"])) or "none"),
    ]
    return _table("Claims", columns, results["claims"], words=3)


def runs(results: Results) -> Table:
    """One row per trained network: its numbers, and the stage that holds its points."""
    columns = [
        _Column("arm", lambda row: row["arm"]),
        _Column("run", lambda row: row.get("run") or MISSING),
        _Column("seed", lambda row: str(row["seed"])),
        _Column("loss at start", lambda row: number(row["initial_loss"])),
        _Column("train loss", lambda row: number(row["train_loss"])),
        _Column("test loss", lambda row: number(row["test_loss"])),
        _Column("train accuracy, %", lambda row: percent(row["train_accuracy"])),
        _Column("test accuracy, %", lambda row: percent(row["test_accuracy"])),
        _Column("sparsity, %", lambda row: percent(row["sparsity"])),
        _Column("steps", lambda row: count(row["steps"])),
    ]
    rows = sorted(results["solutions"], key=lambda row: (_place(results, row["arm"]), row["seed"]))
    return _without_empty(_table("Every network", columns, rows, words=2))


def walks(results: Results) -> Table:
    """One row per line and per curve: its measures, and the stage that holds its losses."""
    columns = [
        _Column("path", _walk),
        _Column("run", lambda row: row.get("run") or MISSING),
        _Column("seed", lambda row: str(row["seed"])),
        _Column("climb", lambda row: number(row["climb"])),
        _Column("barrier", lambda row: number(row["barrier"])),
        _Column("tolerance", lambda row: number(row["tolerance"])),
        _Column(
            "decreasing", lambda row: {True: "yes", False: "no"}.get(row["decreasing"], MISSING)
        ),
    ]
    rows = [*results["lines"], *results["curves"]]
    order = list(dict.fromkeys(map(_walk, rows)))
    rows.sort(key=lambda row: (order.index(_walk(row)), row["seed"]))
    return _table("Every path", columns, rows, words=2)


def settings(results: Results) -> Table:
    """All that was set, a row each; what is nested has a dotted name."""
    given = {**results["settings"], "problem": results["problem"]}
    rows = tuple((name, _plain(value)) for name, value in _leaves(given))
    return Table("Settings", ("setting", "value"), rows, words=2)


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

    >>> degree(2), degree(8)
    ('quadratic', 'degree 8')
    """
    return _DEGREES.get(of, f"degree {of}")


def _interval(
    heading: str, key: str, write: Callable[[Mapping[str, Any] | None], str] = interval
) -> _Column:
    """A column of intervals; where one is over fewer seeds than its row, it says over how many."""

    def cell(row: Row) -> str:
        of = row.get(key)
        if of is None or not finite(of["mean"]) or of["n"] == row["n"]:
            return write(of)
        return f"{write(of)} (n = {of['n']})"

    return _Column(heading, cell)


def _nonzeros(row: Row, weights: int | None) -> str:
    mean = (row["nonzeros"] or {}).get("mean")
    share = f" ({mean / weights * 100:.3g} %)" if weights and finite(mean) else ""
    return count(mean) + share


def _walk(row: Row) -> str:
    """The name of a line, or of a curve."""
    return row.get("name") or f"{row['start']} → pruned, {row['space']} {degree(row['degree'])}"


def _leaves(of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in of.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _place(results: Results, arm: str) -> int:
    arms = list(results["arms"])
    return arms.index(arm) if arm in arms else len(arms)


def _table(
    title: str, columns: Sequence[_Column], rows: Iterable[Row], *, words: int, note: str = ""
) -> Table:
    return Table(
        title=title,
        header=tuple(column.heading for column in columns),
        rows=tuple(tuple(column.cell(row) for column in columns) for row in rows),
        words=words,
        note=note,
    )


def _without_empty(table: Table) -> Table:
    """The table without the columns that hold no number in any row."""
    columns = [i for i in range(len(table.header)) if {row[i] for row in table.rows} != {MISSING}]
    return replace(
        table,
        header=tuple(table.header[i] for i in columns),
        rows=tuple(tuple(row[i] for i in columns) for row in table.rows),
    )
