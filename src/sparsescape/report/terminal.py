"""A study in the terminal: its tables, then what was found."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from .catalogue import study
from .study import Finding
from .tables import Results, Table

_VERDICTS = {"holds": "bold green", "does not hold": "bold red", "undecided": "bold yellow"}
_ENDLESS = 10_000
"""Columns: more than any table takes."""


def print_results(results: Results, console: Console | None = None) -> None:
    """Print a study's main tables, what diverged and the findings.

    Args:
        results: what stands in ``results.json``.
        console: where to; standard output unless given.
    """
    console = console or Console()
    reading = study(results).read(results)
    for name in reading.printed:
        if reading.tables[name].rows:
            grid = _grid(reading.tables[name])
            _wide_enough(grid, console).print(grid, "")
    for sentence in reading.diverged:
        console.print(Text(sentence, style="yellow"))
    console.print()
    console.print(Text("Findings", style="bold"), Text(reading.lead), sep="\n")
    for finding in reading.findings:
        _print_finding(finding, console)


def _wide_enough(grid: Grid, console: Console) -> Console:
    """The console, or one so wide that no number of the table is cut; in a file or a pipe, where
    nothing says how wide a line may be, so wide that no cell is broken."""
    natural = Measurement.get(console, console.options.update(width=_ENDLESS), grid)
    needed = natural.minimum if console.is_terminal else natural.maximum
    if needed <= console.width:
        return console
    return Console(file=console.file, width=needed, force_terminal=console.is_terminal)


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
        words = place < table.words
        grid.add_column(
            Text(two_lines),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=not words,
            min_width=0 if words else max((cell_len(row[place]) for row in table.rows), default=0),
        )
    for group, rows in table.grouped():
        if group:
            grid.add_row(Text(group, style="dim italic"))
        for row in rows:
            grid.add_row(*map(Text, row))
    return grid


def _print_finding(finding: Finding, console: Console) -> None:
    head = Text.assemble(
        "\n",
        (finding.title, "bold"),
        ": ",
        (finding.verdict, _VERDICTS.get(finding.verdict, "bold")),
        (f"  {', '.join(finding.basis)}", "dim"),
    )
    console.print(head)
    console.print(Padding(Text(finding.statement), (0, 0, 0, 3)))
    for sentence in finding.evidence:
        console.print(Padding(Text(f"· {sentence}"), (0, 0, 0, 3)))
    console.print(Padding(Text(finding.rule, style="dim"), (0, 0, 0, 3)))
