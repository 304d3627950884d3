"""Iterative magnitude pruning in rounds: what each round starts from, and what all of it costs."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sparsescape as ss
import tiny
from sparsescape.cli import main
from sparsescape.points import save_point
from sparsescape.problems import catalogue
from sparsescape.studies import imp, methods
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.job import Job
from sparsescape.studies.stages.pruning import prune
from sparsescape.studies.store import Store

SPARSITY = 0.36  # two rounds of a fifth each
SHORT = "return problem(recipe=recipe(steps=20))"


def final(problem, method, sparsity=SPARSITY, steps=None):
    common = {"problem": catalogue.describe(problem)}
    check = Stage("check", {**common, "steps": steps})
    return imp.final(method, sparsity, 0, common, check, steps)


def chain(stage):
    """The training runs of the rounds, the dense one first."""
    found = [stage]
    while "mask" in found[0].inputs:
        found.insert(0, found[0].inputs["mask"].inputs["trained"])
    return found


@pytest.fixture
def done(tmp_path, capsys, here):
    """From a method to the store and the runs of its rounds."""

    def of(method):
        problem, root = tiny.write(tmp_path, SHORT), tmp_path / "runs"
        words = ["--method", method, "--sparsity", str(SPARSITY), "--problem", problem]
        assert main(["train", *words, "--store", str(root)]) == 0
        said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        return Store(root), chain(final(problem, method)), said

    return of


def point(store, stage, name="point"):
    return load_file(str(store.path(stage.key) / f"{name}.safetensors"))


def mask(store, stage):
    return ss.Mask.load(store.path(stage.key) / "mask.safetensors")


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------------------- one pruning


@pytest.fixture
def table(tmp_path):
    """A trained network of one 4×4 weight and its mask, and the stage that prunes it."""
    body = "return problem(model=lambda: nn.Linear(4, 4, bias=False), train=data4(), test=data4())"
    problem = tiny.write(tmp_path, body)
    file = Path(problem.partition(":")[0])
    more = "\n\ndef data4():\n    return torch.ones(8, 4), torch.zeros(8).long()\n"
    file.write_text(file.read_text(encoding="utf-8") + more, encoding="utf-8")
    trained, out = tmp_path / "trained", tmp_path / "out"
    trained.mkdir()
    out.mkdir()
    weight = torch.tensor([[4.0, -3, 0, 0], [0, 1, 0, -2], [0, 0, 8, 0], [7, 0, 0, -5]])
    save_point({"weight": weight}, trained / "point.safetensors")
    ss.Mask({"weight": weight != 0}).save(trained / "mask.safetensors")
    metrics = {"flops": 300.0, "steps": 20, "diverged": False}
    (trained / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")

    def pruned(sparsity):
        settings = {"sparsity": sparsity, "distribution": "global", "steps": None}
        inputs = {"trained": trained}
        job = Job(settings, inputs, out, Context(problem), lambda n: lambda step, loss: None)
        return prune(job), ss.Mask.load(out / "mask.safetensors"), weight

    return pruned


def test_the_smallest_of_what_is_left_are_closed(table):
    # 7 of 16 are left; at 11/16 five are: 1 and −2 are closed.
    metrics, found, _ = table(11 / 16)
    expected = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]).bool()
    assert torch.equal(found["weight"], expected)
    assert metrics == {
        "active": 5, "sparsity": 11 / 16, "flops_before": 300.0, "steps_before": 20,
        "diverged": False,
    }  # fmt: skip


def test_what_was_closed_before_stays_closed(table):
    # Asked for more than the mask has left, no closed weight is opened.
    _, found, weight = table(0.5)
    assert torch.equal(found["weight"], weight != 0)


# ---------------------------------------------------------------------------- the rounds


@pytest.mark.parametrize(("sparsity", "expected"), [(0.0, 0), (0.1, 1), (0.2, 1), (0.95, 14)])
def test_a_fifth_is_closed_until_the_sparsity_is_reached(sparsity, expected):
    stage = final("digits-conv", "imp-weight-rewinding", sparsity)
    reached = [run.settings["sparsity"] for run in chain(stage)]
    assert len(reached) == expected + 1 == imp.rounds(sparsity) + 1
    assert reached[:-1] == pytest.approx([1 - 0.8**r for r in range(expected)])
    assert reached[-1] == sparsity


@pytest.mark.parametrize("method", imp.REWINDING)
def test_many_rounds_are_few_stages(method):
    # Every round has two ways to the one before: 2ⁿ in all, none of which is walked twice.
    stages = with_inputs([final("digits-conv", method, 0.999)])
    rounds = imp.rounds(0.999)
    early = method == "imp-weight-rewinding"
    assert len(stages) == 1 + 1 + 2 * rounds + early  # check, dense, the rounds, the rewind point


def test_the_dense_run_is_that_of_the_study():
    settings = methods.Settings("digits-conv", 0.9, "erk", 1, None, 0.1, tuple(imp.REWINDING))
    cells = {cell.method: cell.stage for cell in methods.equal_steps(settings)}
    for method in imp.REWINDING:
        assert chain(cells[method])[0].key == cells["dense"].key


def test_weights_are_rewound_to_the_dense_run_at_the_rewind_point(done):
    store, runs, _ = done("imp-weight-rewinding")
    early = runs[1].inputs["start"]
    assert store.metrics(early.key)["steps"] == 1  # 5 % of 20
    for run in runs[1:]:
        assert run.inputs["start"].key == early.key
        start = point(store, early)
        mask(store, run).apply_(start)
        assert same(point(store, run, "start"), start)
    assert same(point(store, early, "start"), point(store, runs[0], "start"))


def test_with_the_learning_rate_rewound_the_weights_go_on(done):
    store, runs, _ = done("imp-lr-rewinding")
    for before, run in itertools.pairwise(runs):
        start = point(store, before)
        mask(store, run).apply_(start)
        assert same(point(store, run, "start"), start)


@pytest.mark.parametrize("method", imp.REWINDING)
def test_masks_shrink_by_a_fifth_to_the_sparsity_asked_for(done, method):
    store, runs, said = done(method)
    masks = [mask(store, run) for run in runs]
    assert [m.count for m in masks] == [128, round(128 * 0.8), round(128 * 0.64)]
    for before, after in itertools.pairwise(masks):
        assert after & before == after
    assert int(said["active"]) == masks[-1].count


@pytest.mark.parametrize("method", imp.REWINDING)
def test_the_cost_is_that_of_all_rounds(done, method):
    store, runs, said = done(method)
    spent = [store.metrics(run.key) for run in runs]
    assert [run["steps"] for run in spent] == [20, 39, 58]
    # A step's FLOPs are proportional to the active weights of each layer, here of both.
    dense = spent[0]["flops"] / 20
    own = [after["flops"] - before["flops"] for before, after in itertools.pairwise(spent)]
    for flops, run in zip(own, runs[1:], strict=True):
        assert 0 < flops < 19 * dense * (mask(store, run).density + 0.1)
    assert float(said["flops"]) == spent[-1]["flops"]


def test_a_round_after_one_that_diverged_says_so(tmp_path, here):
    problem = tiny.write(tmp_path, "return problem(recipe=recipe(lr=1e6))")
    root = tmp_path / "runs"
    words = ["--method", "imp-weight-rewinding", "--sparsity", "0.5", "--problem", problem]
    assert main(["train", *words, "--store", str(root)]) == 0
    assert Store(root).metrics(final(problem, "imp-weight-rewinding", 0.5).key)["diverged"]


def test_at_equal_flops_all_rounds_together_fit_the_budget(tmp_path, here):
    words = ["study", "methods", "--methods", *imp.REWINDING, "--seeds", "1", "--flops", "0.8"]
    where = ["--problem", tiny.write(tmp_path, SHORT), "--store", str(tmp_path / "runs")]
    assert main([*words, "--sparsity", str(SPARSITY), *where]) == 0
    (file,) = (tmp_path / "runs").glob("methods-*/results.json")
    runs = {
        (r["method"], r["budget"]): r for r in json.loads(file.read_text(encoding="utf-8"))["runs"]
    }
    dense = runs["dense", "steps"]
    for method in imp.REWINDING:
        assert runs[method, "steps"]["steps"] == 58
        assert runs[method, "steps"]["flops"] > dense["flops"]
        # In whole steps a round, of the few there are.
        assert abs(runs[method, "flops"]["flops"] / dense["flops"] - 0.8) < 0.1
        assert runs[method, "flops"]["active"] == runs[method, "steps"]["active"]


def test_it_is_no_sparsifier(tmp_path):
    from sparsescape.sparsifiers.catalogue import Plan, make_method

    plan = Plan(sparsity=0.5, distribution="erk", steps=10, begin=2, end=8, every=1)
    for method in imp.REWINDING:
        with pytest.raises(ss.InputError, match="no sparsifier: it is rounds"):
            make_method(method, plan)
