"""Masks as bits: what closes numbers touches those alone, whatever it is handed."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.sparsifiers import bits

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def masked_linear(inputs, outputs):
    model = nn.Linear(inputs, outputs, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, ss.Static(sparsity=0.5).attach(model, optimizer)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (0, 4), (1, 6), (2, 3, 1, 1)])
def test_only_closed_numbers_are_written(dtype, shape):
    """Also those that are NaN or infinite, and none beyond the ends."""
    size = torch.Size(shape).numel()
    buffer = torch.full((size + 16,), torch.nan, dtype=dtype)
    tensor = buffer[8 : 8 + size].view(shape)
    tensor.copy_(torch.randn(shape)).view(-1)[::3] = torch.inf
    before, active = tensor.clone(), torch.rand(shape) < 0.5
    mask = bits.all_or_none(active, like=tensor)
    assert mask.dtype == torch.int8
    bits.close(tensor, mask)
    assert torch.equal(tensor, torch.where(active, before, 0))
    assert buffer[:8].isnan().all()
    assert buffer[8 + size :].isnan().all()


@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.complex128])
def test_other_layouts_and_types_than_the_masks_are_closed_as_well(dtype):
    active = torch.rand(4, 6) < 0.5
    mask = bits.all_or_none(active, like=torch.zeros(4, 6))
    for tensor in (torch.ones(6, 4, dtype=dtype).t(), torch.ones(4, 12, dtype=dtype)[:, ::2]):
        bits.close(tensor, mask)
        assert torch.equal(tensor != 0, active)


def test_without_numba_masks_are_as_wide_as_numbers(without_numba):
    active = torch.rand(4, 6) < 0.5
    tensor = torch.full((4, 6), torch.nan)
    mask = bits.all_or_none(active, like=tensor)
    assert mask.dtype == torch.int32
    bits.close(tensor, mask)
    assert torch.equal(tensor.isnan(), active)


def test_where_numba_compiles_nothing_torch_does_it():
    program = (
        "import torch, sparsescape as ss; model = torch.nn.Linear(8, 4); "
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1); "
        "sparsifier = ss.Static(sparsity=0.75).attach(model, optimizer); "
        "model(torch.ones(1, 8)).sum().backward(); optimizer.step(); "
        "print(int((model.weight != 0).sum()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["8"]


@pytest.mark.parametrize("rows", [1, 20])
def test_a_parameter_with_other_data_is_refused_and_nothing_is_written(rows):
    """Its rows may lie in memory just as those of the mask."""
    model, _, _ = masked_linear(8, 10)
    model.weight.data = torch.ones(rows, 8)
    with pytest.raises(ss.InputError, match=r"shape \(10, 8\) cannot close .* \(\d+, 8\)"):
        model(torch.randn(2, 8)).sum().backward()
    assert (model.weight == 1).all()


def test_a_gradient_without_memory_is_torchs_error():
    model, optimizer, _ = masked_linear(8, 10)
    model.weight.grad = torch._efficientzerotensor((10, 8))
    with pytest.raises(RuntimeError, match="ZeroTensors are immutable"):
        optimizer.step()


def test_what_autograd_has_kept_is_not_changed_behind_its_back():
    model, optimizer, _ = masked_linear(4, 3)
    outputs = model(torch.randn(5, 4))
    (gradient,) = torch.autograd.grad((outputs**2).sum(), model.weight, create_graph=True)
    penalty = (gradient**2).sum()
    model.weight.grad = gradient
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(penalty, model.weight)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_weights_are_held(dtype):
    torch.manual_seed(0)
    model = nn.Linear(6, 5, bias=False, dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = ss.RigL(sparsity=0.5, update_every=2).attach(model, optimizer)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.randn(4, 6, dtype=dtype)).abs().sum().backward()
        optimizer.step()
        assert (model.weight[~sparsifier.mask["weight"]] == 0).all()
        assert sparsifier.mask.count == 15


def test_what_is_not_attached_can_be_copied():
    made = copy.deepcopy(ss.RigL(sparsity=0.5, update_every=2))
    model = nn.Linear(6, 5)
    made.attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert made.mask.count == 15
    model(torch.randn(3, 6)).square().sum().backward()
    made.detach()
    for copied in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert copied.sparsity == 0.5
        assert copied.weight("weight").shape == (5, 6)


METHODS = {
    "gradual": lambda: ss.GradualMagnitude(0.5, begin=1, end=3),
    "n:m": lambda: ss.NM(1, 2),
    "sr-ste": lambda: ss.SRSTE(1, 2),
    "powerpropagation": lambda: ss.PowerPropagation(0.5, begin=1, end=3),
    "movement": lambda: ss.MovementPruning(0.5, begin=1, end=3),
    "granet": lambda: ss.GraNet(0.5, prune_until=3, update_every=1),
    "escape": lambda: ss.Escape(sparsity=0.5, open=0.5, hold_for=1),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_pickled_method_does_as_the_one_it_is_of(method):
    made, model = METHODS[method](), nn.Linear(6, 5)
    masks = []
    for one in (made, pickle.loads(pickle.dumps(made))):
        twin = copy.deepcopy(model)
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        one.attach(twin, optimizer)
        for _ in range(4):
            twin(torch.ones(3, 6)).square().sum().backward()
            optimizer.step()
        masks.append(one.mask)
        one.detach()
        pickle.dumps(one)
    assert masks[0] == masks[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("stray", [1.0, -0.0, float("nan")])
def test_one_stray_number_is_seen_wherever_it_is(dtype, size, stray):
    torch.manual_seed(0)
    numbers = torch.randn(size, 3, dtype=dtype)
    active = torch.rand(size, 3) < 0.5
    active[-1, -1] = False
    mask = bits.all_or_none(active, like=numbers)
    bits.close(numbers, mask)
    assert bits.is_closed(numbers, mask)
    assert bits.is_closed(numbers.t(), mask.t())
    numbers[-1, -1] = stray
    assert not bits.is_closed(numbers, mask)
    assert not bits.is_closed(numbers.t(), mask.t())
    assert not bits.is_closed(numbers, mask.t().contiguous().t())  # in another order of memory
