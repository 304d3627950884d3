"""What layers put out, watched without being disturbed."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from helpers import classes, draw, perceptron, seeded
from sparsescape import Mask, Objective, scores, to_sparse
from sparsescape.layers import layers, watched


class Twice(nn.Module):
    """The same layer two times in one pass, with what works in place between."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(self.layer(x).relu_())[:, :3]


def test_a_layer_that_runs_twice_has_two_outputs_before_what_works_in_place():
    model, x = seeded(Twice), draw(5, 6)
    with watched(model) as seen:
        outputs = model(x)
    first, second = seen["layer.weight"]
    assert torch.equal(first, model.layer(x))
    assert (first < 0).any()
    assert torch.equal(second[:, :3], outputs)


@pytest.mark.parametrize(
    ("make", "shape", "units"),
    [
        (lambda: nn.Conv2d(2, 3, 3), (4, 2, 5, 5), (4, 3, 3, 3)),
        (lambda: nn.Conv1d(2, 5, 3), (4, 2, 7), (4, 5, 5)),
        (lambda: nn.Linear(7, 5), (4, 6, 7), (4, 6, 5)),
    ],
)
def test_units_are_last(make, shape, units):
    model, x = seeded(make), draw(*shape)
    with watched(model) as seen:
        outputs = model(x)
    (found,) = seen["weight"]
    assert found.shape == units
    where = 1 if isinstance(model, nn.modules.conv._ConvNd) else -1
    assert torch.equal(found.movedim(-1, where), outputs)


def test_truly_sparse_layers_put_out_what_dense_ones_do():
    dense = seeded(lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(24, 3)))
    Mask.from_scores(scores.random(dense), sparsity=0.8).apply_(dense)
    sparse = to_sparse(copy.deepcopy(dense), min_sparsity=0.0)
    images = draw(5, 1, 4, 4)
    with watched(dense) as expected, watched(sparse) as seen:
        dense(images), sparse(images)
    assert list(seen) == list(expected) == ["0.weight", "2.weight"]
    for name, (outputs,) in seen.items():
        torch.testing.assert_close(outputs, expected[name][0])


def test_what_is_watched_leaves_no_hook_and_changes_no_output():
    model, x = perceptron(), draw(5, 6)
    plain = model(x)
    with watched(model):
        assert torch.equal(model(x), plain)
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RuntimeError, match="mat1"), watched(model):
        model(draw(5, 7))
    assert not any(module._forward_hooks for module in model.modules())


def test_modules_that_return_no_tensor_and_those_that_make_a_weight_are_no_layers():
    with watched(nn.GRU(4, 3)) as seen:
        nn.GRU(4, 3)(draw(2, 5, 4))
    assert seen == {}
    assert list(layers(parametrizations.weight_norm(nn.Linear(4, 3)))) == []


def test_an_objective_shows_the_layers_in_the_graph_of_its_loss():
    model = perceptron(torch.float64)
    data = draw(13, 6, dtype=torch.float64), classes(13, 3)
    losses, slopes = [], []
    for loss, outputs in Objective(model, data, batch_size=13).layers(model):
        losses.append(loss)
        slopes += torch.autograd.grad(loss, outputs["2.weight"])
    logits = model(data[0])
    expected = (logits.softmax(1) - F.one_hot(data[1], 3)) / 13
    assert torch.allclose(torch.cat(slopes), expected)
    assert losses[0].item() == pytest.approx(F.cross_entropy(logits, data[1]).item())
