"""The report of the methods study: who stands where, tables, figures, and the page."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from synthetic_methods import BUDGET, DENSE_FLOPS, METHODS, methods_results

from sparsescape.report import page, terminal
from sparsescape.report.methods import figures, standing, tables
from sparsescape.report.methods.families import FAMILIES, colour, family_of, in_families
from sparsescape.report.style import DARK, style

NOTHING = {"mean": None, "low": None, "high": None, "n": 0}
FEW = ("dense", "static", "snip", "rigl")


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return methods_results()


def all_lost(given: dict[str, Any]) -> dict[str, Any]:
    """The same study, had every run of it diverged."""
    measures = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    for run in given["runs"]:
        run.update(dict.fromkeys(measures), diverged=True)
    for row in given["table"]:
        row.update({key: NOTHING for key, value in row.items() if isinstance(value, dict)}, n=0)
    return given


# ---------------------------------------------------------------------------- who stands where


def test_methods_stand_by_accuracy_the_best_first(given: dict[str, Any]) -> None:
    assert standing.measure(given) is standing.ACCURACY
    for budget in ("steps", "flops"):
        means = [row["test_accuracy"]["mean"] for row in standing.at(given, budget).values()]
        assert means == sorted(means, reverse=True)
    order = standing.best_first(given)
    assert order[0] == "dense"
    assert order[-1] == "grasp"
    assert sorted(order) == sorted(METHODS)


def test_without_classes_they_stand_by_loss_the_least_first() -> None:
    given = methods_results(classes=False)
    assert standing.measure(given) is standing.LOSS
    means = [row["test_loss"]["mean"] for row in standing.at(given, "steps").values()]
    assert means == sorted(means)


def test_what_has_no_number_stands_last(given: dict[str, Any]) -> None:
    lost = methods_results()
    row = next(r for r in lost["table"] if (r["method"], r["budget"]) == ("dense", "steps"))
    row["test_accuracy"] = NOTHING
    assert list(standing.at(lost, "steps"))[-1] == "dense"


def test_the_unit_of_cost_is_dense_training(given: dict[str, Any]) -> None:
    assert standing.dense_flops(given) == pytest.approx(DENSE_FLOPS)
    assert standing.dense_flops(methods_results(names=("static",))) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.03, "beats"), (-0.03, -0.01, "behind"), (-0.01, 0.03, "undecided"),
     (0.0, 0.03, "undecided"), (None, None, "unknown")],
)  # fmt: skip
def test_a_verdict_follows_the_interval(low: Any, high: Any, expected: str) -> None:
    assert standing.verdict({"mean": 0.01, "low": low, "high": high, "n": 3}) == expected


def test_a_finding_names_every_method_but_static_once(given: dict[str, Any]) -> None:
    for finding, budget in zip(standing.findings(given), ("steps", "flops"), strict=True):
        named = re.findall(r"[\w-]+", finding.statement)
        for method in standing.at(given, budget):
            assert (method in named) == (method != "static" or "static" in named)
        beating = [m for m, row in standing.at(given, budget).items() if m != "static"
                   and row["gain"]["low"] > 0]  # fmt: skip
        assert finding.verdict == f"{len(beating)} of {len(standing.at(given, budget)) - 1}"
        said = finding.statement.split(" beat")[0]
        assert all(method in said for method in beating)
        assert finding.rule


def test_the_lead_counts_both_budgets(given: dict[str, Any]) -> None:
    lead = standing.lead(given)
    counts = [finding.verdict for finding in standing.findings(given)]
    assert lead.startswith(f"At equal steps, {counts[0]} beat static; at equal training FLOPs, ")
    assert lead.endswith(f"{counts[1]} beat static.")
    assert standing.lead({"table": [], "runs": []}) == "Nothing was run."


def test_one_seed_decides_nothing() -> None:
    for finding in standing.findings(methods_results(seeds=1, names=FEW)):
        assert finding.statement.startswith("none beats static; ")
        assert "too few seeds" in finding.statement


def test_what_diverged_is_named(given: dict[str, Any]) -> None:
    assert standing.diverged(given) == (
        "block at equal training FLOPs, seed 2: training diverged (train-block-flops-2).",
    )


# ---------------------------------------------------------------------------- families


def test_families_keep_the_order_of_the_study_and_the_best_first_in_each(
    given: dict[str, Any],
) -> None:
    order = standing.best_first(given)
    found = in_families(given, order)
    assert list(found) == list(dict.fromkeys(family_of(given).values()))
    for family, members in found.items():
        assert members == [m for m in order if METHODS[m][0] == family]


def test_every_family_has_a_colour_and_its_dark_side() -> None:
    assert all(colour(family) in DARK for family in (*FAMILIES, "one of one's own"))
    assert len(set(FAMILIES.values())) == len(FAMILIES)


# ---------------------------------------------------------------------------- tables


def rows_of(table: Any) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_every_row_is_as_long_as_its_header(given: dict[str, Any]) -> None:
    made = (tables.comparison(given, "steps"), tables.comparison(given, "flops"),
            tables.runs(given), tables.methods(given))  # fmt: skip
    for table in made:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_comparison_shows_n_gain_cost_and_what_diverged(given: dict[str, Any]) -> None:
    steps, flops = (rows_of(tables.comparison(given, b)) for b in ("steps", "flops"))
    assert list(steps) == [m for ms in in_families(given, standing.best_first(given)).values()
                           for m in ms]  # fmt: skip
    assert "lottery" not in flops
    assert steps["dense"]["FLOPs, × dense"] == "1.00"
    assert steps["imp-lr-rewinding"]["FLOPs, × dense"] == "4.60"
    assert float(flops["rigl"]["FLOPs, × dense"]) == pytest.approx(BUDGET, rel=0.01)
    assert flops["block"]["diverged"] == "1"
    assert flops["block"]["n"] == "2"
    assert "±" in steps["rigl"]["test accuracy, %"]
    assert steps["rigl"]["gain over static"].startswith("+")
    assert not re.search(r"\d", steps["static"]["gain over static"])  # it is the reference


def test_without_dense_training_the_cost_is_absolute() -> None:
    table = tables.comparison(methods_results(names=("static", "rigl")), "steps")
    assert "training FLOPs" in table.header
    assert "FLOPs, × dense" not in table.header


def test_without_classes_a_gain_is_of_test_loss() -> None:
    without = methods_results(classes=False)
    table = tables.comparison(without, "steps")
    assert "test loss" in table.header
    assert "test accuracy, %" not in table.header
    assert "test loss of static minus its own" in table.note
    rows = standing.at(without, "steps")
    assert standing.verdict(rows["gradual-magnitude"]["gain"]) == "beats"
    assert standing.verdict(rows["grasp"]["gain"]) == "behind"
    assert "test loss of static minus its own" in standing.findings(without)[0].rule


def test_every_run_is_listed_in_the_order_of_the_study(given: dict[str, Any]) -> None:
    rows = tables.runs(given).rows
    assert {row[2] for row in rows} == {run["run"] for run in given["runs"]}
    places = [list(METHODS).index(row[0]) for row in rows]
    assert places == sorted(places)


def test_the_facts_say_what_the_budget_is(given: dict[str, Any]) -> None:
    facts = dict(tables.facts(given))
    assert facts["Methods"] == str(len(METHODS))
    assert facts["Budget of FLOPs"].startswith("0.1 × dense training (15.3 G")


def test_the_terminal_prints_the_same_cells(given: dict[str, Any]) -> None:
    out = io.StringIO()
    terminal.print_results(given, Console(file=out, width=240))
    printed = " ".join(part for part in out.getvalue().replace("\n", " ").split(" ") if part)
    for budget in ("steps", "flops"):
        for row in tables.comparison(given, budget).rows:
            assert " ".join(row) in printed
    for finding in standing.findings(given):
        assert all(part in printed for part in (finding.title, finding.verdict, finding.statement))


# ---------------------------------------------------------------------------- figures


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_the_forest_names_every_method_beside_both_budgets(given: dict[str, Any]) -> None:
    with style():
        figure = figures.methods(given)
    shown = texts(figure)
    assert {*METHODS, "At equal steps", "At equal training FLOPs"} <= set(shown)
    assert shown.count("not run") == 1  # lottery at equal FLOPs
    assert shown.count("reference") == 2
    steps, flops = figure.axes
    assert steps.get_xlim() == flops.get_xlim()
    assert steps.get_ylim() == flops.get_ylim()


def test_a_seed_far_behind_is_an_arrow_and_a_diverged_one_a_cross(given: dict[str, Any]) -> None:
    with style():
        figure = figures.methods(given)
    markers = [line.get_marker() for axes in figure.axes for line in axes.lines]
    assert markers.count("<") == 6  # grasp, three seeds at each budget
    assert markers.count("x") == 1  # block, its last seed


def test_every_point_of_the_cost_has_its_name(given: dict[str, Any]) -> None:
    with style():
        figure = figures.cost(given)
    shown = texts(figure)
    for method in METHODS:
        names = [text for text in shown if text.split(" (")[0] == method]
        assert len(names) == (1 if method == "lottery" else 2)
    assert "grasp (10.2)" in shown  # far below the frame: its value in brackets
    assert figure.axes[0].get_xscale() == "log"


def test_no_two_names_of_the_cost_lie_on_each_other(given: dict[str, Any]) -> None:
    with style():
        figure = figures.cost(given)
        figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [t.get_window_extent() for t in axes.texts if t.get_text().split(" (")[0] in METHODS]
    assert len(boxes) == 2 * len(METHODS) - 1
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.9, 0.9).overlaps(other.shrunk(0.9, 0.9))


@pytest.mark.parametrize("name", ["methods", "cost"])
@pytest.mark.parametrize(
    "odd",
    [
        lambda: methods_results(seeds=1, names=FEW),
        lambda: methods_results(names=("static",)),
        lambda: methods_results(names=FEW, classes=False),
        lambda: all_lost(methods_results(names=FEW)),
        lambda: {**methods_results(names=FEW), "runs": [], "table": []},
    ],
    ids=["one seed", "static alone", "no classes", "all lost", "nothing run"],
)
def test_what_is_absent_does_not_stop_a_figure(name: str, odd: Any, tmp_path: Path) -> None:
    with style():
        getattr(figures, name)(odd()).savefig(tmp_path / "figure.svg")


# ---------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def folder(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods")
    assert page.write(given, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_says_every_number_and_finding(given: dict[str, Any], html: str) -> None:
    text = unescape(html)
    made = (tables.comparison(given, "steps"), tables.comparison(given, "flops"),
            tables.runs(given), tables.methods(given))  # fmt: skip
    for table in made:
        for cell in (*table.header, *(cell for row in table.rows for cell in row)):
            assert cell in text
    for finding in standing.findings(given):
        assert all(part in text for part in (finding.title, finding.statement, finding.rule))
    assert all(sentence in text for sentence in standing.diverged(given))
    assert standing.lead(given) in text
    assert given["command"] in text


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(html: str) -> None:
    names = [e.get("id") for e in ElementTree.fromstring(html).iter() if e.get("id")]
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(names)
    assert "http" not in html
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\((?!#)", html)
    assert html.count("<svg") == 2


def test_the_page_explains_rounds_only_where_there_are_any(html: str, tmp_path: Path) -> None:
    about = "Iterative magnitude pruning"
    assert about in html
    assert about not in page.write(methods_results(names=FEW), tmp_path).read_text("utf-8")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=alert(1)>$\\frac{'
    given = methods_results(seeds=2, names=FEW)
    given["problem"] = {"name": evil, "summary": evil, evil: evil}
    given["methods"][0]["summary"] = given["runs"][0]["run"] = given["command"] = evil
    html = page.write(given, tmp_path).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert evil in "".join(ElementTree.fromstring(html).itertext())


@pytest.mark.parametrize(
    "odd", [lambda: methods_results(seeds=1, names=FEW), lambda: all_lost(methods_results())]
)
def test_odd_results_are_still_a_page(odd: Any, tmp_path: Path) -> None:
    ElementTree.fromstring(page.write(odd(), tmp_path).read_text(encoding="utf-8"))


def test_the_same_results_make_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    page.write(methods_results(), tmp_path)
    assert dict(files(tmp_path)) == dict(files(folder))
    assert {name for name, _ in files(folder)} == {
        "report.html",
        *(f"figures/{name}.{kind}" for name in ("methods", "cost") for kind in ("png", "pdf")),
    }


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
