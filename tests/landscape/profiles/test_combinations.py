"""Many points at once: what each of them would be alone, in memory that does not grow."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sparsescape as ss
from helpers import bits, classes, condition, draw, moved, normalized, perceptron
from sparsescape.landscape.profiles import combinations

DOUBLE = torch.float64
CURVES = [
    ss.Line,
    lambda *ends: ss.Bezier(*ends, degree=3),
    lambda *ends: ss.PolygonalChain(*ends, bends=2),
]


@pytest.fixture
def data():
    return draw(30, 6, dtype=DOUBLE), classes(30, 3)


def alone(curve, objective, count):
    return [objective.evaluate(curve.point(i / (count - 1))) for i in range(count)]


@pytest.mark.parametrize("make", CURVES, ids=["line", "bezier", "chain"])
@pytest.mark.parametrize("kept", [0, 3000, combinations.KEPT])
@pytest.mark.parametrize("loader", [False, True])
def test_every_point_is_what_it_is_alone(data, make, kept, loader, monkeypatch):
    monkeypatch.setattr(combinations, "KEPT", kept)
    source = DataLoader(TensorDataset(*data), batch_size=7) if loader else data
    model = perceptron(DOUBLE)
    objective = ss.Objective(model, source, weight_decay=0.1, batch_size=7)
    curve = make(model, moved(model))
    curve.perturb_(0.3, torch.Generator().manual_seed(0))
    monkeypatch.setattr(objective, "evaluate", None)  # it is not asked
    found = ss.profile(curve, objective, points=11)
    monkeypatch.undo()
    expected = alone(curve, objective, 11)
    assert found.loss == pytest.approx([e.loss for e in expected], rel=1e-12)
    assert found.accuracy == pytest.approx([e.accuracy for e in expected])
    assert found.count == 30


def test_in_single_precision_it_agrees_to_rounding_and_the_ends_to_the_bit(data):
    objective = ss.Objective(perceptron(), (data[0].float(), data[1]), batch_size=7)
    curve = ss.Bezier(perceptron(), moved(perceptron()), degree=2)
    found, expected = ss.profile(curve, objective, points=9), alone(curve, objective, 9)
    assert found.loss == pytest.approx([e.loss for e in expected], rel=1e-6)
    assert (found.loss[0], found.loss[-1]) == (expected[0].loss, expected[-1].loss)


def test_the_data_are_gone_through_once(data):
    class Counted:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield data

    source = Counted()
    objective = ss.Objective(perceptron(DOUBLE), source)
    ss.profile(ss.Line(perceptron(DOUBLE), moved(perceptron(DOUBLE))), objective, points=9)
    assert source.passes == 1


@pytest.mark.parametrize("mode", ["recompute", "batch"])
def test_statistics_of_the_data_are_those_of_each_point(mode):
    model, data = normalized(), (draw(30, 6), classes(30, 3))
    objective = ss.Objective(model, data, batch_norm=mode, batch_size=7)
    line = ss.Line(model, moved(model))
    found = ss.profile(line, objective, points=5)
    assert found.loss == tuple(e.loss for e in alone(line, objective, 5))


def test_stored_statistics_go_along_the_curve():
    model = normalized(DOUBLE)
    end = moved(model)
    end.load_state_dict(
        {n: b + 1 if n.endswith(("mean", "var")) else b for n, b in end.state_dict().items()}
    )
    data = draw(30, 6, dtype=DOUBLE), classes(30, 3)
    objective = ss.Objective(model, data, batch_norm="stored")
    assert objective.halves() is not None
    line = ss.Line(model, end)
    expected = [e.loss for e in alone(line, objective, 5)]
    assert ss.profile(line, objective, points=5).loss == pytest.approx(expected, rel=1e-12)


def test_no_more_products_are_kept_than_two_blocks(data, monkeypatch):
    """A block, and the one that is being made."""
    monkeypatch.setattr(combinations, "KEPT", 2 * 8 * 8 * 2)  # a batch of one example, two corners
    model = perceptron(DOUBLE)
    objective = ss.Objective(model, data, batch_size=1)
    alive, most = weakref.WeakSet(), 0
    first, rest = objective.halves()

    def watched(point, inputs):
        nonlocal most
        made = first(point, inputs)
        alive.add(made)
        gc.collect()
        most = max(most, len(alive))
        return made

    monkeypatch.setattr(objective, "halves", lambda: (watched, rest))
    ss.profile(ss.Line(model, moved(model)), objective, points=5)
    assert 0 < most <= 2 * 2 * 2


def test_model_curve_and_random_state_are_as_they_were(data):
    model = perceptron(DOUBLE).train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    objective, curve = ss.Objective(model, data), ss.Bezier(model, moved(model), degree=2)
    before, control = condition(model), bits({"control": curve.control})
    ss.profile(curve, objective, points=9)
    assert condition(model) == before
    assert bits({"control": curve.control}) == control


def test_a_network_of_one_layer_is_all_first_layer():
    model = nn.Sequential(nn.Linear(6, 3)).double()
    data = draw(30, 6, dtype=DOUBLE), classes(30, 3)
    objective, line = ss.Objective(model, data), ss.Line(model, moved(model))
    expected = [e.loss for e in alone(line, objective, 5)]
    assert ss.profile(line, objective, points=5).loss == pytest.approx(expected, rel=1e-12)
