"""What a study will take at a rate that is given."""

import pytest

import sparsescape as ss
import tiny
from sparsescape.cli import main
from sparsescape.studies import difficulty
from sparsescape.studies.arithmetic import NEEDS_RUNS, Arithmetic
from sparsescape.studies.executors.local import LocalExecutor
from sparsescape.studies.graph import with_inputs
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store

pytestmark = pytest.mark.usefixtures("here")
STEPS, CURVE_STEPS, POINTS = 120, 20, 9


def stages_of(problem: str, seeds: int = 2) -> list:
    settings = difficulty.Settings(
        problem=problem,
        sparsity=0.8,
        distribution="erk",
        seeds=seeds,
        steps=STEPS,
        points=POINTS,
        curve_steps=CURVE_STEPS,
        curve_lr=0.05,
    )
    return [stage for seed in difficulty.plan(settings) for stage in seed.all()]


def planned(tmp_path, store, stages, rate=1e6, slots=1):
    planner = Arithmetic(store, Context(tiny.write(tmp_path)), slots, rate, tmp_path / "plan")
    planner.do(stages)
    return planner


def test_stages_take_their_dense_operations_at_the_rate(tmp_path):
    stages = stages_of(tiny.write(tmp_path))
    planner = planned(tmp_path, Store(tmp_path / "runs"), stages)
    found = planner.forecast()
    problem, example = planner.problem, found.step_flops
    batch = problem.recipe.batch_size * example
    by_kind = {stage.kind: stage for stage in found.stages}
    assert by_kind["train"].flops == STEPS * batch
    assert by_kind["fit"].flops == CURVE_STEPS * batch
    looked_at = by_kind["along"].flops / (problem.count("train") + problem.count("test"))
    assert 0 < looked_at < POINTS * example  # forward only, and the test set is looked at as well
    assert len(found.stages) == len(with_inputs(stages))
    assert found.gpu_hours == pytest.approx(sum(s.flops for s in found.stages) / 1e6 / 3600)
    assert found.wall == pytest.approx(found.seconds)
    assert (found.memory, found.cpu_hours) == (None, None)


def test_several_at_once_end_earlier_and_a_faster_machine_too(tmp_path):
    stages, store = stages_of(tiny.write(tmp_path)), Store(tmp_path / "runs")
    alone, many, fast = (
        planned(tmp_path, store, stages, rate, slots).forecast()
        for rate, slots in ((1e6, 1), (1e6, 4), (4e6, 1))
    )
    assert alone.wall / 4 <= many.wall < alone.wall / 2
    assert fast.wall == pytest.approx(alone.wall / 4)
    assert many.gpu_hours == pytest.approx(alone.gpu_hours)


def test_what_is_there_costs_nothing(tmp_path):
    problem, store = tiny.write(tmp_path), Store(tmp_path / "runs")
    stages = stages_of(problem, seeds=1)
    before = planned(tmp_path, store, stages).forecast()
    LocalExecutor(1).run(stages[:1], store, Context(problem), lambda event: None)
    after = planned(tmp_path, store, stages).forecast()
    assert [s.flops for s in after.stages if s.done] == [0, 0]
    assert before.wall > after.wall


def test_the_command_prints_the_plan_and_leaves_nothing(tmp_path, capsys):
    problem = tiny.write(tmp_path)
    rate = ["--plan", "--plan-rate", "1e9"]
    assert main([*tiny.study(problem, tmp_path / "runs"), *rate]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert "by arithmetic" in words
    assert "at the 1e+09 a second of --plan-rate" in words
    for what in ("146 parameters", "GPU-hours, 1 GPU for each stage", "time to the end"):
        assert what in words
    assert "CPU-hours" not in shown
    assert "memory" not in shown
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("study", ["methods", "dimensions", "escape"])
def test_a_study_whose_stages_follow_from_results_is_refused(tmp_path, capsys, study):
    problem = tiny.write(tmp_path)
    given = ["study", study, "--problem", problem, "--store", str(tmp_path / "runs")]
    assert main([*given, "--plan", "--plan-rate", "1e9"]) != 0
    assert NEEDS_RUNS in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("rate", [-1.0, 0.0, float("inf"), float("nan")])
def test_a_rate_is_above_0(tmp_path, rate):
    with pytest.raises(ss.InputError, match="--plan-rate is a number above 0, not"):
        Arithmetic(Store(tmp_path), Context(tiny.write(tmp_path)), 1, rate, tmp_path / "plan")
