"""BatchNorm of what has the batch innermost, against torch's of the same numbers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from sparsescape.kernels import normalization
from sparsescape.kernels.carriers import carry_layout
from sparsescape.kernels.layout import batch_innermost, has_batch_innermost

SHAPES = [(16, 2, 8, 8), (128, 4, 8, 8), (100, 3, 9, 11), (7, 1, 33, 32)]


def layers(shape, **options):
    plain = nn.BatchNorm2d(shape[1], **options)
    if plain.affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    carrier = copy.deepcopy(plain)
    carry_layout(carrier)
    return plain, carrier


def gradients(layer, x, g):
    x = x.requires_grad_()
    out = layer(x)
    wanted = torch.autograd.grad(out, [x, *layer.parameters()], g)
    return [out, *wanted]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"track_running_stats": False}], ids=str
)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_torchs(shape, options, threads):
    torch.manual_seed(0)
    plain, carrier = layers(shape, **options)
    x, g = 3 + 2 * torch.randn(shape), torch.randn(shape)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = gradients(carrier, batch_innermost(x), batch_innermost(g))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, gradients(plain, x, g), rtol=1e-4, atol=1e-5)
    assert "Normalized" in type(found[0].grad_fn).__name__
    assert all(has_batch_innermost(tensor) for tensor in found[:2])
    for one, other in zip(carrier.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(5, 3, 1, 1), (4, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_its_gradients_and_theirs_are_right(shape, affine, monkeypatch):
    monkeypatch.setattr(normalization, "_WORTH_A_CALL", 1)
    torch.manual_seed(0)
    _, carrier = layers(shape, affine=affine)
    carrier.double()
    x = batch_innermost(torch.randn(shape, dtype=torch.double)).requires_grad_()
    weights = list(carrier.parameters())

    def outputs(x, *weights):
        names = [name for name, _ in carrier.named_parameters()]
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(carrier, named, (x,))

    assert gradcheck(outputs, (x, *weights))
    assert gradgradcheck(outputs, (x, *weights))


def test_sums_of_many_numbers_far_from_zero_keep_their_digits():
    torch.manual_seed(0)
    _, carrier = layers((128, 2, 32, 32))
    x = 100 + torch.randn(128, 2, 32, 32)
    carrier(batch_innermost(x))
    exact = x.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(
        carrier.running_mean.double(), 0.1 * exact.mean(1), rtol=1e-6, atol=0
    )
    wanted = 0.9 + 0.1 * exact.var(1)
    torch.testing.assert_close(carrier.running_var.double(), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_are_torchs(momentum):
    torch.manual_seed(0)
    plain, carrier = layers(SHAPES[0], momentum=momentum)
    for _ in range(3):
        x = torch.randn(SHAPES[0])
        plain(x)
        carrier(batch_innermost(x))
    for one, other in zip(carrier.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    x = torch.randn(SHAPES[0])
    torch.testing.assert_close(carrier.eval()(batch_innermost(x)), plain.eval()(x))
    carrier.train().track_running_stats = False
    before = copy.deepcopy(carrier.state_dict())
    carrier(batch_innermost(x))
    torch.testing.assert_close(dict(carrier.state_dict()), dict(before))


def test_what_comes_after_may_write_into_it():
    torch.manual_seed(0)
    plain, carrier = layers(SHAPES[0])
    x, g = torch.randn(SHAPES[0]), torch.randn(SHAPES[0])
    found = gradients(nn.Sequential(carrier, nn.ReLU(inplace=True)), batch_innermost(x), g)
    wanted = gradients(nn.Sequential(plain, nn.ReLU(inplace=True)), x, g)
    torch.testing.assert_close(found, wanted)


def test_few_numbers_and_other_precisions_are_torchs():
    _, carrier = layers(SHAPES[0])
    few = carrier(batch_innermost(torch.randn(8, 2, 4, 4)))
    half = carrier.bfloat16()(batch_innermost(torch.randn(SHAPES[0]).bfloat16()))
    assert half.dtype == torch.bfloat16
    for out in (few, half):
        assert has_batch_innermost(out)
        assert "Normalized" not in type(out.grad_fn).__name__
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        carrier(torch.randn(2, 1, 1, 1).transpose(0, 1))
