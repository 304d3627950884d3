"""The landscape study of a tiny problem: its maps, recomputed from the points that it saved."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparsescape.cli import main
from sparsescape.points import load_point
from sparsescape.problems.catalogue import load
from sparsescape.studies.store import Store

GRID = ("--grid", "4", "--snapshots", "5", "--curve-steps", "5", "--steps", "30")


def study(problem: str, root: Path, *more: str) -> dict:
    words = ["study", "landscape", "--problem", problem, "--sparsity", "0.5", "--store", str(root)]
    assert main([*words, *GRID, *more]) == 0
    [folder] = root.glob("landscape-*")
    assert (folder / "report.html").is_file()
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def found(tiny_problem: str, root: Path, here: None) -> dict:
    return study(tiny_problem, root)


def flat(point: dict) -> torch.Tensor:
    return torch.cat([point[name].reshape(-1).double() for name in sorted(point)])


def test_every_map_is_there(found):
    kinds = [plane["kind"] for plane in found["maps"]]
    assert kinds == ["solutions", *["path"] * 2, *["surroundings"] * 4, *["course"] * 2]
    for plane in found["maps"]:
        assert (len(plane["x"]), len(plane["y"])) == (4, 4)
        assert all(len(row) == 4 for row in plane["train_loss"])


def test_a_map_of_the_solutions_is_the_loss_between_them(found, tiny_problem, root):
    plane = found["maps"][0]
    store, problem = Store(root), load(tiny_problem)
    needed = json.loads((store.path(plane["run"]) / "stage.json").read_text())["inputs"]
    ends = [
        load_point(store.path(needed[r]) / "point.safetensors") for r in ("start", "end", "third")
    ]
    along = flat(ends[1]) - flat(ends[0])
    assert plane["marks"][1]["x"] == pytest.approx(float(along.norm()), rel=1e-5)
    objective = problem.objective(problem.make_model(0))
    for mark, end in zip(plane["marks"], ends, strict=True):
        assert mark["train_loss"] == objective(end)
        assert mark["distance"] == pytest.approx(0, abs=1e-5)
    # In coordinates of the three points: scratch + a·(pruned − scratch) + b·(lottery − scratch).
    corners = torch.tensor([[m["x"], m["y"]] for m in plane["marks"]]).double()
    x, y = plane["x"][2], plane["y"][1]
    edges = (corners[1:] - corners[0]).T
    a, b = torch.linalg.solve(edges, torch.tensor([x, y]).double() - corners[0])
    there = {
        n: (p + a * (ends[1][n] - p) + b * (ends[2][n] - p)).float() for n, p in ends[0].items()
    }
    assert plane["train_loss"][1][2] == pytest.approx(objective(there), rel=1e-4)


def test_a_quadratic_path_lies_on_its_map(found):
    for plane in (plane for plane in found["maps"] if plane["kind"] == "path"):
        assert [mark["name"] for mark in plane["marks"]] == ["scratch", "pruned", "bend"]
        assert len(plane["way"]) == 61
        assert max(place["distance"] for place in plane["way"]) < 1e-4
        ends = plane["way"][0], plane["way"][-1]
        assert [e["train_loss"] for e in ends] == [m["train_loss"] for m in plane["marks"][:2]]


def test_maps_inside_the_mask_stay_in_it(found, root):
    """The sparse path's bend, which the map goes through, is 0 where the mask is closed."""
    plane = found["maps"][1]
    store = Store(root)
    needed = json.loads((store.path(plane["run"]) / "stage.json").read_text())["inputs"]
    bend = load_file(store.path(needed["curve"]) / "control-1.safetensors")
    end = load_file(store.path(needed["end"]) / "point.safetensors")
    for name in ("0.weight", "2.weight"):
        assert not bend[name][end[name] == 0].any()


def test_the_course_of_a_run_starts_and_ends_where_it_did(found):
    for plane in (plane for plane in found["maps"] if plane["kind"] == "course"):
        assert len(plane["way"]) == 6
        assert plane["way"][0] == {k: v for k, v in plane["marks"][0].items() if k != "name"}
        assert (plane["way"][-1]["x"], plane["way"][-1]["y"]) == (0, 0)
        assert 0 < plane["explained"][1] <= plane["explained"][0] <= 1


def test_the_runs_are_those_of_the_difficulty_study(found, tiny_problem, root, here, capsys):
    before = {p.name for p in (root / "stages").iterdir()}
    words = [tiny_problem, "--sparsity", "0.5", "--store", str(root), "--steps", "30"]
    study_ = ["study", "difficulty", "--seeds", "1", "--points", "3", "--curve-steps", "5"]
    assert main([*study_, "--problem", *words]) == 0
    fresh = {p.name for p in (root / "stages").iterdir()} - before
    trained = [json.loads((root / "stages" / name / "stage.json").read_text()) for name in fresh]
    starts = [s["settings"]["start"] for s in trained if s["kind"] == "train"]
    assert sorted(starts) == ["fresh-sparse-fan-in", "initialization"]  # and the dense run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--grid", "2"), "--grid is at least 3"),
        (("--snapshots", "1"), "--snapshots is at least 3"),
        (("--sparsity", "1.5"), "above 0 and below 1"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(flags, message, tmp_path, capsys):
    assert main(["study", "landscape", "--store", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
