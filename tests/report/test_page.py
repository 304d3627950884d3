"""The page: whole, self-contained, well-formed, safe, and the same bytes every time."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from synthetic import results

from sparsescape.report import page
from sparsescape.report import tables as every
from sparsescape.report.difficulty import tables


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return results()


@pytest.fixture(scope="module")
def folder(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    assert page.write(given, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_it_says_every_verdict_and_number(given: dict[str, Any], html: str) -> None:
    text = unescape(html)
    shown = (tables.solutions, tables.paths, tables.runs, tables.walks, every.settings)
    for make in shown:
        table = make(given)
        for cell in (*table.header, *(cell for row in table.rows for cell in row)):
            assert cell in text
    for finding in tables.findings(given):
        assert all(part in text for part in (finding.title, finding.verdict, finding.statement))
    for claim in given["claims"]:
        assert claim["rule"] in text
        assert all(sentence in text for sentence in claim["evidence"])
    assert all(sentence in text for sentence in tables.diverged(given))
    assert given["command"] in text


def test_the_tables_are_those_of_the_terminal(given: dict[str, Any], html: str) -> None:
    found = {_text(table.find("caption")): table for table in _page(html).iter("table")}
    for table in (tables.solutions(given), tables.paths(given)):
        rows = [tuple(map(_text, row)) for row in found[table.title].find("tbody") or ()]
        assert tuple(rows) == table.rows


def test_it_is_well_formed_and_names_nothing_twice(html: str) -> None:
    names = [element.get("id") for element in _page(html).iter() if element.get("id")]
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', html))
    assert used <= set(names)


def test_it_needs_nothing_from_elsewhere(html: str) -> None:
    assert "http" not in html
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\((?!#)", html)
    assert all(element.get("href", "#").startswith("#") for element in _page(html).iter())
    assert html.count("<svg") == 4


def test_text_in_figures_is_text_and_colours_follow_the_page(html: str) -> None:
    figures = list(_page(html).iter("figure"))
    assert "scratch-fan-in" in "".join(figures[0].itertext())
    for element in (element for figure in figures for element in figure.iter()):
        assert not re.search(r"#[0-9a-f]{6}\b", element.get("style", ""))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=alert(1)>$\\frac{'
    given = results(seeds=1)
    given["problem"] = {"name": evil, "summary": evil, evil: evil}
    given["command"] = f"sparsescape study difficulty --problem '{evil}'"
    given["claims"][0].update(title=evil, statement=evil, rule=evil, evidence=[evil], verdict=evil)
    given["solutions"][0]["run"] = given["arms"][0] = given["lines"][0]["name"] = evil
    html = page.write(given, tmp_path).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert evil in "".join(_page(html).itertext())


def test_one_seed_is_enough(tmp_path: Path) -> None:
    html = page.write(results(seeds=1, diverged=False), tmp_path).read_text(encoding="utf-8")
    solutions = next(_page(html).iter("table"))
    assert "±" not in "".join(solutions.itertext())
    assert "Diverged." not in html


def test_everything_lost_is_still_a_page(tmp_path: Path) -> None:
    given = results(seeds=1)
    for row in given["solutions"]:
        row.update(dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "test_accuracy")))
        row["diverged"] = True
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    for row in given["table"]:
        row.update({key: nothing for key, value in row.items() if isinstance(value, dict)}, n=0)
    given.update(lines=[], curves=[], paths=[], claims=[])
    _page(page.write(given, tmp_path).read_text(encoding="utf-8"))


def test_the_same_results_make_the_same_bytes(
    given: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    page.write(given, tmp_path)
    first, second = dict(_files(folder)), dict(_files(tmp_path))
    assert set(first) == {
        "report.html",
        *(
            f"figures/{name}.{kind}"
            for name in ("solutions", "lines", "curves", "effort")
            for kind in ("png", "pdf")
        ),
    }
    assert first == second


def test_another_process_makes_the_same_bytes_and_loads_no_torch(
    folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('synthetic', {str(_SYNTHETIC)!r})\n"
        "made = importlib.util.module_from_spec(spec); spec.loader.exec_module(made)\n"
        "from sparsescape.report import tables, terminal, page\n"
        "assert not {'matplotlib', 'jinja2', 'numpy'} & set(sys.modules), 'heavy imports'\n"
        f"page.write(made.results(), {str(tmp_path)!r})\n"
        "terminal.print_results(made.results())\n"
        "assert not {'torch', 'matplotlib.pyplot', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert dict(_files(folder)) == dict(_files(tmp_path))


_SYNTHETIC = Path(__file__).with_name("synthetic.py")


def _page(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


def _text(element: ElementTree.Element | None) -> str:
    return "" if element is None else "".join(element.itertext()).strip()


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
