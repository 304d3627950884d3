"""The gradient over all positions, of which a layer holds some."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sparsescape import SparseConv2d, SparseLinear

CONVOLUTIONS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "strided, dilated, in groups": {
        "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "groups": 2,
    },
    "pointwise": {"kernel_size": 1},
    "depthwise": {"kernel_size": 3, "stride": 2, "groups": 4},
    "not square, same": {"kernel_size": (2, 3), "padding": "same"},
    "around the border": {"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "circular"},
}  # fmt: skip


def dense_linear(layer: SparseLinear, weight: Tensor, x: Tensor) -> Tensor:
    return linear(x, weight, layer.bias)


def dense_conv(layer: SparseConv2d, weight: Tensor, x: Tensor) -> Tensor:
    shape = layer.in_channels, layer.out_channels, layer.kernel_size
    plain = nn.Conv2d(
        *shape, layer.stride, layer.padding, layer.dilation, layer.groups,
        padding_mode=layer.padding_mode,
    ).double()  # fmt: skip
    return torch.func.functional_call(plain, {"weight": weight, "bias": layer.bias}, (x,))


def loss(out: Tensor, x: Tensor, penalty: bool) -> Tensor:
    found = out.tanh().square().sum()
    if penalty:
        (slope,) = torch.autograd.grad(found, x, create_graph=True)
        found = found + slope.square().sum()
    return found


def check(layer: Any, x: Tensor, dense: Any, penalty: bool) -> None:
    terms: list[Any] = []
    x = x.requires_grad_()
    layer.watch = lambda: terms.append
    out = layer(x)
    found = loss(out, x, penalty)
    terms.clear()  # those of the slope alone
    found.backward()
    weight = layer.dense_weight().detach().requires_grad_()
    (expected,) = torch.autograd.grad(loss(dense(layer, weight, x), x, penalty), weight)
    torch.testing.assert_close(sum(term() for term in terms), expected)
    torch.testing.assert_close(layer.weight.grad, expected.flatten()[layer.positions()])


@pytest.mark.parametrize("penalty", [False, True])
def test_of_a_linear_layer(penalty):
    layer = SparseLinear.random(7, 5, sparsity=0.6).double()
    check(layer, torch.randn(3, 4, 7, dtype=torch.float64), dense_linear, penalty)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_of_a_convolution(settings, penalty):
    layer = SparseConv2d.random(4, 8, **settings, sparsity=0.5).double()
    check(layer, torch.randn(2, 4, 9, 11, dtype=torch.float64), dense_conv, penalty)


def test_nobody_is_told_unless_asked_in_the_forward_pass():
    layer, terms = SparseLinear.random(7, 5, sparsity=0.6), []
    layer.watch = lambda: None
    out = layer(torch.randn(3, 7))
    layer.watch = lambda: terms.append
    out.sum().backward()
    assert not terms
    layer.weight.requires_grad_(False)
    layer(torch.randn(3, 7)).sum().backward()
    assert not terms


def test_a_layer_moves_to_other_positions():
    layer = SparseLinear.random(7, 5, sparsity=0.6)
    weight, flat = layer.weight, torch.tensor([0, 3, 4, 6, 9, 11, 13, 20, 22, 24, 25, 30, 31, 34])
    layer.move(flat)
    assert layer.weight is weight
    assert torch.equal(layer.positions(), flat)
    assert torch.equal(layer.dense_weight().flatten()[flat], weight)
    x = torch.randn(3, 7)
    torch.testing.assert_close(layer(x), linear(x, layer.dense_weight(), layer.bias))
