"""What every study's tables are made of: rows of text, shared by the terminal and the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from .numbers import MISSING, finite, interval, number, percent

Results = Mapping[str, Any]
"""What stands in ``results.json``."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A header and rows of text, all of one length."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    """How many columns at the left hold words; the rest hold numbers."""
    note: str = ""
    groups: tuple[str, ...] = ()
    """The name of the group of each row, where rows stand in groups."""

    def grouped(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """Neighbouring rows of one group together; one group without a name where there are none.

        >>> Table("t", ("a",), (("1",), ("2",), ("3",)), 0, groups=("x", "x", "y")).grouped()
        [('x', [('1',), ('2',)]), ('y', [('3',)])]
        """
        pairs = zip(self.groups or ("",) * len(self.rows), self.rows, strict=True)
        found = groupby(pairs, key=lambda pair: pair[0])
        return [(name, [row for _, row in members]) for name, members in found]


@dataclass(frozen=True)
class Column:
    """One column: its heading, and the cell it makes of a row."""

    heading: str
    cell: Callable[[Row], str]


def column(heading: str, key: str, write: Callable[[Any], str] = str) -> Column:
    """A column of what a row has under a key."""
    return Column(heading, lambda row: write(row[key]))


def of_a_run() -> list[Column]:
    """The columns of a training run: its stage, its seed, and what it reached."""
    return [
        Column("run", lambda row: row.get("run") or MISSING),
        column("seed", "seed"),
        column("loss at start", "initial_loss", number),
        column("train loss", "train_loss", number),
        column("test loss", "test_loss", number),
        column("train accuracy, %", "train_accuracy", percent),
        column("test accuracy, %", "test_accuracy", percent),
    ]


def interval_column(
    heading: str, key: str, write: Callable[[Mapping[str, Any] | None], str] = interval
) -> Column:
    """A column of intervals; where one is over fewer seeds than its row, it says over how many."""

    def cell(row: Row) -> str:
        of = row.get(key)
        if of is None or not finite(of["mean"]) or of["n"] == row["n"]:
            return write(of)
        return f"{write(of)} (n = {of['n']})"

    return Column(heading, cell)


def table(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    words: int,
    note: str = "",
    group: Callable[[Row], str] | None = None,
) -> Table:
    """Every column's cell of every row; ``group`` names the group that a row stands in."""
    rows = list(rows)
    return Table(
        title=title,
        header=tuple(column.heading for column in columns),
        rows=tuple(tuple(column.cell(row) for column in columns) for row in rows),
        words=words,
        note=note,
        groups=tuple(map(group, rows)) if group else (),
    )


def without_empty(full: Table) -> Table:
    """The table without the columns that hold no number in any row."""
    columns = [i for i in range(len(full.header)) if {row[i] for row in full.rows} != {MISSING}]
    return replace(
        full,
        header=tuple(full.header[i] for i in columns),
        rows=tuple(tuple(row[i] for i in columns) for row in full.rows),
    )


def settings(results: Results) -> Table:
    """All that was set, a row each; what is nested has a dotted name."""
    given = {**results["settings"], "problem": results["problem"]}
    rows = tuple((name, _plain(value)) for name, value in _leaves(given))
    return Table("Settings", ("setting", "value"), rows, words=2)


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What one wants to know first of any study: name and value; what was not set is left out."""
    given, problem = results["settings"], results["problem"]
    sparsity = given.get("sparsity")
    found = {
        "Problem": problem.get("summary") or problem["name"],
        "Sparsity": None if sparsity is None else f"{sparsity * 100:.4g} %",
        "Seeds": given.get("seeds"),
        "Training steps": given.get("steps") or problem.get("recipe", {}).get("steps"),
    }
    return tuple((name, str(value)) for name, value in found.items() if value is not None)


def _leaves(of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in of.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
