"""Which networks begin with a layer that is linear in its inputs, and which only seem to."""

import pytest
import torch
from torch import nn

from helpers import convnet, draw, perceptron
from sparsescape.architecture import convolutions, split_first_layer


class Own(nn.Sequential):
    def forward(self, inputs):
        return super().forward(inputs.square())


def hooked():
    model = perceptron()
    model[0].register_forward_hook(lambda module, inputs, outputs: outputs.square())
    return model


def tied():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def parametrized():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU())


@pytest.mark.parametrize(
    "before", [[], [nn.Flatten()], [nn.Identity(), nn.Dropout()]], ids=["bare", "flat", "dropout"]
)
def test_the_halves_one_after_the_other_are_the_network(before):
    model = nn.Sequential(*before, nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    first, rest = split_first_layer(model)
    inputs = draw(5, 6)
    assert torch.equal(rest(first(inputs)), model(inputs))
    names = [n for part in (first, rest) for n, _ in part.named_parameters()]
    assert names == [n for n, _ in model.named_parameters()]


@pytest.mark.parametrize(
    "make",
    [
        convnet,
        hooked,
        tied,
        parametrized,
        lambda: Own(nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 3)),
        lambda: nn.Linear(4, 3),
        lambda: nn.Sequential(nn.Flatten()),
    ],
)
def test_other_networks_have_no_halves(make):
    assert split_first_layer(make()) is None


def test_convolutions_are_found_in_any_depth_and_under_plain_names():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv1d(1, 2, 3)), nn.Linear(2, 2))
    assert list(convolutions(model)) == ["0.0.weight"]
    assert convolutions(model)["0.0.weight"] is model[0][0].weight
