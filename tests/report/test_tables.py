"""The rows that the terminal and the page share."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from synthetic import results

from sparsescape.report import tables as every
from sparsescape.report import terminal
from sparsescape.report.difficulty import tables


def test_every_row_is_as_long_as_its_header() -> None:
    given = results()
    for make in (
        tables.solutions, tables.paths, tables.runs, tables.walks, every.settings,
    ):  # fmt: skip
        table = make(given)
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_solutions_show_n_intervals_and_what_diverged() -> None:
    table = tables.solutions(results())
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["pruned"]["n"] == "3"
    assert rows["scratch"]["n"] == "2"
    assert rows["scratch"]["diverged"] == "1"
    assert rows["pruned"]["nonzeros"] == "272 (2 %)"
    assert "±" in rows["pruned"]["train loss"]


def test_columns_without_any_number_are_left_out() -> None:
    given = results(diverged=False)
    for row in given["table"]:
        row["test_accuracy"] = row["train_accuracy"] = {
            "mean": None,
            "low": None,
            "high": None,
            "n": 0,
        }
    header = tables.solutions(given).header
    assert "test accuracy, %" not in header
    assert "diverged" not in header
    assert "train loss" in header


def test_an_interval_over_fewer_seeds_than_its_row_says_so() -> None:
    given = results()
    given["table"][0]["test_accuracy"]["n"] = 2
    assert tables.solutions(given).rows[0][4].endswith("(n = 2)")


def test_what_diverged_is_named() -> None:
    named = tables.diverged(results())
    assert named == (
        "scratch, seed 2: training diverged (train-2scratch).",
        "lottery → pruned, sparse cubic, seed 1: the search diverged (fit-1l3s).",
    )
    assert tables.diverged(results(seeds=1, diverged=False)) == ()


def test_every_run_is_listed() -> None:
    given = results()
    listed = {row[1] for row in (*tables.runs(given).rows, *tables.walks(given).rows)}
    assert listed == {row["run"] for key in ("solutions", "lines", "curves") for row in given[key]}


def test_the_tally_names_every_claim() -> None:
    assert tables.tally(results()) == (
        "Claims 1 and 2 hold; claim 4 does not hold; claim 3 is undecided."
    )
    assert tables.tally({"claims": []}) == "No claim was judged."


def test_the_terminal_prints_the_same_cells() -> None:
    given = results()
    printed = _printed(given, width=240)
    for table in (tables.solutions(given), tables.paths(given)):
        for row in table.rows:
            assert " ".join(row) in printed
    for finding in tables.findings(given):
        assert all(part in printed for part in (finding.title, finding.verdict, finding.statement))
    for claim in given["claims"]:
        assert claim["rule"] in printed
        assert all(sentence in printed for sentence in claim["evidence"])
    assert all(sentence in printed for sentence in tables.diverged(given))


def test_the_terminal_takes_text_as_text() -> None:
    given = results(seeds=1)
    given["claims"][0]["statement"] = "[bold]as it is[/bold] [/no]"
    assert "[bold]as it is[/bold] [/no]" in _printed(given, width=100)


def test_the_tables_fit_a_common_terminal() -> None:
    lines = _printed(results(), width=100, squeeze=False).splitlines()
    assert max(map(len, lines)) <= 100
    assert any("scratch-fan-in" in line and line.count("±") == 3 for line in lines)


@pytest.mark.parametrize("terminal_", [True, False])
def test_no_number_is_cut_however_narrow_the_terminal_or_whatever_the_file(terminal_: bool) -> None:
    given, out = results(), io.StringIO()
    terminal.print_results(given, Console(file=out, width=40, force_terminal=terminal_))
    shown = out.getvalue()
    assert "…" not in shown
    table = tables.solutions(given)
    for row in table.rows:
        numbers = row[table.words :]
        assert any(all(n in line for n in numbers) for line in shown.splitlines()), row


def _printed(given: dict[str, Any], *, width: int, squeeze: bool = True) -> str:
    out = io.StringIO()
    terminal.print_results(given, Console(file=out, width=width))
    return " ".join(out.getvalue().split(" ")).strip() if not squeeze else _squeezed(out.getvalue())


def _squeezed(text: str) -> str:
    """Runs of ordinary spaces and line breaks as one space."""
    return " ".join(part for part in text.replace("\n", " ").split(" ") if part)
