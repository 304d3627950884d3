"""The losses of a batch at several points are those of one point after the other."""

import warnings

import pytest
import torch

import sparsescape as ss
from helpers import classes, condition, convnet, draw, images, moved, normalized, perceptron
from sparsescape.landscape.search.batched import Losses


def of(model, data, **settings):
    """The objective, and the points of a curve from the model to elsewhere."""
    curve = ss.Bezier(model, moved(model), degree=3)
    curve.perturb_(0.3, torch.Generator().manual_seed(0))
    return ss.Objective(model, data, **settings), curve


class Branching(torch.nn.Linear):
    """Looks at its numbers, which cannot be vectorized."""

    def forward(self, inputs):
        outputs = super().forward(inputs)
        return outputs if outputs.sum().item() > 0 else 2 * outputs


def pooled():
    """Convolution and pooling, without BatchNorm."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 2),
        torch.nn.MaxPool2d(2),
        torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 9),
    )


CASES = {
    "perceptron": (lambda: of(perceptron(), (draw(9, 6), classes(9, 3))), True),
    "pooling": (lambda: of(pooled(), images(0), weight_decay=0.1), True),
    "convnet": (lambda: of(convnet(), images(0)), False),
    "stored statistics": (
        lambda: of(normalized(), (draw(9, 6), classes(9, 3)), batch_norm="stored"),
        True,
    ),
    "statistics of the batch": (lambda: of(normalized(), (draw(9, 6), classes(9, 3))), False),
    "a branch": (lambda: of(Branching(6, 3), (draw(9, 6), classes(9, 3))), False),
}
T = [0.0, 0.2, 0.35, 0.9, 1.0]


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_one_point_after_the_other(case, crossing):
    objective, curve = CASES[case][0]()
    batch, goes_up = objective.tensors(), torch.arange(1.0, 1.0 + len(T))
    losses = Losses(objective)
    found = losses(curve.several(T, crossing=crossing), batch)
    point = curve.crossing if crossing else curve
    expected = torch.stack([objective.batch_loss(point(t), batch) for t in T])
    assert torch.allclose(found, expected, atol=1e-6)
    slopes = [
        torch.autograd.grad((values * goes_up).sum(), curve.control)[0]
        for values in (found, expected)
    ]
    assert slopes[1].abs().max() > 1e-3
    assert torch.allclose(*slopes, atol=1e-5)
    assert losses._vectorized is CASES[case][1]


@pytest.mark.parametrize("case", CASES)
def test_model_and_random_state_stay_as_they_were(case):
    objective, curve = CASES[case][0]()
    before, random = condition(objective._model), torch.get_rng_state()
    with warnings.catch_warnings(record=True) as told:
        Losses(objective)(curve.several(T), objective.tensors())
    assert condition(objective._model) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert not told


def test_an_error_of_the_models_own_is_not_hidden():
    class Broken(torch.nn.Linear):
        def forward(self, inputs):
            raise ZeroDivisionError

    objective, curve = of(Broken(6, 3), (draw(9, 6), classes(9, 3)))
    with pytest.raises(ZeroDivisionError):
        Losses(objective)(curve.several(T), objective.tensors())
