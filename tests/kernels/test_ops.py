"""Every operation against torch's dense one, by the compiled loops and by torch.sparse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from sparsescape.kernels import compiled, ops, ways
from sparsescape.kernels.modules import SparseConv2d, SparseLinear

BATCHES = st.sampled_from([1, 2, 7, 8, 12, 20, 36, 65, 100, 131])
DENSITIES = st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])


@pytest.fixture(params=["as it is", "on a grid", "torch.sparse"], scope="module")
def way(request):
    """The first two are of the compiled loops: whatever shape or batch, convolutions take it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch.sparse":
            patch.setattr(ops, "_compiles", lambda values: False)
        else:
            chosen = ways.as_it_is if request.param == "as it is" else ways.on_grid
            patch.setattr(compiled, "way_of", lambda height, width, *_: chosen(height, width))
        yield request.param


def assert_same_as_dense(layer, dense, x):
    """Output and all gradients; ``dense`` is a function of input, weight and bias."""
    x.requires_grad_()
    weight = layer.dense_weight().detach().requires_grad_()
    bias = None if layer.bias is None else layer.bias.detach().clone().requires_grad_()
    expected, found = dense(x, weight, bias), layer(x)
    torch.testing.assert_close(found, expected)
    g = torch.randn_like(expected)
    inputs = [x, weight] + ([] if bias is None else [bias])
    wanted = torch.autograd.grad(expected, inputs, g)
    own = [x, layer.weight] + ([] if bias is None else [layer.bias])
    got = torch.autograd.grad(found, own, g)
    torch.testing.assert_close(got[0], wanted[0])
    torch.testing.assert_close(got[1], wanted[1].flatten()[layer.pattern.flat()])
    for one, other in zip(got[2:], wanted[2:], strict=True):
        torch.testing.assert_close(one, other)
    # Each gradient alone takes another way than both together.
    (alone,) = torch.autograd.grad(layer(x), [x], g)
    torch.testing.assert_close(alone, wanted[0])
    (alone,) = torch.autograd.grad(layer(x.detach()), [layer.weight], g)
    torch.testing.assert_close(alone, wanted[1].flatten()[layer.pattern.flat()])


@given(
    batch=BATCHES,
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 9),
    density=DENSITIES,
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_linear(way, batch, inputs, outputs, density, bias, seed):
    torch.manual_seed(seed)
    layer = SparseLinear.random(inputs, outputs, bias, sparsity=1 - density, seed=seed).double()
    assert_same_as_dense(layer, F.linear, torch.randn(batch, inputs, dtype=torch.float64))


@given(
    batch=st.sampled_from([1, 2, 7, 20]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    groups=st.integers(1, 3),
    density=DENSITIES,
    seed=st.integers(0, 99),
)
def test_conv2d(
    way, batch, size, kernel, stride, padding, dilation, channels, groups, density, seed
):
    for i in range(2):
        assume(size[i] + 2 * padding[i] >= dilation[i] * (kernel[i] - 1) + 1)
    torch.manual_seed(seed)
    layer = SparseConv2d.random(
        channels[0] * groups,
        channels[1] * groups,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        sparsity=1 - density,
        seed=seed,
    ).double()
    x = torch.randn(batch, channels[0] * groups, *size, dtype=torch.float64)
    assert_same_as_dense(
        layer, lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation, groups), x
    )


def test_runs_of_many_numbers_in_many_channels():
    """Longer than what the backward pass works on at a time."""
    torch.manual_seed(0)
    layer = SparseConv2d.random(256, 5, 3, padding=1, sparsity=0.98).double()
    x = torch.randn(101, 256, 4, 30, dtype=torch.float64)
    assert_same_as_dense(layer, lambda x, w, b: F.conv2d(x, w, b, padding=1), x)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid", 1, (2, 0)])
def test_paddings_of_torch(way, mode, padding):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(3, 4, (3, 5), 1, padding, padding_mode=mode).double()
    layer = SparseConv2d(
        3, 4, (3, 5), 1, padding, padding_mode=mode, positions=torch.arange(0, 180, 3)
    ).double()

    def dense(x, weight, bias):
        return torch.func.functional_call(plain, {"weight": weight, "bias": bias}, (x,))

    assert_same_as_dense(layer, dense, torch.randn(7, 3, 8, 9, dtype=torch.float64))


def test_one_by_one_and_depthwise(way):
    torch.manual_seed(0)
    x = torch.randn(5, 6, 7, 4, dtype=torch.float64)
    layer = SparseConv2d.random(6, 9, 1, sparsity=0.6).double()
    assert_same_as_dense(layer, F.conv2d, x)
    layer = SparseConv2d.random(6, 12, 3, padding=1, groups=6, sparsity=0.6).double()
    assert_same_as_dense(layer, lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=6), x.detach())


def test_leading_dimensions_and_rows_without_weights(way):
    layer = SparseLinear(
        6, 5, positions=torch.tensor([1, 4, 13, 15])
    ).double()  # rows 1, 3, 4: none
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    assert_same_as_dense(layer, F.linear, x)
    assert layer(x[0, 0, 0]).shape == (5,)
    assert layer(x[:0]).shape == (0, 3, 4, 5)
    assert SparseConv2d.random(2, 3, 3, sparsity=0.5)(torch.ones(2, 8, 8)).shape == (3, 6, 6)


@pytest.mark.parametrize("frozen", ["", "x", "weight", "bias"])
def test_gradcheck_of_every_operation(way, frozen):
    torch.manual_seed(0)
    linear = SparseLinear.random(5, 4, sparsity=0.5).double()
    conv = SparseConv2d.random(2, 4, 3, 2, 1, groups=2, sparsity=0.5).double()
    for layer, shape in ((linear, (3, 5)), (conv, (2, 2, 4, 3))):

        def function(x, weight, bias, layer=layer):
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

        x = torch.randn(shape, dtype=torch.float64)
        weight, bias = layer.weight.detach().clone(), torch.randn(4, dtype=torch.float64)
        for name, tensor in {"x": x, "weight": weight, "bias": bias}.items():
            tensor.requires_grad_(name != frozen)
        assert torch.autograd.gradcheck(function, (x, weight, bias))
        assert torch.autograd.gradgradcheck(function, (x, weight, bias))


def test_threads_change_no_bit():
    torch.manual_seed(0)
    layers = [
        (SparseLinear.random(300, 200, sparsity=0.8).double(), (100, 300)),
        (SparseConv2d.random(16, 12, 3, padding=1, sparsity=0.8).double(), (40, 16, 9, 9)),
        (SparseConv2d.random(90, 80, 3, 2, 1, sparsity=0.8).double(), (2, 90, 9, 9)),
    ]
    before = torch.get_num_threads()
    for layer, shape in layers:
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            out = layer(x)
            grads = torch.autograd.grad(out.square().sum(), [x, layer.weight, layer.bias])
            results.append([out.detach(), *grads[:2]])
        torch.set_num_threads(before)
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_precisions_give_their_own_type(dtype):
    torch.manual_seed(0)
    layer = SparseLinear.random(30, 20, sparsity=0.5).to(dtype)
    x = torch.randn(9, 30, dtype=dtype, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == layer.weight.grad.dtype == dtype
    expected = F.linear(x.float(), layer.dense_weight().float(), layer.bias.float())
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=2e-2)


def test_what_is_not_finite_stays_where_it_is():
    layer = SparseLinear(3, 2, False, positions=torch.tensor([0, 5])).double()
    x = torch.tensor([[float("nan"), 1.0, 2.0], [1.0, float("inf"), 3.0]], dtype=torch.float64)
    out = layer(x)
    assert out[0, 0].isnan()
    assert out[0, 1].isfinite()
    assert out[1].isfinite().all()  # its one input that is infinite is multiplied by nothing
