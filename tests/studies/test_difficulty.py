"""The whole study on a tiny problem: every number recomputed from the points it saved."""

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.torch import load_file
from torch import Tensor

import sparsescape as ss
import tiny
from sparsescape.cli import main
from sparsescape.errors import InputError
from sparsescape.masks import Mask
from sparsescape.report import page
from sparsescape.studies.difficulty import Settings
from sparsescape.studies.executors import local
from sparsescape.studies.store import read_json

WEIGHTS = ("0.weight", "2.weight")
SPARSE_ARMS = ("pruned", "lottery", "scratch", "scratch-fan-in")
LINES = {
    "initialization → lottery": ("initialization", "lottery"),
    "initialization → scratch": ("initialization", "scratch"),
    "initialization → scratch-fan-in": ("initialization", "scratch-fan-in"),
    "initialization → pruned": ("initialization", "pruned"),
    "scratch ↔ pruned": ("scratch", "pruned"),
    "lottery ↔ pruned": ("lottery", "pruned"),
    "scratch ↔ lottery": ("scratch", "lottery"),
}
KINDS = {
    (start, space, degree)
    for start in ("scratch", "lottery")
    for space in ("sparse", "dense")
    for degree in (2, 3)
}
Point = dict[str, Tensor]

namespace: dict = {}
exec(tiny.HEADER, namespace)  # the data, as the problem file makes them
DATA = {"train": namespace["data"](0), "test": namespace["data"](1)}


# ---------------------------------------------------------------------------- by other means


def evaluated(point: Point) -> dict[str, float]:
    """Losses and accuracies of the perceptron 6-16-2 at a point, in double precision."""
    found = {}
    for split, (inputs, targets) in DATA.items():
        p = {name: tensor.double() for name, tensor in point.items()}
        hidden = (inputs.double() @ p["0.weight"].T + p["0.bias"]).clamp(min=0)
        outputs = hidden @ p["2.weight"].T + p["2.bias"]
        chosen = outputs[range(len(targets)), targets]
        found[f"{split}_loss"] = float((outputs.logsumexp(1) - chosen).mean())
        found[f"{split}_accuracy"] = float((outputs.argmax(1) == targets).double().mean())
    return found


def de_casteljau(controls: list[Point], t: float) -> Point:
    """The point of a Bézier curve by repeated interpolation; of two controls, the line."""
    while len(controls) > 1:
        controls = [
            {name: (1 - t) * a[name].double() + t * b[name].double() for name in a}
            for a, b in pairwise(controls)
        ]
    return controls[0]


def brute_barrier(t: list[float], losses: list[float]) -> float:
    excess = [x - ((1 - s) * losses[0] + s * losses[-1]) for s, x in zip(t, losses, strict=True)]
    return max(0.0, *excess)


def brute_climb(losses: list[float]) -> float:
    """DESIGN.md's words, pair by pair."""
    path = losses if losses[0] >= losses[-1] else losses[::-1]
    n = len(path)
    arrival = min(k for k in range(1, n) if path[k] <= path[-1])
    before = [path[k] - path[j] for k in range(arrival + 1) for j in range(k)]
    after = [path[k] - path[-1] for k in range(arrival, n)]
    return max(0.0, *before, *after)


def inside(record) -> tuple[list[float], list[float]]:
    pairs = zip(record["t"], record["train_loss"], strict=True)
    t, losses = zip(*[(t, loss) for t, loss in pairs if 0 <= t <= 1], strict=True)
    return list(t), list(losses)


def student(values: list[float]) -> dict[str, float]:
    low, high = scipy.stats.t.interval(
        0.95, len(values) - 1, np.mean(values), max(scipy.stats.sem(values), 1e-300)
    )
    return {"mean": np.mean(values), "low": low, "high": high, "n": len(values)}


class Points:
    """What the study saved, found by seed and arm."""

    def __init__(self, finished):
        self.finished = finished
        self.runs = {(s["seed"], s["arm"]): s["run"] for s in finished.results["solutions"]}

    def __call__(self, seed: int, arm: str, which: str = "point") -> Point:
        return load_file(self.finished.file(self.runs[seed, arm], which))

    def mask(self, seed: int, arm: str) -> dict[str, Tensor]:
        return dict(Mask.load(self.finished.file(self.runs[seed, arm], "mask")).items())

    def ends(self, line) -> list[Point]:
        """The ends of a line; it is from its own initialization that a solution is reached."""
        seed, first, last = line["seed"], line["from"], line["to"]
        if first != "initialization":
            return [self(seed, first), self(seed, last)]
        start = self(seed, last, "start")
        return [masked(start, self.mask(seed, "pruned")), self(seed, last)]

    def controls(self, curve) -> list[Point]:
        """All control points of a curve, its ends included."""
        inner = sorted(self.finished.store.path(curve["fit"]).glob("control-*.safetensors"))
        first, last = self(curve["seed"], curve["start"]), self(curve["seed"], "pruned")
        return [first, *map(load_file, inner), last]


def masked(point: Point, mask: dict[str, Tensor]) -> Point:
    return {n: torch.where(mask[n], p, 0.0) if n in mask else p for n, p in point.items()}


def same(one: Point, other: Point) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="session")
def points(finished) -> Points:
    return Points(finished)


@pytest.fixture
def no_page(monkeypatch) -> None:
    """No figures are drawn: only results.json is looked at."""
    monkeypatch.setattr(page, "write", lambda results, folder: None)


# ---------------------------------------------------------------------------- solutions


def test_every_seed_and_arm_has_one_solution(finished):
    found = [(s["seed"], s["arm"]) for s in finished.results["solutions"]]
    assert sorted(found) == sorted(
        (seed, arm) for seed in (0, 1) for arm in ("dense", *SPARSE_ARMS)
    )


def test_losses_and_accuracies_of_the_solutions(finished, points):
    for solution in finished.results["solutions"]:
        expected = evaluated(points(solution["seed"], solution["arm"]))
        assert {name: solution[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        start = evaluated(points(solution["seed"], solution["arm"], "start"))
        assert solution["initial_loss"] == pytest.approx(start["train_loss"], abs=1e-5)


def test_nonzeros_are_counted_in_the_solutions(finished, points):
    for solution in finished.results["solutions"]:
        point = points(solution["seed"], solution["arm"])
        weights = sum(point[name].numel() for name in WEIGHTS)
        nonzeros = sum(int(point[name].count_nonzero()) for name in WEIGHTS)
        assert (solution["nonzeros"], solution["weights"]) == (nonzeros, weights)
        assert solution["sparsity"] == pytest.approx(1 - nonzeros / weights)


def test_the_sparsity_asked_for_is_the_sparsity_there_is(finished):
    for solution in finished.results["solutions"]:
        kept = 128 if solution["arm"] == "dense" else 26  # of 128, 0.2 · 128 = 25.6
        assert abs(solution["nonzeros"] - kept) <= 1


def test_training_flops_follow_each_layers_density(finished, points):
    per_layer = {"0.weight": 2 * 2 * 6 * 16, "2.weight": 3 * 2 * 16 * 2}  # no gradient of inputs
    examples = 20 * 16
    for solution in finished.results["solutions"]:
        if solution["arm"] != "pruned":
            mask = points.mask(solution["seed"], solution["arm"])
            each = sum(n * float(mask[w].float().mean()) for w, n in per_layer.items())
            assert solution["flops"] == pytest.approx(each * examples)


def test_pruning_costs_more_than_its_end_and_less_than_dense_training(finished):
    flops = {(s["seed"], s["arm"]): s["flops"] for s in finished.results["solutions"]}
    for seed in (0, 1):
        assert flops[seed, "lottery"] < flops[seed, "pruned"] < flops[seed, "dense"]


@pytest.mark.parametrize("seed", [0, 1])
def test_all_sparse_arms_have_the_mask_that_pruning_found(points, seed):
    mask = points.mask(seed, "pruned")
    for arm in SPARSE_ARMS:
        assert same(points.mask(seed, arm), mask)
        solution = points(seed, arm)
        assert all(not solution[name][~mask[name]].any() for name in WEIGHTS)


@pytest.mark.parametrize("seed", [0, 1])
def test_where_each_arm_starts(points, seed):
    mask, dense = points.mask(seed, "pruned"), points(seed, "dense", "start")
    scratch, scaled = points(seed, "scratch", "start"), points(seed, "scratch-fan-in", "start")
    assert same(points(seed, "pruned", "start"), dense)
    assert same(points(seed, "lottery", "start"), masked(dense, mask))
    for name in WEIGHTS:
        inside = mask[name]
        assert (scratch[name][inside] != dense[name][inside]).all()
        assert (scratch[name][inside] != scaled[name][inside]).all()
        assert not scratch[name][~inside].any()
        assert not scaled[name][~inside].any()


def test_seeds_differ(points):
    for arm in ("dense", *SPARSE_ARMS):
        assert not same(points(0, arm, "start"), points(1, arm, "start"))


# ---------------------------------------------------------------------------- paths


def test_every_seed_has_every_line_and_curve(finished):
    lines = [(x["seed"], x["name"]) for x in finished.results["lines"]]
    assert sorted(lines) == sorted((seed, name) for seed in (0, 1) for name in LINES)
    curves = [
        (c["seed"], (c["start"], c["space"], c["degree"])) for c in finished.results["curves"]
    ]
    assert sorted(curves) == sorted((seed, kind) for seed in (0, 1) for kind in KINDS)


def test_lines_go_beyond_their_ends_and_curves_do_not(finished):
    for line in finished.results["lines"]:
        assert line["t"] == pytest.approx([k / 5 for k in range(-1, 7)], abs=1e-12)
        assert {0, 1} < set(line["t"])
    for curve in finished.results["curves"]:
        assert curve["t"] == pytest.approx([k / 5 for k in range(6)], abs=1e-12)


def test_losses_along_the_lines(finished, points):
    for line in finished.results["lines"]:
        assert (line["from"], line["to"]) == LINES[line["name"]]
        check_path(line, points.ends(line))


def test_losses_along_the_curves(finished, points):
    for curve in finished.results["curves"]:
        controls = points.controls(curve)
        assert len(controls) == curve["degree"] + 1
        check_path(curve, controls)


def check_path(record, controls: list[Point]) -> None:
    along = [evaluated(de_casteljau(controls, t)) for t in record["t"]]
    for name in along[0]:
        assert record[name] == pytest.approx([each[name] for each in along], abs=2e-5), name


def test_measures_of_every_path(finished):
    for path in (*finished.results["lines"], *finished.results["curves"]):
        t, losses = inside(path)
        assert path["barrier"] == pytest.approx(brute_barrier(t, losses), abs=1e-12)
        assert path["climb"] == pytest.approx(brute_climb(losses), abs=1e-12)
        tolerance = max(1e-3, 0.01 * abs(losses[0] - losses[-1]))
        assert path["tolerance"] == pytest.approx(tolerance)
        assert path["decreasing"] == (path["climb"] <= tolerance)


def test_the_ends_of_the_paths_are_the_solutions_losses(finished):
    losses = {(s["seed"], s["arm"]): s["train_loss"] for s in finished.results["solutions"]}
    for curve in finished.results["curves"]:
        ends = curve["train_loss"][0], curve["train_loss"][-1]
        assert ends == (losses[curve["seed"], curve["start"]], losses[curve["seed"], "pruned"])


def test_sparse_curves_stay_in_the_mask_and_dense_ones_leave_it(finished, points):
    for curve in finished.results["curves"]:
        mask = points.mask(curve["seed"], "pruned")
        for control in points.controls(curve)[1:-1]:
            outside = torch.cat([control[name][~mask[name]] for name in WEIGHTS])
            assert outside.any() == (curve["space"] == "dense")


def test_the_searches_moved_the_curves(finished, points):
    for curve in finished.results["curves"]:
        first, *inner, last = points.controls(curve)
        for k, control in enumerate(inner, start=1):
            on_the_line = de_casteljau([first, last], k / curve["degree"])
            assert max(float((control[n] - on_the_line[n]).abs().max()) for n in control) > 1e-4


def test_sparse_and_dense_searches_have_the_same_effort(finished):
    for curve in finished.results["curves"]:
        assert (curve["steps"], curve["examples"]) == (10, 160)


# ---------------------------------------------------------------------------- the tables


def test_the_table_is_over_the_seeds(finished):
    results = finished.results
    assert [row["arm"] for row in results["table"]] == ["dense", *SPARSE_ARMS]
    for row in results["table"]:
        runs = [s for s in results["solutions"] if s["arm"] == row["arm"]]
        assert (row["n"], row["diverged"]) == (2, 0)
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "flops"):
            assert row[name] == pytest.approx(student([run[name] for run in runs]), abs=1e-6), name


def test_the_paths_are_over_the_seeds(finished):
    results = finished.results
    assert {(p["start"], p["space"], p["degree"]) for p in results["paths"]} == KINDS
    for row in results["paths"]:
        kind = {name: row[name] for name in ("start", "space", "degree")}
        curves = [c for c in results["curves"] if kind.items() <= c.items()]
        for name in ("climb", "barrier"):
            assert row[name] == pytest.approx(student([c[name] for c in curves]), abs=1e-6)
        assert (row["n"], row["steps"], row["examples"]) == (2, 20, 320)
        assert row["decreasing"] == sum(c["decreasing"] for c in curves)


def test_claims_1_to_4_have_a_verdict(finished):
    claims = finished.results["claims"]
    assert [claim["claim"] for claim in claims] == [1, 2, 3, 4]
    assert {claim["verdict"] for claim in claims} <= {"holds", "does not hold", "undecided"}


# ---------------------------------------------------------------------------- the folder


def test_the_folder_of_the_study(finished):
    folder = tiny.results_file(finished.store.root).parent
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {n for n in names if n.startswith("figures/")}
    assert names - figures == {"results.json", "provenance.json", "report.html"}
    assert {Path(n).suffix for n in figures} == {".png", ".pdf"}


def test_times_and_machines_are_not_among_the_results(finished):
    folder = tiny.results_file(finished.store.root).parent
    text = (folder / "results.json").read_text(encoding="utf-8")
    for word in ("seconds", "began", "threads", "torch", "workers", str(finished.store.root)):
        assert f'"{word}"' not in text
    assert {"written", "stage_seconds", "stages"} <= read_json(folder / "provenance.json").keys()


def test_the_command_in_the_results_is_the_same_study_again(finished, tmp_path, monkeypatch):
    words = finished.results["command"].split()
    monkeypatch.setattr(local, "_Pool", None)  # nothing is to be done
    assert words[0] == "sparsescape"
    assert main([*words[1:], "--store", str(finished.store.root)]) == 0
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------- again


def test_a_second_run_does_nothing_and_leaves_the_bytes_as_they_are(finished, monkeypatch):
    root = finished.store.root
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}
    monkeypatch.setattr(local, "_Pool", None)
    assert main(tiny.study(finished.problem, root)) == 0
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.usefixtures("no_page")
def test_a_lost_folder_is_the_same_bytes_again(finished, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(finished.store.root, copy)
    shutil.rmtree(tiny.results_file(copy).parent)
    monkeypatch.setattr(local, "_Pool", None)
    assert main(tiny.study(finished.problem, copy)) == 0
    expected = tiny.results_file(finished.store.root).read_bytes()
    assert tiny.results_file(copy).read_bytes() == expected


@pytest.mark.usefixtures("no_page")
def test_one_worker_makes_the_same_bytes_as_two(finished, tmp_path):
    assert main(tiny.study(finished.problem, tmp_path, "--workers", "1")) == 0
    expected = tiny.results_file(finished.store.root).read_bytes()
    assert tiny.results_file(tmp_path).read_bytes() == expected


# ---------------------------------------------------------------------------- SIGKILL


def killed(words: list[str], note: Path, *, pause_at: int = -1, after: int = 0) -> None:
    """Start the command and SIGKILL it, when it pauses or after that many finished stages."""
    note.unlink(missing_ok=True)
    environment = {**os.environ, "PAUSE_AT": str(pause_at), "PAUSED": str(note)}
    command = [tiny.COMMAND, *words, "--checkpoint-every", "0", "--workers", "2"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        if after:
            for line in process.stderr:
                if line.startswith(f"[{after} of "):
                    break
        else:
            tiny.eventually(lambda: note.exists() or process.poll() is not None, "no pause")
        process.kill()
    assert process.returncode == -9


def steps_kept(root: Path) -> list[int]:
    """The steps that stages under way had taken when they were last checkpointed."""
    states = [tiny.checkpointed(stage) for stage in root.glob("partial/*")]
    return [state["step"] for state in states if state is not None]


@pytest.mark.usefixtures("deadline", "no_page")
def test_killed_again_and_again_it_ends_with_the_same_bytes(finished, tmp_path, monkeypatch):
    root, note = tmp_path / "runs", tmp_path / "paused"
    words = tiny.study(finished.problem, root)
    killed(words, note, pause_at=11)  # inside the first training runs, after the check
    assert max(steps_kept(root)) >= 7
    killed(words, note, after=12)
    killed(words, note, pause_at=32)  # in a run or a search, wherever the workers are by then
    killed(words, note, pause_at=35)
    assert not list(root.glob("*/results.json"))
    monkeypatch.setattr(local, "_Pool", tiny.PoolHere)
    assert main(words) == 0
    expected = tiny.results_file(finished.store.root).read_bytes()
    assert tiny.results_file(root).read_bytes() == expected


# ---------------------------------------------------------------------------- planted problems

CONVEX = """
return problem(
    model=lambda: nn.Linear(6, 2),
    recipe=recipe(steps=60, batch_size=64, lr=0.5),
)
"""
DIVERGING = "return problem(recipe=recipe(lr=1e30))"
BROKEN_BY_THE_LAST_STEP = "return problem(recipe=recipe(steps=1, lr=1e30))"


@pytest.mark.usefixtures("here", "no_page")
def test_where_training_reaches_what_pruning_reaches_claim_1_does_not_hold(tmp_path):
    """A convex loss: at a given mask every start leads to the one minimum."""
    words = tiny.study(tiny.write(tmp_path, CONVEX), tmp_path / "runs", "--sparsity", "0.5")
    assert main(words) == 0
    results = tiny.results(tmp_path / "runs")
    assert results["claims"][0]["verdict"] == "does not hold"
    assert {s["nonzeros"] for s in results["solutions"] if s["arm"] != "dense"} == {6}
    for claim in results["claims"][2:]:  # and no start is bad
        assert (claim["verdict"], claim["seeds"]) == ("undecided", [])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("body", [DIVERGING, BROKEN_BY_THE_LAST_STEP])
def test_a_problem_that_diverges_does_not_sink_the_study(tmp_path, capsys, body):
    assert main(tiny.study(tiny.write(tmp_path, body), tmp_path / "runs")) == 0
    results = tiny.results(tmp_path / "runs")
    found = {(s["arm"], s["diverged"], s["train_loss"]) for s in results["solutions"]}
    assert found == {(arm, True, None) for arm in ("dense", *SPARSE_ARMS)}
    assert all(path["diverged"] for path in (*results["lines"], *results["curves"]))
    assert [row["diverged"] for row in results["table"]] == [2] * 5
    assert {claim["verdict"] for claim in results["claims"]} == {"undecided"}
    report = tiny.results_file(tmp_path / "runs").with_name("report.html")
    assert "diverged" in report.read_text(encoding="utf-8")
    assert "diverged" in capsys.readouterr().out


@pytest.mark.usefixtures("here", "no_page")
@pytest.mark.parametrize("steps", ["10", "1"])  # at once, or with nothing but its last step
def test_a_search_that_diverges_is_no_evidence(tmp_path, steps):
    wild = ["--curve-lr", "1e30", "--curve-steps", steps]
    assert main(tiny.study(tiny.write(tmp_path), tmp_path / "runs", *wild)) == 0
    results = tiny.results(tmp_path / "runs")
    assert not any(solution["diverged"] for solution in results["solutions"])
    assert all(curve["diverged"] for curve in results["curves"])
    assert [claim["n"] for claim in results["claims"][2:]] == [0, 0]


# ---------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sparsity", 1.0),
        ("sparsity", -0.1),
        ("sparsity", float("nan")),
        ("seeds", 0),
        ("steps", 0),
        ("curve_steps", 0),
        ("points", 2),
        ("curve_lr", 0.0),
        ("curve_lr", float("nan")),
        ("curve_lr", float("inf")),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    good = {
        "problem": "digits-conv",
        "sparsity": 0.9,
        "distribution": "erk",
        "seeds": 3,
        "steps": None,
        "curve_steps": 10,
        "curve_lr": 0.1,
        "points": 5,
    }
    assert Settings(**good)
    with pytest.raises(InputError, match=f"not {value}"):
        Settings(**{**good, name: value})


def test_a_harder_search_is_on_record_and_speaks_in_the_claims(tiny_problem, tmp_path, here):
    """Each start has a path more in each space, with what every attempt was worth."""
    words = ["--search", "trials", "--seeds", "1"]
    few = (ss.Trial(degree=1, steps=0), ss.Trial(degree=2, steps=4, goal="uphill"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsescape.landscape.search.trials.TRIALS", few)
        assert main(tiny.study(tiny_problem, tmp_path, *words)) == 0
    found = tiny.results(tmp_path)
    tried = [curve for curve in found["curves"] if curve["degree"] == 0]
    assert {(c["start"], c["space"]) for c in tried} == {(s, p) for s, p, _ in KINDS}
    for curve in tried:
        assert curve["steps"] == sum(attempt["passes"] for attempt in curve["attempts"])
        # The trials look at places between those of the grid, too: they may see more of a climb.
        best = min(attempt["climb"] for attempt in curve["attempts"])
        assert curve["climb"] <= best + 1e-6
        assert curve["decreasing"] == (best <= curve["tolerance"])
    sparse = [curve for curve in found["curves"] if curve["space"] == "sparse"]
    claim = found["claims"][2]
    counted = {(c["seed"], c["start"]) for c in sparse if claim["starts"]}
    if counted and claim["starts"] == len(counted):
        assert claim["passes"] == sum(curve["steps"] for curve in sparse)
    (folder,) = tmp_path.glob("difficulty-*")
    assert (folder / "figures" / "effort.png").is_file()


@pytest.mark.usefixtures("here", "no_page")
def test_run_truly_sparse_it_comes_to_the_same(finished, tmp_path):
    words = tiny.study(finished.problem, tmp_path / "runs", "--execution", "sparse")
    assert main(words) == 0
    sparse, masked = tiny.results(tmp_path / "runs"), tiny.results(finished.store.root)
    layers = ["0.weight", "2.weight"]
    for one, other in zip(sparse["solutions"], masked["solutions"], strict=True):
        fixed = one["arm"] not in ("dense", "pruned")
        assert (one["run_sparse"], other["run_sparse"]) == (layers if fixed else [], [])
        assert one["nonzeros"] == other["nonzeros"]
        assert one["flops"] == other["flops"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    for one, other in zip(sparse["curves"], masked["curves"], strict=True):
        assert one["barrier"] == pytest.approx(other["barrier"], abs=1e-4)
        assert one["test_accuracy"] == pytest.approx(other["test_accuracy"], abs=0.02)


READS_ITS_WEIGHT = """
class Reads(nn.Sequential):
    def forward(self, x):
        return self[2](torch.relu(F.linear(x, self[0].weight, self[0].bias)))
return problem(model=lambda: Reads(*network()))
"""
TIED = """
def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    return model
return problem(model=tied)
"""


@pytest.mark.usefixtures("here", "no_page")
@pytest.mark.parametrize("body", [READS_ITS_WEIGHT, TIED])
def test_what_cannot_be_run_sparse_is_refused_before_any_work(tmp_path, capsys, body):
    problem, store = tiny.write(tmp_path, body), tmp_path / "runs"
    assert main(tiny.study(problem, store, "--execution", "sparse")) == 2
    said = capsys.readouterr()
    assert "cannot be run sparse" in said.err
    assert not list(store.glob("stages/*"))
