"""The batch stays innermost, and what carries it computes what torch's layers do."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import sparsescape as ss
from sparsescape.kernels import ops
from sparsescape.kernels.carriers import CARRIERS, carry_layout, drop_layout
from sparsescape.kernels.layout import batch_innermost, has_batch_innermost
from sparsescape.kernels.modules import SparseConv2d

LAYERS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.AvgPool2d((2, 3), 1, 1, count_include_pad=False),
    nn.AdaptiveAvgPool2d((2, 3)),
    nn.AdaptiveMaxPool2d(2),
    nn.BatchNorm2d(4),
    nn.BatchNorm2d(4, momentum=None, affine=False),
    nn.BatchNorm2d(4, track_running_stats=False),
    nn.BatchNorm1d(4),
    nn.Linear(4, 3),
    nn.Linear(4, 3, bias=False),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_carriers_compute_the_same_and_keep_the_order(layer, training):
    torch.manual_seed(0)
    plain = copy.deepcopy(layer).train(training)
    carrier = copy.deepcopy(plain)
    carry_layout(carrier)
    assert isinstance(carrier, type(plain))
    of_features = isinstance(layer, nn.BatchNorm1d | nn.Linear)
    shape = (6, 4) if of_features else (6, 4, 7, 8)
    for _ in range(2):
        x = torch.randn(shape, requires_grad=True)
        own = batch_innermost(x.detach()).requires_grad_()
        expected, found = plain(x), carrier(own)
        torch.testing.assert_close(found, expected)
        assert has_batch_innermost(found)
        g = torch.randn_like(expected)
        wanted = torch.autograd.grad(expected, [x, *plain.parameters()], g)
        got = torch.autograd.grad(found, [own, *carrier.parameters()], batch_innermost(g))
        torch.testing.assert_close(got, wanted)
        assert has_batch_innermost(got[0])
        torch.testing.assert_close(carrier(x), plain(x))  # torch's usual order: as it was
    for one, other in zip(carrier.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "between",
    [
        torch.relu,
        nn.functional.gelu,
        lambda x: x + 2 * x,
        nn.Dropout(0.5),
        lambda x: x.flatten(1),
        nn.functional.leaky_relu,
    ],
)
def test_what_is_elementwise_keeps_the_order_both_ways(between):
    x = batch_innermost(torch.randn(6, 4, 7, 8)).requires_grad_()
    out = between(x)
    assert has_batch_innermost(out)
    (g,) = torch.autograd.grad(out, x, batch_innermost(torch.randn(out.shape)))
    assert has_batch_innermost(g)


@pytest.mark.parametrize("order", [batch_innermost, Tensor.contiguous])
def test_a_gradient_goes_on_in_the_order_of_its_tensor_past_a_shortcut(order):
    leaf = order(torch.randn(6, 4, 8, 8)).requires_grad_()
    x = 2 * leaf
    out = order(SparseConv2d.random(4, 4, 3, padding=1, sparsity=0.5)(x))
    out = out + nn.functional.pad(x[:, :, ::2, ::2], (2, 2, 2, 2, 0, 0))
    seen = []
    x.grad_fn.register_prehook(lambda gradients: seen.append(gradients[0].stride()))
    out.square().sum().backward()
    assert seen == [x.stride()]


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.BatchNorm2d(4)], ids=str)
def test_the_backward_pass_of_batch_norm_makes_no_zeros(layer):
    carry_layout(layer)
    shape = (6, 4) if isinstance(layer, nn.BatchNorm1d) else (6, 4, 7, 8)
    node, names = layer(batch_innermost(torch.randn(shape)).requires_grad_()).grad_fn, []
    while node is not None:
        names.append(type(node).__name__)
        node = next((other for other, _ in node.next_functions if other is not None), None)
    assert "NativeBatchNormBackward0" in names
    assert "SelectBackward0" not in names


def stem_and_shortcut():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.body = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), body

        def forward(self, x):
            x = torch.relu(self.norm(self.stem(x)))
            return x + self.body(x)

    return Residual()


def test_a_dense_convolution_before_a_sparse_one_hands_on_its_order():
    plain = stem_and_shortcut()
    model = ss.to_sparse(copy.deepcopy(plain), 0.0, dense=["stem*"])
    assert isinstance(model.stem, nn.Conv2d)
    x = torch.randn(6, 3, 7, 8, requires_grad=True)
    expected, found = plain(x), model(x)
    torch.testing.assert_close(found, expected)
    assert has_batch_innermost(model.stem(x))
    assert has_batch_innermost(found)
    g = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, plain.stem.weight], g)
    got = torch.autograd.grad(found, [x, model.stem.weight], batch_innermost(g))
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(model.stem(batch_innermost(x)), plain.stem(x))
    torch.testing.assert_close(model.stem(x[0]), plain.stem(x[0]))  # without a batch
    assert model.body[2].__class__ is SparseConv2d
    torch.testing.assert_close(pickle.loads(pickle.dumps(model.stem))(x), plain.stem(x))


def test_what_hands_on_its_order_can_become_sparse_as_well_and_dense_again():
    plain = stem_and_shortcut()
    model = ss.to_sparse(copy.deepcopy(plain), 0.0, dense=["stem*"])
    ss.to_sparse(model, 0.0)
    assert type(model.stem) is SparseConv2d
    ss.to_dense(model)
    assert [type(m) for m in model.modules()][1:] == [type(m) for m in plain.modules()][1:]
    ss.to_dense(ss.to_sparse(model, 0.0, dense=["stem*"]))
    assert type(model.stem) is nn.Conv2d


def test_carrying_is_undone_and_leaves_classes_of_ones_own_alone():
    class Mine(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.BatchNorm2d(2), Mine(2), nn.MaxPool2d(2))
    kinds = [type(m) for m in model]
    carry_layout(model)
    assert [type(m) for m in model] == [CARRIERS[kinds[0]], Mine, CARRIERS[kinds[2]]]
    drop_layout(model)
    assert [type(m) for m in model] == kinds


class InPlace(nn.Module):
    """Activations in place after each kind of layer, and a shortcut that is added in place."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.strided = nn.Conv2d(8, 12, 3, stride=2)
        self.pointwise = nn.Conv2d(12, 12, 1)
        self.norm = nn.BatchNorm2d(12)
        self.last = nn.Sequential(nn.Linear(108, 20), nn.ReLU(inplace=True), nn.Linear(20, 4))

    def forward(self, x):
        x = nn.functional.hardswish(self.first(x), inplace=True)
        x = self.strided(x).relu_()
        y = self.pointwise(x)
        y += x
        y = self.norm(y).relu_().flatten(1)
        out = self.last(y)
        return out.mul_(2)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("dense", [(), ("first*",)])
@pytest.mark.parametrize("numba", [True, False])
def test_what_follows_may_write_into_what_a_sparse_layer_gives_out(
    monkeypatch, batch, dense, numba
):
    monkeypatch.setattr(ops, "_numba", [numba])
    torch.manual_seed(0)
    plain = InPlace()
    ss.Mask.from_scores(ss.scores.magnitude(plain), sparsity=0.8).apply_(plain)
    sparse = ss.to_sparse(copy.deepcopy(plain), dense=dense, min_sparsity=0)
    x = torch.randn(batch, 3, 7, 7)
    results = []
    for model in (plain, sparse):
        inputs = x.clone().requires_grad_()
        out = model(inputs)
        out.square().sum().backward()
        results.append((out.detach(), inputs.grad, model.first.bias.grad, model.norm.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_what_a_frozen_network_gives_out_may_be_scaled_in_place(bias):
    plain = nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 4, bias))
    sparse = ss.to_sparse(copy.deepcopy(plain), 0.0, dense=["1"])
    x, results = torch.randn(5, 9), []
    for model in (plain, sparse):
        scale = torch.ones(4, requires_grad=True)
        with torch.no_grad():
            features = model(x)
        features.mul_(scale).square().sum().backward()
        results.append(scale.grad)
    assert has_batch_innermost(features)
    torch.testing.assert_close(*results)


def test_layers_may_be_called_by_the_name_of_torchs_argument():
    layers = [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(8, 6), nn.BatchNorm1d(6)]
    x = torch.randn(5, 2, 6, 6)

    class Named(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(input=x)
            return x

    model = Named(*layers).eval()
    before = model(x)
    assert len(ss.layer_times(model, x, 0.0)) == 3
    ss.to_sparse(model, 0.0, dense=["0.weight"])
    assert torch.allclose(model(x), before, atol=1e-5)


def test_pooling_gives_out_where_it_found_the_largest():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, return_indices=True))
    x = torch.randn(5, 2, 6, 6)
    before = model(x)
    ss.to_sparse(model, 0.0)
    found = model(x)
    assert torch.allclose(found[0], before[0], atol=1e-5)
    assert torch.equal(found[1], before[1])
    assert torch.equal(nn.MaxUnpool2d(2)(*found), nn.MaxUnpool2d(2)(found[0], before[1]))
