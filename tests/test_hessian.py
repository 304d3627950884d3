"""Hessian-vector products with the graph kept: the same numbers, and the memory given back."""

import weakref
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import bits, classes, condition, draw, normalized, perceptron, seeded
from sparsescape import Objective
from sparsescape.points import named_parameters

DOUBLE = torch.float64


@pytest.fixture
def data():
    return draw(13, 6, seed=3, dtype=DOUBLE), classes(13, 3)


def directions(model, count=3):
    named = named_parameters(model)
    return [
        {
            n: draw(*p.shape, seed=10 * k + i, dtype=p.dtype)
            for i, (n, p) in enumerate(named.items())
        }
        for k in range(count)
    ]


@pytest.mark.parametrize("batch_norm", ["recompute", "stored", "batch"])
@pytest.mark.parametrize("make", [perceptron, normalized])
def test_a_kept_graph_gives_the_same_bits_time_after_time(data, make, batch_norm):
    model = make(DOUBLE)
    objective = Objective(model, data, batch_size=5, batch_norm=batch_norm, weight_decay=0.1)
    anew = objective.hessian(model, keep=0)
    assert not anew.keeps_graph
    with objective.hessian(model) as kept:
        assert kept.keeps_graph
        for vector in 2 * directions(model):
            assert bits(kept.product(vector)) == bits(anew.product(vector))


def test_data_loaders_are_gone_through_once_where_the_graph_is_kept(data):
    model, passes = perceptron(DOUBLE), 0

    class Loader:
        def __iter__(self):
            nonlocal passes
            passes += 1
            return iter([(data[0][:5], data[1][:5]), (data[0][5:], data[1][5:])])

    objective = Objective(model, Loader())
    (vector,) = directions(model, 1)
    hessian = objective.hessian(model)
    before = passes
    first = [hessian.product(vector) for _ in range(3)]
    assert passes == before
    assert bits(first[0]) == bits(first[2])
    whole = Objective(model, data).hessian_vector_product(model, vector)
    assert all(torch.allclose(first[0][n], whole[n], rtol=0, atol=1e-12) for n in whole)


def test_what_does_not_fit_is_built_anew_and_no_more_is_kept_than_asked_for(data):
    """A graph over 13 examples of 6 numbers takes more than 1 kB and less than 1 MB."""
    objective = Objective(perceptron(DOUBLE), data, batch_size=5)
    model = perceptron(DOUBLE)
    assert not objective.hessian(model, keep=1000).keeps_graph
    assert objective.hessian(model, keep=1_000_000).keeps_graph


class Marked(torch.autograd.Function):
    """The identity, whose place in the graph can be seen to go."""

    seen: ClassVar[list[weakref.ref]] = []

    @staticmethod
    def forward(ctx, x):
        ctx.mark = torch.Generator()  # anything that a weak reference can be made to
        Marked.seen.append(weakref.ref(ctx.mark))
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1


class Watched(nn.Linear):
    def forward(self, x):
        return Marked.apply(torch.tanh(super().forward(x)))


@pytest.mark.parametrize("way", ["with", "del", "too large"])
def test_the_memory_is_given_back(data, way):
    model = seeded(lambda: Watched(6, 3)).to(DOUBLE)
    Marked.seen.clear()
    (vector,) = directions(model, 1)
    objective = Objective(model, data, batch_size=5)
    hessian = objective.hessian(model, keep=0 if way == "too large" else 2**30)
    hessian.product(vector)
    assert any(seen() is not None for seen in Marked.seen) == (way != "too large")
    if way == "with":
        with hessian:
            hessian.product(vector)
    elif way == "del":
        del hessian
    assert all(seen() is None for seen in Marked.seen)


def test_after_the_block_it_still_answers(data):
    model = perceptron(DOUBLE)
    (vector,) = directions(model, 1)
    with Objective(model, data).hessian(model) as hessian:
        inside = hessian.product(vector)
    assert not hessian.keeps_graph
    assert bits(hessian.product(vector)) == bits(inside)


def test_nothing_of_the_models_moves(data):
    model = normalized(DOUBLE).train()
    F.cross_entropy(model(data[0]), data[1]).backward()
    before = condition(model)
    with Objective(model, data).hessian(model) as hessian:
        hessian.product(directions(model, 1)[0])
    assert condition(model) == before


def test_a_parameter_that_is_not_used_has_no_curvature_but_the_weight_decays(data):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(6, 3), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = seeded(Half).to(DOUBLE)
    (vector,) = directions(model, 1)
    product = Objective(model, data, weight_decay=0.5).hessian(model).product(vector)
    assert torch.equal(product["idle.weight"], 0.5 * vector["idle.weight"])
    assert not torch.equal(product["used.weight"], 0.5 * vector["used.weight"])


def test_of_normalized_weights_it_is_the_hessian_of_the_formula():
    """torch's fused weight normalization has another second derivative than the function."""
    model = seeded(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))).double()
    inputs, targets = draw(13, 6, seed=3, dtype=DOUBLE), classes(13, 3)
    named = dict(named_parameters(model))
    norm, direction = (f"parametrizations.weight.original{i}" for i in (0, 1))

    def loss(g, v, bias):
        weight = g * v / v.norm(dim=1, keepdim=True)
        return F.cross_entropy(F.linear(inputs, weight, bias), targets)

    point = tuple(named[n].detach() for n in (norm, direction, "bias"))
    blocks = torch.autograd.functional.hessian(loss, point)
    (vector,) = directions(model, 1)
    along = [vector[n] for n in (norm, direction, "bias")]
    found = Objective(model, (inputs, targets)).hessian_vector_product(model, vector)
    for name, row in zip((norm, direction, "bias"), blocks, strict=True):
        product = sum(
            torch.tensordot(block, v, dims=v.ndim) for block, v in zip(row, along, strict=True)
        )
        assert torch.allclose(found[name], product, atol=1e-12)
