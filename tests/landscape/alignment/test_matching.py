"""Relabelling units: the function stays, planted relabellings are found, masks are kept."""

import itertools

import pytest
import torch
from torch import nn

import sparsescape as ss
from helpers import bits, condition, draw, moved, normalized, perceptron, seeded
from sparsescape.landscape.alignment.units import find_units
from sparsescape.points import as_point, move_to, snapshot


class Residual(nn.Module):
    """Two sums over the same 4 channels, BatchNorm, pooling, flattening by ``view``."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner, self.back = nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 4, 1, bias=False)
        self.square, self.depthwise = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4, padding=1)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.back(self.inner(x).relu())
        x = self.depthwise(x + self.square(x))
        x = self.pool(x)
        return self.head(x.view(x.size(0), -1))


def deep():
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


def conv():
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))


MODELS = {
    "perceptron": (deep, draw(20, 6)),
    "BatchNorm1d": (normalized, draw(20, 6)),
    "convolutions": (conv, draw(20, 1, 4, 4)),
    "residual": (Residual, draw(20, 1, 4, 4)),
}
every_model = pytest.mark.parametrize(("make", "inputs"), MODELS.values(), ids=MODELS)


def outputs(model, point, inputs):
    move_to(model, point)
    with torch.no_grad():
        return model.eval()(inputs)


def shuffled(model, seed=0):
    """The model's point with its units in another order; its alignment to itself undoes that."""
    units = find_units(model)
    generator = torch.Generator().manual_seed(seed)
    alignment = ss.align(model, model)
    orders = tuple(torch.randperm(each.size, generator=generator) for each in units)
    return type(alignment)(alignment.point, alignment.units, orders).relabel(model)


@every_model
def test_a_relabelling_leaves_the_function_as_it_is(make, inputs):
    model = seeded(make)
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(draw(*buffer.shape, seed=5).abs() + 0.5)
    point = shuffled(model)
    assert bits(point) != bits(model)
    before = outputs(model, snapshot(model), inputs)
    assert torch.allclose(outputs(model, point, inputs), before, rtol=1e-5, atol=1e-5)


@every_model
@pytest.mark.parametrize("by", ["weights", "activations"])
def test_a_planted_relabelling_is_undone(make, inputs, by):
    model = seeded(make)
    given = inputs if by == "activations" else None
    found = ss.align(model, shuffled(model), inputs=given)
    assert found.moved > 0
    assert bits(found.point) == bits(model)


@every_model
def test_matching_weights_never_goes_further_away(make, inputs):
    reference, other = seeded(make), seeded(make)
    with torch.no_grad():
        for i, parameter in enumerate(other.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=i + 7))
    found = ss.align(reference, other).point

    def distance(point):
        ours = as_point(reference)
        return sum(float((ours[n] - point[n]).square().sum()) for n, _ in other.named_parameters())

    assert distance(found) < distance(as_point(other))


def test_one_hidden_layer_is_matched_as_well_as_by_trying_everything():
    make = lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))  # noqa: E731
    reference, other = seeded(make), seeded(make, seed=1)
    (found,) = ss.align(reference, other).permutations
    a, b = as_point(reference), as_point(other)

    def likeness(order):
        order = [int(i) for i in order]
        return float(
            (a["0.weight"] * b["0.weight"][order]).sum()
            + (a["0.bias"] * b["0.bias"][order]).sum()
            + (a["2.weight"] * b["2.weight"][:, order]).sum()
        )

    assert likeness(found) == pytest.approx(max(map(likeness, itertools.permutations(range(5)))))


# ---------------------------------------------------------------------- masks


def planted_mask():
    """Hidden units 0, 2 and 3 share a pattern; 1 and 4 have their own."""
    incoming = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 0], [1, 1]], dtype=torch.bool)
    outgoing = torch.tensor([[1, 1, 1, 1, 0], [0, 1, 0, 0, 1]], dtype=torch.bool)
    return ss.Mask({"0.weight": incoming, "2.weight": outgoing})


def in_the_mask(seed):
    model = seeded(lambda: nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2)), seed)
    planted_mask().apply_(model)
    return model


def test_inside_a_mask_only_units_of_one_pattern_change_places():
    model, mask = in_the_mask(0), planted_mask()
    orders = itertools.permutations((0, 2, 3))
    for a, b, c in orders:
        found = ss.align(model, model, subspace=mask)
        planted = type(found)(found.point, found.units, (torch.tensor([a, 1, b, c, 4]),))
        mixed = planted.relabel(model)
        mask.check_contains(mixed)
        undone = ss.align(model, mixed, subspace=mask)
        assert bits(undone.point) == bits(model)
        assert undone.carry(mask) == mask


def test_inside_a_mask_no_relabelling_leaves_it():
    mask = planted_mask()
    for seed in range(1, 6):
        found = ss.align(in_the_mask(0), in_the_mask(seed), subspace=mask)
        mask.check_contains(found.point)
        assert found.carry(mask) == mask
        assert found.permutations[0][[1, 4]].tolist() == [1, 4]


def test_a_mask_without_two_equal_patterns_allows_nothing():
    model = deep()
    mask = ss.Mask.from_scores(ss.scores.random(model, seed=3), sparsity=0.4)
    found = ss.align(model, moved(model), subspace=mask)
    patterns = torch.cat([mask["0.weight"], mask["2.weight"].T], dim=1)
    assert len(patterns.unique(dim=0)) == 7  # so that the test tests what it says
    assert found.permutations[0].tolist() == list(range(7))


def test_without_a_mask_to_keep_the_points_own_is_carried_along():
    model, mask = in_the_mask(0), planted_mask()
    found = ss.align(in_the_mask(2), model)
    carried = found.carry(mask)
    assert found.moved > 0
    assert carried.counts == mask.counts
    assert carried != mask
    carried.check_contains(found.point)
    assert ss.Mask.of(found.point).counts == ss.Mask.of(model).counts


# ---------------------------------------------------------------------- kept and refused


@pytest.mark.parametrize("given", [None, draw(9, 6)])
def test_alignment_moves_nothing_of_the_users(given):
    model, other = normalized().train(), moved(normalized())
    before = condition(model), condition(other)
    ss.align(model, other, inputs=given)
    assert (condition(model), condition(other)) == before


def test_points_need_a_model_and_give_the_same():
    model, other = perceptron(), moved(perceptron())
    with pytest.raises(ss.InputError, match="needs the model as well"):
        ss.align(snapshot(model), snapshot(other))
    found = ss.align(snapshot(model), snapshot(other), perceptron())
    assert bits(found.point) == bits(ss.align(model, other).point)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(6, 4), nn.LSTM(4, 4)], r"module '1' \(LSTM\)"),
        ([nn.Linear(6, 4), nn.Softmax(1), nn.Linear(4, 2)], r"module '1' \(Softmax\)"),
        ([nn.Conv2d(2, 4, 1, groups=2)], r"module '0' \(Conv2d\)"),
    ],
)
def test_a_module_that_mixes_units_is_named(layers, message):
    with pytest.raises(ss.InputError, match=message):
        find_units(nn.Sequential(*layers))


def test_a_model_that_cannot_be_traced_is_refused():
    class Choosy(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ss.InputError, match="Choosy cannot be found: it cannot be traced"):
        find_units(Choosy())


def test_a_point_of_another_model_is_refused():
    with pytest.raises(ss.InputError, match=r"The point has no '0.weight' of shape \(8, 6\)"):
        ss.align(perceptron(), {"0.weight": torch.zeros(2, 2)})


def test_a_layer_used_twice_has_one_set_of_units():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.again(torch.relu(self.again(self.first(x)))))

    (units,) = find_units(Twice())
    assert {(a.name, a.dim) for a in units.axes} == {
        ("first.weight", 0),
        ("first.bias", 0),
        ("again.weight", 0),
        ("again.weight", 1),
        ("again.bias", 0),
        ("last.weight", 1),
    }
