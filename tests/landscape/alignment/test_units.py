"""Units are followed along the dimension that they lie along, or it is said that they cannot be."""

import copy

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.landscape.alignment.matching import Alignment
from sparsescape.landscape.alignment.units import find_units


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


class Joined(nn.Module):
    """Two branches, concatenated; one of them twice."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 3, 3)
        self.norm, self.next = nn.BatchNorm2d(11), nn.Conv2d(11, 5, 1)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        left, right = self.left(x).relu(), self.right(x).tanh()
        joined = self.norm(torch.cat([left, right, left], dim=1))
        return self.head(self.next(joined).relu().mean(dim=(2, 3)))


class Averaged(nn.Module):
    """Means over pixels, one after the other."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(1, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        rows = torch.mean(self.first(x).relu(), dim=-1, keepdim=True)
        return self.head(rows.amax((-2, -1)))


class Viewed(nn.Module):
    """Pixels flattened by a view."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(1, 5, 3), nn.Linear(5 * 16, 3)

    def forward(self, x):
        x = self.first(x).relu()
        return self.head(x.view(x.size(0), -1))


SOUND = {
    "PReLU and LayerNorm": lambda: nn.Sequential(
        nn.Linear(36, 7), nn.PReLU(7), nn.LayerNorm(7), nn.Linear(7, 5), nn.PReLU(), nn.Linear(5, 2)
    ),
    "LayerNorm over channels and pixels": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.LayerNorm([4, 4, 4]), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 2)
    ),
    "LayerNorm of what is flat": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 2)
    ),
    "concatenated": Joined,
    "averaged": Averaged,
    "viewed": Viewed,
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_whatever_is_relabelled_the_function_stays_the_same(make):
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim:
                tensor.uniform_(0.2, 1.2)  # scales and statistics too are each unit's own
    images = torch.randn(8, 1, 6, 6)
    inputs = images.flatten(1) if make is SOUND["PReLU and LayerNorm"] else images
    units = tuple(find_units(model))
    assert units
    orders = tuple(torch.randperm(each.size) for each in units)
    moved = Alignment({}, units, orders).relabel(model)
    relabelled = copy.deepcopy(model)
    relabelled.load_state_dict(moved, strict=False)
    torch.testing.assert_close(relabelled(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    for given in (None, inputs):  # and it is found again, by weights and by activations
        found = ss.align(model, relabelled, inputs=given)
        again = copy.deepcopy(model)
        again.load_state_dict(found.point, strict=False)
        torch.testing.assert_close(again(inputs), model(inputs), rtol=1e-5, atol=1e-5)


class WithItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.cat([x, self.first(x)], dim=1))


class OverUnits(Averaged):
    def forward(self, x):
        return self.head(self.first(x).mean(1).flatten(1)[:, :6])


@pytest.mark.parametrize(
    ("make", "message"), [(WithItsInput, "own input"), (OverUnits, "over examples or units")]
)
def test_what_joins_or_averages_something_else_is_refused(make, message):
    with pytest.raises(ss.InputError, match=message):
        find_units(make())


def test_inputs_that_the_network_does_not_take_are_refused():
    with pytest.raises(ss.InputError, match=r"cannot be run on inputs of shape \(3, 7\)"):
        ss.align(tokens(), tokens(), inputs=torch.randn(3, 7))
