"""What a study will take: foreseen without doing it, from short runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import tiny
from sparsescape.cli import main
from sparsescape.problems.recipe import Recipe
from sparsescape.studies import difficulty, escape, methods
from sparsescape.studies.executors.local import LocalExecutor
from sparsescape.studies.forecast import Forecaster, at_size
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.makespan import makespan
from sparsescape.studies.sizes import Shorter, alike, fewer
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store

pytestmark = pytest.mark.usefixtures("here")


def forecaster(problem: str, store: Store, folder: Path) -> Forecaster:
    context, executor = Context(problem), LocalExecutor(2)

    def compute(stages, short):
        executor.run(stages, short, replace(context, rehearse=True), lambda event: None)

    return Forecaster(store, context, executor, compute, folder)


def studied(problem: str, **changes) -> difficulty.Settings:
    given = {"sparsity": 0.8, "distribution": "erk", "seeds": 2, "steps": 120, "points": 9}
    return difficulty.Settings(
        problem=problem, curve_steps=20, curve_lr=0.05, **{**given, **changes}
    )


def stages_of(settings: difficulty.Settings) -> list[Stage]:
    return [stage for seed in difficulty.plan(settings) for stage in seed.all()]


def test_all_stages_are_foreseen_and_none_is_done(tmp_path):
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    stages = stages_of(studied(problem))
    made = forecaster(problem, store, tmp_path / "plan")
    made.do(stages)
    found = made.forecast()
    assert len(found.stages) == len(with_inputs(stages))
    assert (found.parameters, found.weights, found.slots) == (146, 128, 2)
    assert found.cpu_hours > 0
    assert found.memory > 0
    assert found.gpu_hours == 0
    assert not store.root.exists()
    short = [Store(tmp_path / "plan" / "short").stage(key) for key in made.short.runs()]
    assert max(stage.settings["steps"] for stage in short) < 120
    assert {stage.settings["seed"] for stage in short} == {0, 1}


def test_flops_are_foreseen_as_they_are_spent(tmp_path):
    """Those of dense and of static training, which follow from the number of steps alone."""
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    stages = stages_of(studied(problem, seeds=1))
    made = forecaster(problem, store, tmp_path / "plan")
    predicted = made.do(stages)
    LocalExecutor(1).run(stages, store, Context(problem), lambda event: None)
    for stage in stages:
        if stage.kind == "train":
            spent, foreseen = (s.metrics(stage.key) for s in (store, predicted))
            close = 1e-9 if stage.settings["method"] in ("dense", "static") else 0.1
            assert foreseen["flops"] == pytest.approx(spent["flops"], rel=close)
            assert foreseen["steps"] == spent["steps"] == 120


@pytest.mark.parametrize(("times", "enough"), [((5.0, 5.2), False), ((0.1, 1.2), True)])
def test_a_short_run_says_enough_by_what_it_takes_beyond_a_shorter_one(
    tmp_path, monkeypatch, times, enough
):
    """What both take to look at all data says nothing of a step."""
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    made = forecaster(problem, store, tmp_path / "plan")
    stage = stages_of(studied(problem, steps=12000))[0]
    runs = made._runs["of this kind"] = [made.shorter(stage, n) for n in (100, 400)]
    took = {run.key: {"seconds": t} for run, t in zip(runs, times, strict=True)}
    monkeypatch.setattr(made, "_provenance", took.__getitem__)
    assert made._is_enough("of this kind", stage) == enough


def test_what_is_there_costs_nothing(tmp_path):
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    stages = stages_of(studied(problem, seeds=1, steps=20))
    LocalExecutor(1).run(stages[:1], store, Context(problem), lambda event: None)
    made = forecaster(problem, store, tmp_path / "plan")
    made.do(stages)
    done = [stage for stage in made.forecast().stages if stage.done]
    assert sorted(stage.kind for stage in done) == ["check", "train"]
    assert all(stage.seconds == stage.cpu_seconds == stage.flops == 0 for stage in done)


def test_later_stages_are_planned_by_what_the_earlier_ones_would_spend(tmp_path):
    """At equal FLOPs a static run has as many steps as it has when the study is done."""
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    settings = methods.Settings(problem, 0.5, "erk", 1, 400, 0.5, ("imp-lr-rewinding",))
    cells = methods.equal_steps(settings)
    made = forecaster(problem, store, tmp_path / "plan")
    predicted = made.do([cell.stage for cell in cells])
    foreseen = methods.equal_flops(settings, cells, predicted)
    LocalExecutor(1).run([c.stage for c in cells], store, Context(problem), lambda event: None)
    real = methods.equal_flops(settings, cells, store)
    steps = [{c.method: c.stage.settings["steps"] for c in found} for found in (foreseen, real)]
    assert steps[0].keys() == steps[1].keys() == {"static", "imp-lr-rewinding"}
    assert steps[0] == pytest.approx(steps[1], rel=0.1)


def test_a_plan_takes_every_start_to_be_bad(tmp_path):
    """Short runs say nothing of where long ones end, and the plan is of the most there may be."""
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    size = {"trajectory": 3, "points": 3, "noise": 0.5, "constant_lr": 0.1}
    settings = escape.Settings(problem, 0.03, "erk", 1, 40, 1.0, (3,), **size)
    made = forecaster(problem, store, tmp_path / "plan")
    (start,) = escape.starts(settings)
    predicted = made.do([start.bad, start.good])
    assert escape.pilots(settings, predicted)


def test_the_command_prints_the_plan_and_leaves_nothing(tmp_path, capsys):
    problem = tiny.write(tmp_path)
    assert main([*tiny.study(problem, tmp_path / "runs"), "--plan"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"train a network +10 +0", shown)
    words = " ".join(shown.split())
    (runs,) = re.findall(r"a prediction, .* (\d+) of its stages were run for a short time", words)
    assert int(runs) > 5
    for what in ("146 parameters", "CPU-hours, of all stages together", "GiB at most", "stages? "):
        assert re.search(what, words), what
    assert "GPU" not in words  # none was asked for
    assert not list((tmp_path / "runs").iterdir())


# ---------------------------------------------------------------------------- its parts


def test_a_shorter_stage_has_short_inputs_of_its_seed():
    end = Stage("train", {"steps": 400, "seed": 7, "method": "rigl"})
    line = Stage("along", {"steps": 400, "t": [i / 20 for i in range(21)]}, {"start": end})
    short = Shorter(Recipe(steps=400, prune_every=10))(line, 8, seed=1)
    assert len(short.settings["t"]) == 8
    assert short.inputs["start"].settings == {"steps": 40, "seed": 1, "method": "rigl"}


def test_stages_that_differ_by_seed_or_size_are_alike():
    def run(**changes) -> Stage:
        return Stage("train", {"steps": 400, "seed": 0, "method": "rigl", **changes})

    assert alike(run()) == alike(run(seed=3)) == alike(run(steps=90))
    assert alike(run()) != alike(run(method="set"))


@pytest.mark.parametrize("count", [2, 3, 9, 30])
def test_fewer_places_have_the_ends_and_ascend(count):
    t = [i / 10 for i in range(-2, 13)]
    kept = fewer(t, count)
    assert sorted(set(kept)) == kept
    assert {0.0, 1.0} <= set(kept) <= set(t)
    assert len(kept) == min(count, len(t))


def test_time_that_falls_with_the_size_is_not_carried_on():
    assert at_size(100, [10, 40], [5.0, 4.0]) == 4.0


def test_one_slot_takes_the_sum_and_many_the_longest_chain():
    times = {"a": 1.0, "b": 2.0, "c": 4.0}
    needs = {"a": set(), "b": {"a"}, "c": {"a"}}
    assert makespan(times, needs, 1) == 7.0
    assert makespan(times, needs, 9) == 5.0
