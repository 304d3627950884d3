"""The study in the terminal: its tables, then its verdicts."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from . import tables
from .tables import Results, Table

_VERDICTS = {"holds": "bold green", "does not hold": "bold red", "undecided": "bold yellow"}


def print_results(results: Results, console: Console | None = None) -> None:
    """Print the solutions, the paths and the verdicts.

    Args:
        results: what stands in ``results.json``.
        console: where to; standard output unless given.
    """
    console = console or Console()
    for table in (tables.solutions(results), tables.paths(results)):
        console.print(_grid(table), "")
    for sentence in tables.diverged(results):
        console.print(Text(sentence, style="yellow"))
    console.print()
    _claims(results, console)


def _grid(table: Table) -> Grid:
    grid = Grid(
        title=Text(table.title, style="bold"),
        title_justify="left",
        caption=Text(table.note, style="dim"),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, heading in enumerate(table.header):
        two_lines = heading.replace(" ", "\n", 1)  # so that the cells below need not be broken
        grid.add_column(Text(two_lines), justify="left" if place < table.words else "right")
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid


def _claims(results: Results, console: Console) -> None:
    console.print(Text("Verdicts", style="bold"), Text(tables.tally(results)), sep="\n")
    for row, claim in zip(tables.claims(results).rows, results["claims"], strict=True):
        title, verdict, statement, n, seeds = row
        head = Text.assemble(
            "\n",
            (title, "bold"),
            ": ",
            (verdict, _VERDICTS.get(verdict, "bold")),
            (f"  n = {n} (seeds: {seeds})", "dim"),
        )
        console.print(head)
        console.print(Padding(Text(statement), (0, 0, 0, 3)))
        for sentence in claim["evidence"]:
            console.print(Padding(Text(f"· {sentence}"), (0, 0, 0, 3)))
        console.print(Padding(Text(claim["rule"], style="dim"), (0, 0, 0, 3)))
