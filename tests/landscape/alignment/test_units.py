"""Units are followed along the dimension that they lie along, or it is said that they cannot be."""

import copy

import pytest
import torch
from torch import nn

import sparsescape as ss


def tokens():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def test_activations_of_tokens_are_matched_by_their_last_dimension():
    torch.manual_seed(0)
    reference, order = tokens(), torch.randperm(6)
    planted = copy.deepcopy(reference)
    with torch.no_grad():
        planted[0].weight.copy_(reference[0].weight[order])
        planted[0].bias.copy_(reference[0].bias[order])
        planted[2].weight.copy_(reference[2].weight[:, order])
    found = ss.align(reference, planted, inputs=torch.randn(30, 5, 4))
    assert found.moved == int((order != torch.arange(6)).sum()) > 0
    assert torch.equal(found.point["0.weight"], reference[0].weight)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        pytest.param(
            (nn.Linear(4, 6), nn.Flatten(), nn.Linear(30, 2)),
            "cannot be told apart",
            id="tokens flattened: a unit's entries are no neighbours",
        ),
        pytest.param(
            (nn.Linear(4, 6), nn.MaxPool1d(3, 1, 1), nn.Linear(6, 2)),
            "across its module '1'",
            id="pooling over units",
        ),
        pytest.param(
            (nn.Conv2d(1, 6, 3), nn.Flatten(), nn.AvgPool1d(1), nn.Linear(6, 2)),
            "across its module '2'",
            id="pooling over flattened units",
        ),
        pytest.param(
            (nn.Linear(4, 6), nn.BatchNorm1d(5), nn.Linear(6, 2)),
            "across its module '1'",
            id="BatchNorm over tokens",
        ),
        pytest.param(
            (nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)),
            "across its module '1'",
            id="Linear over the width of an image",
        ),
        pytest.param(
            (nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 2)),
            "computed from other parameters",
            id="weight normalization",
        ),
    ],
)
def test_what_does_not_go_unit_by_unit_is_refused(layers, message):
    model = nn.Sequential(*layers)
    with pytest.raises(ss.InputError, match=message):
        ss.align(model, model)


def test_tied_weights_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(ss.InputError, match="the weight of '2' is tied"):
        ss.align(model, model)


def test_points_that_are_not_finite_are_refused():
    lost = tokens()
    nn.init.constant_(lost[0].bias, torch.nan)
    with pytest.raises(ss.InputError, match=r"point has numbers in .* not finite"):
        ss.align(tokens(), lost)
