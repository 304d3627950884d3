"""A problem of one's own, and what is said of one that cannot be trained."""

from dataclasses import FrozenInstanceError, replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import sparsescape as ss
from helpers import bits, classes, draw, perceptron


def layers():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def problem():
    return ss.Problem(
        model=layers, train=(draw(20, 6), classes(20, 3)), test=(draw(9, 6, seed=1), classes(9, 3))
    )


def test_a_good_problem_passes(problem):
    problem.check()
    data = problem.train[0], torch.zeros(20, 3)
    replace(problem, loss=mse_loss, train=data, test=data).check()


def test_models_hang_on_seed_and_purpose_and_not_on_torchs_generator(problem):
    before = torch.get_rng_state()
    first = bits(problem.make_model(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert bits(problem.make_model(0)) == first
    assert bits(problem.make_model(1)) != first
    assert bits(problem.make_model(0, "another start")) != first


def test_checking_leaves_torchs_generator(problem):
    before = torch.get_rng_state()
    problem.check()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_objective_is_over_the_whole_of_the_split_that_is_asked_for(problem):
    model = problem.make_model(0)
    for split, (inputs, targets) in (("train", problem.train), ("test", problem.test)):
        found = problem.objective(model, split).evaluate(model)
        expected = cross_entropy(model(inputs), targets).item()
        assert found.loss == pytest.approx(expected, rel=1e-6)
        assert found.count == len(targets)
    assert problem.objective(model)(model) == problem.objective(model, "train")(model)


OTHERS = {
    "other train data": {"train": (draw(20, 6, seed=5), classes(20, 3))},
    "other test data": {"test": (draw(9, 6, seed=1), classes(9, 3) * 0)},
    "another model": {"model": lambda: nn.Sequential(*layers()[:2], nn.Linear(8, 3).double())},
}


@pytest.mark.parametrize("message", OTHERS)
def test_what_differs_from_itself_made_again_is_refused(problem, message):
    problem.check_again(replace(problem))
    with pytest.raises(ss.InputError, match=f"makes {message} each time") as refused:
        problem.check_again(replace(problem, **OTHERS[message]))
    assert "\n" not in str(refused.value)


def test_a_problem_is_frozen(problem):
    with pytest.raises(FrozenInstanceError):
        problem.train = problem.test


def returns_nan():
    model = layers()
    nn.init.constant_(model[0].weight, float("nan"))
    return model


class ReturnsTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = layers()

    def forward(self, inputs):
        return self.body(inputs), inputs


INPUTS, TARGETS = draw(20, 6), classes(20, 3)
REAL = INPUTS, INPUTS[:, 0]
ONLY = layers()
ONE_WIDE = INPUTS, INPUTS[:, :1]


def late(values, wrong):
    """The values with one that is wrong in an example that is not among the first."""
    changed = values.clone()
    changed[17] = wrong
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": (INPUTS[:0], TARGETS[:0])}, "The training data cannot be used: .* empty"),
        ({"test": (INPUTS[:0], TARGETS[:0])}, "The test data cannot be used: .* empty"),
        ({"train": (INPUTS, TARGETS[:9])}, "training data .* 20 inputs but 9 targets"),
        ({"test": (INPUTS, TARGETS[:9])}, "test data .* 20 inputs but 9 targets"),
        ({"train": (INPUTS, TARGETS.float())}, "loss cannot take targets of type torch.float32"),
        ({"train": (INPUTS, TARGETS[:, None])}, r"loss cannot take targets .* shape \(1,\)"),
        ({"train": (INPUTS, TARGETS + 3)}, "loss cannot take targets"),
        ({"train": (INPUTS[:, :5], TARGETS)}, "model cannot take the inputs"),
        ({"test": (INPUTS[:, :5], TARGETS)}, "not fit the test data: The model cannot take"),
        ({"test": (INPUTS, TARGETS + 3)}, "not fit the test data: The loss cannot take targets"),
        (
            {"model": lambda: nn.Linear(6, 1), "train": REAL, "test": REAL, "loss": mse_loss},
            r"broadcasts outputs of shape \(10, 1\) and targets of shape \(10,\)",
        ),
        ({"model": returns_nan}, "model returns NaN or infinite numbers"),
        ({"model": lambda: nn.BatchNorm1d(6)}, "no parameter with two dimensions"),
        ({"model": lambda: torch.zeros(2)}, "model function made a Tensor"),
        ({"model": lambda: perceptron().state_dict()}, "model function made a OrderedDict"),
        ({"model": ReturnsTwo}, "[Tt]he model"),
        ({"dense": ("fc",)}, "'fc' matches none"),
        ({"dense": ("0", "2")}, "no parameter with two dimensions"),
        (
            {"loss": lambda out, y: cross_entropy(out, y, reduction="none")},
            "must be one finite number, the mean over a batch",
        ),
        ({"loss": lambda out, y: out.sum() * float("inf")}, "must be one finite number"),
        ({"loss": lambda out, y: (out.argmax(1) != y).float().mean()}, "loss has no gradient"),
        ({"train": (late(INPUTS, float("nan")), TARGETS)}, "training inputs hold NaN: example 17 "),
        ({"test": (late(INPUTS, float("nan")), TARGETS)}, "test inputs hold NaN: example 17 "),
        ({"train": (INPUTS, late(TARGETS, 3))}, "loss cannot take targets .* out of bounds"),
        ({"test": (INPUTS, late(TARGETS, -1))}, "not fit the test data: The loss cannot take"),
        (
            {"model": lambda: nn.Linear(6, 1), "train": ONE_WIDE, "test": ONE_WIDE},
            "Cross entropy over one output is the same",
        ),
        ({"model": lambda: ONLY}, "returns the same model, or parameters, again"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_trained_is_said_in_one_sentence(problem, change, message):
    with pytest.raises(ss.InputError, match=message) as caught:
        replace(problem, **change).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is at least 1, not 0"),
        ({"steps": -5}, "steps is at least 1, not -5"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"prune_every": 0}, "prune_every is at least 1"),
        ({"lr": 0.0}, "lr is above 0"),
        ({"lr": float("nan")}, "lr is above 0"),
        ({"schedule": "linear"}, "cosine or constant, not 'linear'"),
        ({"prune_begin": 9, "prune_end": 8}, "Pruning from step 9 to 8 does not fit"),
        ({"steps": 10, "prune_end": 11}, "does not fit into 10 steps"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Recipe(**settings)


def test_a_recipe_prunes_in_the_middle_half_unless_told():
    assert (ss.Recipe(steps=400).prune_begin, ss.Recipe(steps=400).prune_end) == (100, 300)
    assert ss.Recipe(steps=400, prune_begin=0).prune_begin == 0


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (60, 3), (900, 45), (2000, 50), (50_000, 50)])
def test_a_mask_moves_in_short_runs_too(steps, every):
    assert ss.Recipe(steps=steps).prune_every == every


def test_a_problem_goes_to_a_device_whole(problem):
    moved = replace(problem, scaled=lambda width: nn.Linear(6, round(8 * width))).to("meta")
    assert (moved.device, problem.device) == ("meta", None)
    parts = [moved.make_model(0), moved.scaled(0.5)]
    assert {p.device.type for part in parts for p in part.parameters()} == {"meta"}
    for data in (moved.train, moved.test):
        assert {t.device.type for t in next(iter(data))} == {"meta"}


def test_label_smoothing_keeps_the_weights_of_the_classes():
    weights = torch.tensor([1.0, 5.0])
    data = torch.eye(2), torch.arange(2)
    problem = ss.Problem(
        model=lambda: nn.Linear(2, 2),
        train=data,
        test=data,
        loss=partial(cross_entropy, weight=weights),
        recipe=ss.Recipe(label_smoothing=0.1),
    )
    outputs = torch.tensor([[1.0, -1.0], [3.0, 0.0]])
    wanted = cross_entropy(outputs, data[1], weight=weights, label_smoothing=0.1)
    assert torch.equal(problem.loss(outputs, data[1]), wanted)
    assert torch.equal(problem.to("cpu").loss(outputs, data[1]), wanted)


@pytest.mark.parametrize(
    ("batch", "held"),
    [
        (({"x": INPUTS}, TARGETS), "hold a dict"),
        (INPUTS, "are 1 tensors"),
        ((INPUTS, INPUTS, TARGETS), "are 3 tensors"),
    ],
)
def test_batches_that_are_no_pair_of_tensors_are_refused(problem, batch, held):
    class Odd(ss.Examples):
        def __len__(self):
            return len(INPUTS)

        def read(self, chosen, draw):
            return batch

    with pytest.raises(ss.InputError, match=f"^The train data's batches {held}: .* one tensor"):
        replace(problem, train=Odd()).check()
