"""What the guides say of methods is so, and their examples run."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import sparsescape as ss
from sparsescape.sparsifiers import structures
from sparsescape.sparsifiers.catalogue import METHODS, Plan, make_method

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def table() -> dict[str, dict[str, str]]:
    """Method → column → cell, of the guide's table."""
    lines = GUIDE[GUIDE.index("| name | class |") :].partition("\n\n")[0].splitlines()
    header, _, *rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    names = [cell.strip() for cell in header]
    cells = [dict(zip(names, (c.strip() for c in row), strict=True)) for row in rows]
    return {row["name"].strip("`"): row for row in cells}


def made(name: str) -> ss.Sparsifier | None:
    plan = Plan(
        sparsity=0.5, distribution="uniform", steps=100, begin=20, end=60, every=5,
        data=(torch.randn(8, 4), torch.zeros(8).long()), loss=nn.functional.cross_entropy,
    )  # fmt: skip
    return None if METHODS[name].in_rounds else make_method(name, plan)


def test_the_table_has_every_method_in_the_order_of_the_catalogue() -> None:
    assert list(table()) == list(METHODS)


def test_the_arguments_are_what_their_script_prints() -> None:
    words = [sys.executable, str(ROOT / "docs" / "methods.py")]
    said = subprocess.run(words, capture_output=True, text=True, check=True, encoding="utf-8")
    assert said.stdout in GUIDE


def test_every_argument_of_every_class_has_its_default_and_a_meaning() -> None:
    """By the rows of the class and of what it says that it is like."""
    lines = GUIDE[GUIDE.index("| class | argument |") :].partition("\n\n")[0].splitlines()[2:]
    taken: dict[str, dict[str, str]] = {}
    for line in lines:
        place, argument, default, meaning = map(str.strip, re.split(r"(?<!\\)\|", line)[1:-1])
        if place:
            name, *like = re.findall(r"`(\w+)`", place)
            gone = like[1:]
            inherited = taken[like[0]] if like else {}
            taken[name] = {n: d for n, d in inherited.items() if n not in gone}
        if argument:
            assert len(meaning.split()) > 2
            taken[name][argument.strip("`")] = default.strip("`")
    kinds = {type(s) for s in map(made, METHODS) if s is not None}
    assert taken.keys() == {"Sparsifier", "DropGrow", *(kind.__name__ for kind in kinds)}
    for kind in kinds:
        parameters = inspect.signature(kind).parameters
        assert taken[kind.__name__].keys() == parameters.keys()
        for name, default in taken[kind.__name__].items():
            value = parameters[name].default
            if value is inspect.Parameter.empty:
                assert default == "to be given"
            else:
                assert default.replace('"', "'") in (repr(value), getattr(value, "__name__", ""))


def test_a_pattern_of_its_own_is_no_argument_of_n_m() -> None:
    """It was taken, and changed nothing."""
    with pytest.raises(TypeError, match="structure"):
        ss.NM(2, 4, structure=ss.structures.fan_in)


PATTERNS = {
    "any": set(structures.ANY),
    "all but N:M": set(structures.ANY) - {structures.N_OF_M},
    "fan-in": {structures.FAN_IN},
    "none": set(),
}


def patterns_of(kind: type[ss.Sparsifier]) -> set[str]:
    """The kinds of structure that a class takes."""
    if "structure" not in inspect.signature(kind).parameters:
        return set()
    return set(kind.patterns)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_is_what_the_catalogue_makes(name: str) -> None:
    row, sparsifier = table()[name], made(name)
    assert row["class"] == ("" if sparsifier is None else f"`{type(sparsifier).__name__}`")
    papers = re.findall(r"\((\w[^()]* \d{4})\)", METHODS[name].summary)
    assert row["paper"] == (papers[-1] if papers else "")
    if sparsifier is None:
        return
    assert hasattr(ss, type(sparsifier).__name__)
    structure = getattr(sparsifier, "structure", ss.structures.unstructured)
    if row["pattern"] == "always fan-in":
        assert structure is ss.structures.fan_in
    elif row["pattern"].startswith("always"):
        assert row["pattern"] == f"always {sparsifier.n}:{sparsifier.m}"
    else:
        assert structure is ss.structures.unstructured
        assert PATTERNS[row["pattern"]] == patterns_of(type(sparsifier))
    asked = ss.distributions.named("uniform")
    if row["layers"].startswith("asked"):
        assert sparsifier.distribution is asked
        assert row["layers"].endswith("moves") == (name in ("deep-r", "snfs", "dsr"))
    else:
        assert row["layers"] in ("global", "its own", "by the pattern")
        assert (
            row["pattern"] == "always 2:4" or getattr(sparsifier, "distribution", None) is not asked
        )


@pytest.mark.parametrize("name", METHODS)
def test_the_numbers_of_a_row_are_the_methods(name: str) -> None:
    when, sparsifier = table()[name]["when and how much"], made(name)
    for number in re.findall(r"f (?:=|from) (0\.\d)", when):
        assert sparsifier.drop_share(1) == pytest.approx(float(number), abs=0.01)
    for number in re.findall(r"in (\d+) rounds", when):
        assert sparsifier.rounds == int(number)
    assert ("along a cosine" in when) == (
        isinstance(sparsifier, ss.DropGrow) and 0 < sparsifier.drop_share(60) < 0.9
        * sparsifier.drop_share(1) and name not in ("mest", "srigl")
    )  # fmt: skip


# ---------------------------------------------------------------------------- examples


def examples() -> dict[str, str]:
    """Where a method of one's own is shown → the code."""
    found = {
        name: re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
        for name in ("README.md", "CONTRIBUTING.md", "docs/methods.md")
    }
    found["DropGrow"] = [inspect.getdoc(ss.DropGrow).split("differs::\n")[1].split("\nArgs:")[0]]
    blocks = {place: [b for b in code if "class " in b] for place, code in found.items()}
    return {place: inspect.cleandoc("\n" + code[0]) for place, code in blocks.items()}


@pytest.mark.parametrize("place", ["README.md", "CONTRIBUTING.md", "docs/methods.md", "DropGrow"])
def test_a_method_of_ones_own_takes_under_fifteen_lines_and_holds(place: str) -> None:
    names = {"ss": ss, "torch": torch}
    exec(examples()[place], names)
    (kind,) = (v for v in names.values() if isinstance(v, type) and issubclass(v, ss.Sparsifier))
    text = examples()[place]
    body = re.search(r"^class .*?(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE).group()
    assert len([line for line in body.splitlines() if line.strip()]) < 15
    moving = issubclass(kind, ss.DropGrow)
    sparsifier = kind(sparsity=0.5, update_every=2) if moving else kind()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    sparsifier.attach(model, optimizer)
    first = sparsifier.mask
    for step in range(101):
        optimizer.zero_grad()
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        mse_loss(model(x), x[:, :4]).backward()
        optimizer.step()
        sparsifier.mask.check_contains(model)
    assert sparsifier.mask != first
    assert sparsifier.mask.count == 40


# ---------------------------------------------------------------------------- pages of results


@pytest.mark.parametrize("study", ["methods", "difficulty"])
def test_a_page_of_results_is_written_from_the_store(study: str, tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "report"))
    from synthetic import results
    from synthetic_methods import methods_results

    given = methods_results() if study == "methods" else results()
    given["problem"]["name"] = "digits-conv"
    folder = tmp_path / f"{study}-0"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(given), encoding="utf-8")
    stage = dict.fromkeys(("sparsescape", "torch", "python", "processor"), "0") | {"threads": 1}
    provenance = {"written": "2020-01-01T00:00:00", "stages": {"train-0": stage}}
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    script = ROOT / "docs" / "results" / f"{study}.py"
    words = [sys.executable, str(script), str(tmp_path), "digits-conv"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert given["command"] in said
    for row in given["table"]:
        assert f"| {row.get('method') or row['arm']} | {row['n']} |" in said
    if study == "methods":
        # By the numbers that were made up: 96.0 ± 0.35 against 95.3 ± 0.35, and 94.6 against 94.1.
        (line,) = (x for x in said.splitlines() if x.startswith("| granet > rigl |"))
        assert "| as published |" in line
        assert "- snfs was published as better than set" in said  # at equal FLOPs it is worse
