"""The whole escape study on a tiny problem: its numbers recomputed from what it saved."""

import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import tiny
from sparsescape.cli import main
from sparsescape.errors import InputError
from sparsescape.masks import Mask
from sparsescape.studies.escape import Settings, opening
from sparsescape.studies.executors import local
from sparsescape.studies.stages import runs
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.job import Job
from sparsescape.studies.store import Store

namespace: dict = {}
exec(tiny.HEADER, namespace)  # the data, as the problem file makes them

HARD = "return problem(recipe=recipe(steps=60, lr=0.5, weight_decay=1e-3))"
WAYS = [
    "continue", "restart", "noise", "re-initialize", "set", "rigl", "rigl 0.1",
    "open 3 weights", "open measured", "open 3 weights, free", "open measured, free",
    "detour", "ac/dc",
]  # fmt: skip
SIZE = ["--seeds", "1", "--sparsity", "0.8", "--points", "5", "--trajectory", "4"]


def loss_at(path):
    """The training loss at a saved point, computed without the package."""
    point, (inputs, targets) = load_file(path), namespace["data"](0)
    hidden = F.relu(inputs @ point["0.weight"].T + point["0.bias"])
    outputs = hidden @ point["2.weight"].T + point["2.bias"]
    return float(F.cross_entropy(outputs, targets))


def study(problem, store, *more):
    return main(["study", "escape", "--problem", problem, "--store", str(store), *SIZE, *more])


def results_in(store):
    (found,) = store.glob("escape-*/results.json")
    return json.loads(found.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The store and the results of one study."""
    root = tmp_path_factory.mktemp("escape")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_Pool", tiny.PoolHere)
        problem = tiny.write(root / "problem", HARD)
        assert study(problem, root / "runs", "--open", "3", "measured") == 0
    return problem, Store(root / "runs"), results_in(root / "runs")


def test_every_way_starts_from_each_seeds_bad_solution(done):
    _, store, results = done
    bad = {s["seed"]: s["run"] for s in results["solutions"] if s["arm"] == "scratch"}
    good = {s["seed"]: s["run"] for s in results["solutions"] if s["arm"] == "pruned"}
    found = {(run["way"], run["seed"]) for run in results["runs"]}
    assert found == {(way, seed) for way in WAYS for seed in (0,)}
    for run in results["runs"]:
        stage = store.stage(run["run"])
        seed = run["seed"]
        assert stage.inputs["start"].key == bad[seed]
        assert stage.inputs["mask"].key == good[seed]
        start = load_file(store.path(run["run"]) / "start.safetensors")
        end = load_file(store.path(bad[seed]) / "point.safetensors")
        same = all(torch.equal(start[name], end[name]) for name in end)
        assert same == (run["way"] not in ("noise", "re-initialize"))


def test_the_bad_and_the_pruned_solution_are_the_difficulty_studys(done, here):
    problem, store, results = done
    words = ["--points", "3", "--curve-steps", "1", "--seeds", "1", "--sparsity", "0.8"]
    where = ["--problem", problem, "--store", str(store.root)]
    assert main(["study", "difficulty", *where, *words]) == 0
    (found,) = store.root.glob("difficulty-*/results.json")
    theirs = {(s["arm"], s["seed"]): s["run"] for s in json.loads(found.read_text())["solutions"]}
    for solution in results["solutions"]:
        assert theirs[solution["arm"], solution["seed"]] == solution["run"]


def test_all_end_at_the_sparsity_of_the_mask_and_at_the_loss_they_say(done):
    _, store, results = done
    kept = {s["active"] for s in results["solutions"]}
    assert len(kept) == 1
    for run in results["runs"]:
        folder = store.path(run["run"])
        mask = Mask.load(folder / "mask.safetensors")
        mask.check_contains(load_file(folder / "point.safetensors"))
        assert {mask.count, run["active"]} == kept, run["way"]
        assert run["train_loss"] == pytest.approx(loss_at(folder / "point.safetensors"), rel=1e-5)


def test_the_same_mask_stays_the_same_and_other_ways_move_it(done):
    _, store, results = done
    for run in results["runs"]:
        stage = store.stage(run["run"])
        before = Mask.load(store.path(stage.inputs["mask"].key) / "mask.safetensors")
        moved = Mask.load(store.path(run["run"]) / "mask.safetensors") != before
        assert moved == (run["way"] in WAYS[4:]), run["way"]


def test_noise_is_as_large_as_it_says(done):
    _, store, results = done
    for run in (run for run in results["runs"] if run["way"] == "noise"):
        stage = store.stage(run["run"])
        bad = load_file(store.path(stage.inputs["start"].key) / "point.safetensors")
        start = load_file(store.path(run["run"]) / "start.safetensors")
        mask = Mask.load(store.path(stage.inputs["mask"].key) / "mask.safetensors")
        for name, active in mask.items():
            added = (start[name] - bad[name])[active]
            size = bad[name][active].square().mean().sqrt()
            ratio = float(added.square().mean().sqrt() / size)
            assert 0.2 < ratio < 0.9  # 0.5, over some twenty draws
            assert not start[name][~active].any()


def test_every_run_spends_the_budget_and_no_more(done):
    """Or its row says how far it is off, by the rounding of schedules as short as these."""
    _, _, results = done
    bad = [s["flops"] for s in results["solutions"] if s["arm"] == "scratch"]
    budget = sum(bad) / len(bad)
    off = {row["way"]: row["off"] for row in results["table"]}
    for run in results["runs"]:
        share = run["flops"] / budget - 1
        assert off[run["way"]] == (pytest.approx(share) if abs(share) > 0.05 else None)
        assert abs(share) < 0.1, run["way"]
    for run in results["runs"]:
        if run["way"] in WAYS[:5]:  # always as sparse, never a dense gradient
            assert run["steps"] == 60


def test_runs_that_are_off_the_budget_are_done_again_and_the_nearest_kept(tmp_path, here, capsys):
    """So short that a mask is updated at every step of a pilot, with a dense gradient each."""
    problem = tiny.write(tmp_path, HARD)
    words = ["--open", "0.1", "--steps", "100"]
    assert study(problem, tmp_path / "runs", *words) == 0
    results = results_in(tmp_path / "runs")
    bad = next(s["flops"] for s in results["solutions"] if s["arm"] == "scratch")
    store = Store(tmp_path / "runs")
    for way, row in ((row["way"], row) for row in results["table"]):
        kept = next(run for run in results["runs"] if run["way"] == way)
        like = store.stage(kept["run"]).settings
        tried = [
            store.metrics(key)["flops"]
            for key in store.runs()
            if {**store.stage(key).settings, "steps": 0} == {**like, "steps": 0}
            and "start" in store.stage(key).inputs
        ]
        assert abs(kept["flops"] - bad) == min(abs(flops - bad) for flops in tried)
        assert len(tried) <= 5  # two pilots, the run, two rounds
        assert (row["off"] is None) == (abs(kept["flops"] - bad) <= 0.05 * bad)
    assert any(row["off"] is None for row in results["table"])


def test_where_no_start_is_bad_nothing_is_tried(tmp_path, here, capsys):
    problem = tiny.write(tmp_path, "return problem(recipe=recipe(steps=60, lr=1e-6))")
    assert study(problem, tmp_path / "runs") == 0
    told = capsys.readouterr().out
    assert "No start is bad" in told
    (shown,) = (tmp_path / "runs").glob("escape-*/report.html")
    assert not any("Against RigL" in text for text in (told, shown.read_text())), "no row"
    results = results_in(tmp_path / "runs")
    assert results["runs"] == results["ways"] == results["unpriced"] == []
    assert len(Store(tmp_path / "runs").runs()) == len(results["solutions"]) == 2


def test_what_was_measured_is_what_is_opened(done):
    _, store, results = done
    for run in (run for run in results["runs"] if run["way"].startswith("open measured")):
        measured = store.stage(run["run"]).inputs["measured"]
        ends = store.stage(run["run"]).inputs
        assert measured.inputs["start"].key == ends["start"].key
        assert measured.inputs["end"].key == measured.inputs["mask"].key == ends["mask"].key
        found = store.metrics(measured.key)
        expected = found["closed"] if found["count"] is None else max(1, found["count"])
        assert run["opened"] == (expected if run["way"] == "open measured" else None)
        if found["count"]:
            climbs = {tried["count"]: tried["climb"] for tried in found["tried"]}
            assert climbs[found["count"]] <= found["tolerance"] < climbs[0]


def test_the_trajectory_leads_from_the_start_to_the_end(done):
    _, store, results = done
    for run in results["runs"]:
        along = run["trajectory"]
        assert along["step"][0] == along["flops"][0] == 0
        assert along["step"][-1] == run["steps"]
        assert along["flops"][-1] == pytest.approx(run["flops"])
        assert along["flops"] == sorted(along["flops"])
        first = loss_at(store.path(run["run"]) / "start.safetensors")
        assert along["train_loss"][0] == pytest.approx(first, rel=1e-5)
        assert along["train_loss"][-1] == pytest.approx(run["train_loss"])
        assert not (store.path(run["run"]) / "trajectory.json").exists()


def test_the_line_leads_from_the_bad_solution_to_the_end(done):
    _, _, results = done
    bad = {s["seed"]: s["train_loss"] for s in results["solutions"] if s["arm"] == "scratch"}
    for run in results["runs"]:
        line = run["line"]["train_loss"]
        assert line[0] == pytest.approx(bad[run["seed"]], rel=1e-5)
        assert line[-1] == pytest.approx(run["train_loss"], rel=1e-5)


def test_it_is_told_in_the_terminal_and_answered_from_the_store(done, here, capsys):
    problem, store, results = done
    before = sorted(path.name for path in (store.root / "stages").iterdir())
    assert study(problem, store.root, "--open", "3", "measured") == 0
    assert sorted(path.name for path in (store.root / "stages").iterdir()) == before
    shown = capsys.readouterr().out
    assert all(way in shown for way in WAYS)
    assert "Knowing how many" in shown
    assert results_in(store.root) == results


def test_pilots_are_not_listed_among_the_runs(done, capsys):
    _, store, results = done
    assert main(["list", "runs", "--store", str(store.root)]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    told = {run["run"] for run in (*results["runs"], *results["solutions"])}
    assert told < listed
    assert not any(
        "trajectory" in store.stage(key).settings
        for key in listed - told - {path.name for path in store.studies()}
    )


def test_a_run_that_is_interrupted_keeps_its_trajectory(done, tmp_path):
    """Stopped after some steps and gone on with: the same numbers as of the run that was not."""
    problem, store, results = done
    key = next(run["run"] for run in results["runs"] if run["way"] == "open 3 weights")
    stage = store.stage(key)

    class Stopped(Exception):
        pass

    def observer(steps, stop=25):
        def observe(step, loss):
            if step == stop:
                raise Stopped

        return observe

    inputs = {role: store.path(of.key) for role, of in stage.inputs.items()}
    job = Job(stage.settings, inputs, tmp_path, Context(problem, None, 0.0), observer)
    with pytest.raises(Stopped):
        runs.train(job)
    assert job.checkpoint().load()["step"] == 25
    again = Job(stage.settings, inputs, tmp_path, job.context, lambda s: observer(s, stop=-1))
    assert runs.train(again) == store.metrics(key)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sparsity", "0"], "above 0 and below 1"),
        (["--sparsity", "1"], "above 0 and below 1"),
        (["--seeds", "0"], "--seeds is at least 1"),
        (["--points", "2"], "--points is at least 3"),
        (["--trajectory", "0"], "--trajectory is at least 1"),
        (["--budget", "0"], "--budget is above 0 and finite"),
        (["--noise", "nan"], "--noise is above 0 and finite"),
        (["--constant-lr", "-1"], "--constant-lr is above 0 and finite"),
        (["--open", "many"], "not 'many'"),
        (["--open", "0"], "At least 1 weight is opened"),
        (["--open", "1.5"], "at most 1, not 1.5"),
        (["--open", "3", "3"], "none twice"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(words, message, tmp_path, capsys):
    problem = tiny.write(tmp_path)
    assert study(problem, tmp_path / "runs", *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_more_than_is_closed_cannot_be_opened(done, here, capsys, tmp_path):
    """Said before anything is trained."""
    problem, _, _ = done
    assert study(problem, tmp_path / "runs", "--open", "4000") == 2
    shown = capsys.readouterr().err.splitlines()
    said = r"sparsescape: 4000 weights are to be opened and \d+ are closed; .*"
    assert re.fullmatch(said, shown[-1])
    assert not Store(tmp_path / "runs").keys()


def test_what_is_opened_is_a_count_a_share_or_measured():
    assert [opening(word) for word in ("7", "0.5", "1.0", "measured")] == [7, 0.5, 1.0, "measured"]
    with pytest.raises(InputError, match="at least one number"):
        Settings("digits-conv", 0.9, "erk", 1, None, 1.0, (), 0.5, 0.1, 4, 5)
    assert math.isclose(opening("1e-3"), 0.001)
