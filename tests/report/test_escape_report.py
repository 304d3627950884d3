"""The report of an escape study: its tables, sentences, figures and page."""

from __future__ import annotations

import io
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from synthetic_escape import WAYS, escape_results

from sparsescape.report import page, terminal
from sparsescape.report.escape import families, figures, read, tables
from sparsescape.report.style import DARK, style

FIGURES = {"closed": figures.closed, "sweep": figures.sweep, "trajectories": figures.trajectories}


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return escape_results()


def _texts(figure: Any) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}


def _cells(table: Any) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


# ---------------------------------------------------------------------------- in words


def test_every_way_has_a_row_over_the_bad_seeds(given: dict[str, Any]) -> None:
    rows = _cells(tables.comparison(given))
    assert list(rows) == list(WAYS)
    assert rows["rigl"]["n"] == "2"  # of three seeds one is not bad
    assert rows["noise"]["n"] == "1"
    assert rows["noise"]["diverged"] == "1"
    assert rows["detour"]["left"] == "0 of 2"
    assert rows["open 1 %"]["arrived"] == "2 of 2"
    assert rows["rigl"]["runs that climb"] == "2 of 2"
    assert rows["rigl"]["lines that climb"] == "2 of 2"
    assert rows["continue"]["lines that climb"] == "0 of 2"
    assert rows["rigl"]["FLOPs, × bad"].startswith(("0.9", "1.0"))


def test_every_way_but_rigl_stands_against_both_of_rigls_drop_fractions(
    given: dict[str, Any],
) -> None:
    table = tables.against_rigl(given)
    assert len(table.rows) == 2 * (len(WAYS) - 2)
    levels = {row[0]: row[4] for row in table.rows}
    assert (levels["open 1 %"], levels["open measured"], levels["set"]) == ("98.75", "95", "95")


def test_the_lead_gives_the_three_verdicts(given: dict[str, Any]) -> None:
    verdicts = [found["verdict"] for found in given["findings"]]
    assert all(verdict in tables.lead(given) for verdict in verdicts)
    nothing = {**given, "findings": []}
    assert tables.lead({**nothing, "unpriced": ["set"]}) == "Nothing was run."
    assert tables.lead(nothing).startswith("No start is bad")


def test_a_way_that_is_off_the_budget_says_so(given: dict[str, Any]) -> None:
    assert "off budget, %" not in tables.comparison(given).header
    rows = [{**row, "off": 1.63 if row["way"] == "rigl" else None} for row in given["table"]]
    told = _cells(tables.comparison({**given, "table": rows}))
    assert (told["rigl"]["off budget, %"], told["set"]["off budget, %"]) == ("+163", "–")


def test_what_diverged_is_named(given: dict[str, Any]) -> None:
    named = "noise, seed 0: training diverged (train-noise-0)."
    assert tables.diverged(given) == (named,)
    assert tables.diverged({**given, "unpriced": ["set"]}) == (
        named,
        "set: a pilot diverged, so it was not run.",
    )


def test_every_network_is_listed(given: dict[str, Any]) -> None:
    names = {row["run"] for key in ("solutions", "runs") for row in given[key]}
    assert {row[1] for row in tables.runs(given).rows} == names


def test_the_facts_say_how_many_solutions_were_bad(given: dict[str, Any]) -> None:
    facts = dict(tables.facts(given))
    assert facts["Bad solutions"] == "2"
    assert facts["Budget of FLOPs"] == "1 × the bad solution’s (1.00 G)"


def test_the_terminal_shows_what_was_found(given: dict[str, Any]) -> None:
    shown = Console(file=io.StringIO(), width=240)
    terminal.print_results(given, shown)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert all(way in text for way in WAYS)
    assert all(found["title"] in text for found in given["findings"])


# ---------------------------------------------------------------------------- in pictures


def test_the_forest_names_every_way_and_family(given: dict[str, Any]) -> None:
    with style():
        figure = figures.closed(given)
    assert _texts(figure) >= {*WAYS, *families.FAMILIES, "Training loss", "Test accuracy"}
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == 1  # noise diverged in one seed
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == "<"]
    assert len(arrows) == 2  # AC/DC ends far above the bad solution, in both


def test_the_sweep_is_over_the_fixed_numbers(given: dict[str, Any]) -> None:
    with style():
        figure = figures.sweep(given)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["13", "40", "133", "1331"]
    curve = figure.axes[0].lines[2]  # after RigL's two
    assert list(curve.get_xdata()) == [13, 40, 133, 1331]
    means = {row["way"]: row["closed"]["mean"] for row in given["table"]}
    assert curve.get_ydata()[2] == pytest.approx(100 * means["open 1 %"])


def test_a_trajectory_is_the_mean_over_the_bad_seeds(given: dict[str, Any]) -> None:
    with style():
        figure = figures.trajectories(given)
    assert len(figure.axes) == 4
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    runs = [run for run in given["runs"] if run["way"] == "rigl" and run["seed"] < 2]
    expected = sum(run["trajectory"]["train_loss"][-1] for run in runs) / 2
    assert lines["rigl"].get_ydata()[-1] == pytest.approx(expected)
    assert lines["rigl"].get_xdata()[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("names", [("rigl",), ("continue", "open 1 %"), tuple(WAYS)])
def test_few_seeds_and_few_ways_can_be_drawn(
    name: str, seeds: int, names: tuple[str, ...], tmp_path: Path
) -> None:
    with style():
        FIGURES[name](escape_results(seeds, names)).savefig(tmp_path / "figure.svg")


@pytest.mark.parametrize("name", FIGURES)
def test_without_a_bad_solution_there_is_an_empty_figure(name: str, tmp_path: Path) -> None:
    given = escape_results(seeds=1)
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    for run in given["runs"]:
        run.update(dict.fromkeys(("gap", "closed", "left", "arrived", "climb", "climbs")))
    for row in given["table"]:
        row.update({key: nothing for key, value in row.items() if isinstance(value, dict)}, n=0)
    with style():
        FIGURES[name](given).savefig(tmp_path / "figure.svg")


def test_every_colour_has_its_dark_side() -> None:
    assert all(families.colour(name) in DARK for name in (*families.FAMILIES, "another"))


# ---------------------------------------------------------------------------- the page


def test_the_page_says_every_verdict_and_number(given: dict[str, Any], tmp_path: Path) -> None:
    html = page.write(given, tmp_path).read_text(encoding="utf-8")
    ElementTree.fromstring(html)
    text, reading = unescape(html), read(given)
    for table in reading.tables.values():
        for cell in (*table.header, *(cell for row in table.rows for cell in row)):
            assert cell in text
    for finding in reading.findings:
        assert all(part in text for part in (finding.title, finding.verdict, finding.rule))
        assert all(sentence in text for sentence in finding.evidence)
    assert html.count("<svg") == 3
    assert given["command"] in text
