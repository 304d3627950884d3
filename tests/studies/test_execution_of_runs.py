"""Training runs whose layers are truly sparse come to what masked ones come to."""

import pytest

import tiny
from sparsescape.errors import InputError
from sparsescape.masks import Mask
from sparsescape.points import load_point
from sparsescape.problems import catalogue
from sparsescape.studies import single
from sparsescape.studies.stages import diagnoses, execution, runs
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.execution import held_sparse
from sparsescape.studies.stages.job import Job
from sparsescape.studies.store import read_json, write_json

BODY = """
def network():
    return ss.init.he_normal(nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 12, 2, padding=1), nn.ReLU(),
        nn.Conv2d(12, 12, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 20), nn.ReLU(),
        nn.Linear(20, 3),
    ))
inputs, _ = data(0, 400)
targets = (inputs[:, :2] > 0).sum(1)
return problem(
    model=network, train=(inputs, targets), test=(inputs[:50], targets[:50]),
    recipe=recipe(steps=48, prune_every=4),
)
"""
LAYERS = ["1.weight", "3.weight", "6.weight", "8.weight"]
FIXED = ["static", "random", "magnitude", "snip", "force", "grasp", "synflow"]
MOVING = ["set", "rigl", "mest", "dsr", "rigl-itop", "set-itop"]
DENSE = ["dense", "gradual-magnitude", "granet", "top-kast", "srigl", "str"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory) -> str:
    return tiny.write(tmp_path_factory.mktemp("problem"), BODY)


def settings(problem, method, execution, **more):
    sparsity = 0.0 if method == "dense" else 0.8
    return {
        "problem": catalogue.describe(problem), "steps": None, "method": method,
        "sparsity": sparsity, "distribution": "uniform", "start": "initialization", "seed": 0,
        "execution": execution, **more,
    }  # fmt: skip


def silent(steps):
    return lambda step, loss: None


def trained(out, problem, method, execution, observer=silent, inputs=None, **more):
    out.mkdir(parents=True, exist_ok=True)
    what, context = settings(problem, method, execution, **more), Context(problem, None, 0.0)
    return runs.train(Job(what, inputs or {}, out, context, observer))


def both(folder, problem, method, **more):
    ways = ("sparse", "masked")
    return [trained(folder / way, problem, method, way, **more) for way in ways]


def same(sparse, masked):
    assert masked["run_sparse"] == []
    for measure in ("active", "weights", "flops", "steps", "initial_loss"):
        assert sparse[measure] == masked[measure], measure
    for measure in ("train_loss", "test_loss"):
        assert sparse[measure] == pytest.approx(masked[measure], rel=1e-4), measure


@pytest.mark.parametrize("method", FIXED + MOVING)
def test_it_comes_to_the_same(problem, tmp_path, method):
    sparse, masked = both(tmp_path, problem, method)
    assert sparse["run_sparse"] == LAYERS
    same(sparse, masked)
    masks = [Mask.load(tmp_path / way / "mask.safetensors") for way in ("sparse", "masked")]
    assert masks[0] == masks[1]
    point = load_point(tmp_path / "sparse" / "point.safetensors")
    assert all((point[name][~masks[0][name]] == 0).all() for name in LAYERS)


def test_deep_rewiring_draws_its_own_numbers_and_keeps_the_count(problem, tmp_path):
    sparse, masked = both(tmp_path, problem, "deep-r")
    assert sparse["run_sparse"] == LAYERS
    assert sparse["active"] == masked["active"]


@pytest.mark.parametrize("method", DENSE)
def test_what_needs_dense_weights_is_masked_whatever_is_asked(problem, tmp_path, method):
    assert trained(tmp_path, problem, method, "sparse")["run_sparse"] == []


@pytest.mark.parametrize("method", ["snfs", "deep-r"])
def test_what_moves_or_asks_at_every_step_is_masked_by_the_rule(problem, tmp_path, method):
    assert trained(tmp_path / "sparse", problem, method, "sparse")["run_sparse"] == LAYERS
    for name, layers in (("set", LAYERS[:2]), (method, [])):
        assert trained(tmp_path / name, problem, name, "auto", sparsity=0.9)["run_sparse"] == layers


@pytest.mark.parametrize("method", ["snip", "rigl"])
@pytest.mark.parametrize(
    ("change", "with_"),
    [
        ("nn.Conv2d(12, 12, 2)", "nn.Conv2d(12, 12, 2, groups=2, bias=False), nn.BatchNorm2d(12)"),
        ("prune_every=4", "prune_every=4, weight_decay=0.01, momentum=0.5, clip=0.5"),
        ("prune_every=4", "prune_every=4, nesterov=True, schedule='step', decay_at=(9,)"),
        ("model=network,", "model=network, dense=('1.weight',),"),
    ],
)
def test_it_comes_to_the_same_whatever_the_network_and_the_recipe(tmp_path, method, change, with_):
    other = tiny.write(tmp_path, BODY.replace(change, with_))
    sparse, masked = both(tmp_path, other, method)
    assert sparse["run_sparse"]
    same(sparse, masked)


LOOKS_IN_TRAINING = """
class Looks(nn.Sequential):
    def forward(self, x):
        for place, layer in enumerate(self):
            looks = self.training and place == 1
            x = F.conv2d(x, 0.9 * layer.weight, layer.bias, padding=1) if looks else layer(x)
        return x
"""
MEASURES_IN_TRAINING = """
class Looks(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * (self[1].weight.std() if self.training else 1)
"""
DROPS_OUT = """
class Looks(nn.Sequential):
    def forward(self, x):
        for place, layer in enumerate(self):
            x = F.dropout(layer(x), 0.2, self.training and place == 3)
        return x
"""


@pytest.mark.parametrize("network", [LOOKS_IN_TRAINING, MEASURES_IN_TRAINING, DROPS_OUT])
def test_a_network_that_would_train_as_another_one_is_masked_or_refused(tmp_path, network):
    body = network + BODY.replace("nn.Sequential(\n", "Looks(\n")
    looks = tiny.write(tmp_path, body)
    assert trained(tmp_path / "auto", looks, "set", "auto", sparsity=0.9)["run_sparse"] == []
    with pytest.raises(InputError, match="cannot be run sparse"):
        trained(tmp_path / "sparse", looks, "set", "sparse")
    job = Job(settings(looks, "set", "sparse"), {}, tmp_path, Context(looks, None, 0.0), silent)
    with pytest.raises(InputError, match="cannot be run sparse"):
        runs.check(job)


@pytest.mark.parametrize("recipe", ["optimizer='adamw'", "precision='bfloat16'"])
def test_recipes_that_tell_weights_by_dimensions_or_round_more_are_masked(tmp_path, recipe):
    other = tiny.write(tmp_path, BODY.replace("prune_every=4", f"prune_every=4, {recipe}"))
    assert trained(tmp_path / "run", other, "set", "sparse")["run_sparse"] == []


@pytest.mark.parametrize("method", ["static", "set", "rigl"])
def test_from_a_point_inside_a_mask_it_comes_to_the_same(problem, tmp_path, method):
    first = trained(tmp_path / "first", problem, "gradual-magnitude", "auto")
    inputs = {"mask": tmp_path / "first", "start": tmp_path / "first"}
    write_json(tmp_path / "first" / "metrics.json", first)
    more = {"start": "point", "constant_lr": 0.1, "noise": 0.5, "part": [0.25, 1]}
    if method == "rigl":
        more["options"] = {"drop_fraction": 0.1}
    sparse, masked = both(tmp_path, problem, method, inputs=inputs, **more)
    assert sparse["run_sparse"] == LAYERS
    same(sparse, masked)


def test_what_is_recorded_on_the_way_is_of_dense_points(problem, tmp_path):
    sparse, masked = both(tmp_path, problem, "rigl", trajectory=4, snapshots=3)
    same(sparse, masked)
    for measure in ("step", "flops", "train_loss"):
        assert sparse["trajectory"][measure] == pytest.approx(masked["trajectory"][measure], 1e-4)
    kept = sorted(path.name for path in (tmp_path / "sparse").glob("snapshot-*"))
    assert len(kept) == 3
    for name in kept:
        one, other = (load_point(tmp_path / way / name) for way in ("sparse", "masked"))
        assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in other.items()}
        assert all(t.numpy() == pytest.approx(other[n].numpy(), abs=1e-4) for n, t in one.items())


class Stopped(Exception):
    pass


def stop_at(stop):
    def observe(step, loss):
        if step == stop:
            raise Stopped

    return observe


@pytest.mark.parametrize("method", ["snip", "set", "rigl", "dsr", "deep-r"])
@pytest.mark.parametrize("stop", [5, 8, 15])
def test_interrupted_it_goes_on_to_the_same_bits(problem, tmp_path, method, stop):
    whole = trained(tmp_path / "whole", problem, method, "sparse")
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", problem, method, "sparse", lambda steps: stop_at(stop))
    assert trained(tmp_path / "parts", problem, method, "sparse") == whole
    points = [(tmp_path / way / "point.safetensors").read_bytes() for way in ("whole", "parts")]
    assert points[0] == points[1]


@pytest.mark.parametrize(("begun", "ended"), [("sparse", "masked"), ("masked", "sparse")])
def test_it_goes_on_as_it_began(problem, tmp_path, monkeypatch, begun, ended):
    """As where another machine takes over, on which the rule says something else."""
    whole = trained(tmp_path / "whole", problem, "set", begun)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", problem, "set", begun, lambda steps: stop_at(9))
    asked = held_sparse

    def otherwise(problem, model, mask, execution):
        return asked(problem, model, mask, ended)

    monkeypatch.setattr(execution, "held_sparse", otherwise)
    monkeypatch.setattr(execution, "_can", lambda sparsifier, job: True)
    assert trained(tmp_path / "parts", problem, "set", begun) == whole


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "words",
    [
        ("methods", "--methods", "set", "--flops", "0"),
        ("escape", "--open", "3", "--trajectory", "2", "--points", "3"),
    ],
)
def test_studies_run_sparse_what_can_be(problem, tmp_path, words):
    from sparsescape.cli import main

    name, *more = words
    asked = ["study", name, "--problem", problem, "--sparsity", "0.8", "--seeds", "1", *more]
    assert main([*asked, "--store", str(tmp_path), "--execution", "sparse"]) == 0
    (found,) = tmp_path.glob(f"{name}-*/results.json")
    assert "--execution sparse" in read_json(found)["command"]
    stages = [read_json(path) for path in tmp_path.glob("stages/train-*/metrics.json")]
    assert any(stage["run_sparse"] == LAYERS for stage in stages)


def test_what_is_asked_of_a_run_is_run_as_it_was_unless_told_otherwise(problem, tmp_path):
    """Also by the commands that its diagnosis gives."""
    given = {"sparsity": 0.8, "distribution": "uniform", "steps": None}
    masked, ruled = (
        single.training(problem, method="static", seed=0, execution=how, **given)
        for how in ("masked", "auto")
    )
    search = {"curve_steps": 1, "curve_lr": 0.1, "degree": 2, "seed": 0}
    common = {"space": "sparse", "points": 3}
    several = {"curve_steps": 1, "seed": 0}
    for asked in (
        lambda run, **how: single.path(run, run, search=search, **common, **how),
        lambda run, **how: single.best_path(run, run, **several, **common, **how),
        lambda run, **how: single.diagnosis(run, None, curve_steps=1, seed=0, **how),
    ):
        assert asked(masked).settings["execution"] == "masked"
        assert asked(masked, execution="sparse").settings["execution"] == "sparse"
        assert "execution" not in asked(masked, execution="auto").settings
        assert "execution" not in asked(ruled).settings

    for stage, flag in ((masked, " --execution masked"), (ruled, "")):
        folder = tmp_path / stage.key
        folder.mkdir()
        write_json(folder / "stage.json", {"settings": stage.settings})
        job = Job({}, {"run": folder}, tmp_path, Context(problem), lambda steps: None)
        assert diagnoses._words(job, 20)["execution"] == flag
