"""Operations of a training step, against what one counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from helpers import bits, condition, draw
from sparsescape.training.flops import StepFlops, step_flops


def split(flops):
    return flops.by_weight, flops.rest


def flops_of(model, *shape):
    inputs = draw(5, *shape)
    return step_flops(model, (inputs, torch.zeros_like(model(inputs))), mse_loss)


def test_the_first_linear_layer_has_no_gradient_of_its_inputs():
    """7·4 multiply-adds forward and for the weights: 2·2·28."""
    assert split(flops_of(nn.Linear(7, 4), 7)) == ({"weight": 112}, 0)


def test_later_linear_layers_count_thrice():
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    assert split(flops_of(model, 7)) == ({"0.weight": 112, "2.weight": 3 * 2 * 12}, 0)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(2, 3, 3), 3 * 2 * 9 * 36),  # 8×8 to 6×6
        (nn.Conv2d(2, 3, 3, padding=1), 3 * 2 * 9 * 64),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), 3 * 2 * 9 * 16),
    ],
    ids=["plain", "padded", "strided"],
)
def test_a_convolution_counts_its_weights_at_every_output_position(layer, macs):
    assert flops_of(layer, 2, 8, 8).by_weight == {"weight": 2 * 2 * macs}


def test_a_convolution_in_groups_counts_its_own_weights():
    depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    model = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), depthwise)
    found = flops_of(model, 1, 8, 8)
    assert found.by_weight["1.weight"] == 3 * 2 * 4 * 9 * 64
    assert found.rest == 0


def test_dropout_of_nothing_moves_no_operations_to_other_weights():
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.0), nn.Linear(4, 3), nn.Linear(3, 2))
    assert split(flops_of(model, 5)) == (
        {"0.weight": 2 * 2 * 20, "2.weight": 3 * 2 * 12, "3.weight": 3 * 2 * 6},
        0,
    )


def test_a_second_convolution_counts_thrice():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3))
    assert split(flops_of(model, 1, 8, 8)) == (
        {"0.weight": 2 * 2 * 2 * 9 * 36, "2.weight": 3 * 2 * 3 * 2 * 9 * 16},
        0,
    )


def test_the_count_is_per_example():
    model = nn.Linear(7, 4)
    counts = [
        step_flops(model, (draw(n, 7), torch.zeros(n, 4)), mse_loss).by_weight["weight"]
        for n in (1, 3, 64)
    ]
    assert counts == [112] * 3


class Product(nn.Module):
    """Multiplies two parts of its input: no weight takes part."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, inputs):
        hidden = self.layer(inputs)
        return hidden[:, None] @ hidden[:, :, None]


def test_what_no_weight_takes_part_in_is_the_rest():
    """6 multiply-adds forward, and 6 for each of the two factors backward: 2·3·6."""
    assert split(flops_of(Product(), 4)) == ({"layer.weight": 2 * 2 * 24}, 36)


class WithChild(nn.Module):
    """A module with a weight of its own beside a layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 6))
        self.layer = nn.Linear(4, 6)

    def forward(self, inputs):
        return self.layer(inputs) @ self.weight.t()


def test_a_weight_beside_a_layer_does_not_count_the_layer():
    assert split(flops_of(WithChild(), 4)) == (
        {"weight": 3 * 2 * 18, "layer.weight": 2 * 2 * 24},
        0,
    )


class TwoWeights(nn.Module):
    """A module with two weights of its own, as recurrent layers have them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.ones(6, 4))
        self.second = nn.Parameter(torch.ones(3, 6))

    def forward(self, inputs):
        return inputs @ self.first.t() @ self.second.t()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs):
        return self.attend(inputs, inputs, inputs)[0]


@pytest.mark.parametrize(
    ("model", "shape", "total"),
    [
        (TwoWeights(), (4,), 2 * 2 * 24 + 3 * 2 * 18),
        # Three tokens: 24×8 weights in, 8×8 out, and in each of two heads of dimension 4 the
        # products of queries with keys and of 3×3 scores with values.
        (Attention(), (3, 8), 2 * 2 * 3 * 192 + 3 * 2 * 3 * 64 + 3 * 2 * 2 * 2 * 9 * 4),
    ],
    ids=["two weights", "attention"],
)
def test_nothing_is_counted_twice(model, shape, total):
    found = flops_of(model, *shape)
    assert found.at({}) == total
    assert found.rest >= 0


def test_densities_scale_what_belongs_to_their_weight():
    flops = StepFlops({"a": 100, "b": 40}, gradients={"a": 50, "b": 10}, rest=7)
    assert flops.at({}) == 147
    assert flops.at({"a": 0.1}) == pytest.approx(57)
    assert flops.at({"a": 0.1, "b": 0.5, "c": 0.0}) == pytest.approx(37)


def test_a_step_pays_for_the_gradients_of_closed_weights_that_it_needs():
    flops = StepFlops({"a": 100, "b": 40}, gradients={"a": 50, "b": 10}, rest=7)
    assert flops.at({}, {}) == flops.at({})
    assert flops.at({"a": 0.1}, {}) == pytest.approx(57 + 45)
    assert flops.at({"a": 0.1, "b": 0.5}, {"a": 0.3, "b": 0.5}) == pytest.approx(37 + 10)
    assert flops.at({"a": 0.1}, {"a": 0.1}) == flops.at({"a": 0.1})


def test_a_weights_gradient_costs_what_its_forward_pass_costs():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3))
    assert flops_of(model, 1, 8, 8).gradients == {
        "0.weight": 2 * 2 * 9 * 36,
        "2.weight": 2 * 3 * 2 * 9 * 16,
    }


def test_counting_moves_nothing():
    model = nn.Sequential(nn.Linear(7, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    inputs = draw(5, 7)
    before, given = condition(model), bits({"inputs": inputs})
    step_flops(model, (inputs, torch.zeros(5, 4)), mse_loss)
    assert condition(model) == before
    assert bits({"inputs": inputs}) == given
