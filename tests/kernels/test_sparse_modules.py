"""The layers as modules: construction, state, copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import sparsescape as ss
from sparsescape import InputError, SparseConv2d, SparseLinear
from sparsescape.kernels import ops
from sparsescape.kernels.compiled import CompiledConv, CompiledLinear


def test_a_layer_of_10_to_the_12_weights_is_made_and_trained():
    """Four terabytes, if anything dense were made."""
    layer = SparseLinear.random(10**6, 10**6, sparsity=1 - 1e-8)
    optimizer = torch.optim.Adam(layer.parameters())
    out = layer(torch.ones(2, 10**6))
    out.sum().backward()
    optimizer.step()
    assert layer.weight.shape == layer.weight.grad.shape == (10**4,)
    assert out.count_nonzero() > 0


def test_random_layers_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = SparseConv2d.random(4, 8, 3, groups=2, sparsity=0.5, seed=3)
    torch.manual_seed(2)
    other = SparseConv2d.random(4, 8, 3, 1, 0, 1, 2, sparsity=0.5, seed=3)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert not torch.equal(
        one.indices, SparseConv2d.random(4, 8, 3, groups=2, sparsity=0.5, seed=4).indices
    )


def test_the_start_keeps_the_signal():
    layer = SparseLinear.random(2000, 500, sparsity=0.99)
    signal = layer(torch.randn(300, 2000, generator=torch.Generator().manual_seed(0)))
    assert 1.8 < signal.var().item() < 2.2


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SparseLinear.random(6, 4, sparsity=0.5), (0, 6)),
        (SparseConv2d.random(3, 4, 3, padding=1, sparsity=0.5), (0, 3, 5, 5)),
        (SparseConv2d.random(3, 4, 1, sparsity=0.5), (0, 3, 5, 5)),
    ],
)
def test_a_batch_of_no_examples_has_a_gradient_of_0(layer, shape, numba, monkeypatch):
    monkeypatch.setattr(ops, "_numba", [numba])
    layer.zero_grad()
    x = torch.empty(shape, requires_grad=True)
    out = layer(x * 1.0)
    out.sum().backward()
    assert len(out) == 0
    assert x.grad.shape == shape
    assert layer.weight.grad.count_nonzero() == 0


def test_state_dict_brings_positions_and_their_number():
    source = SparseLinear.random(20, 10, sparsity=0.7, seed=1)
    target = SparseLinear.random(20, 10, sparsity=0.9, seed=2)
    x = torch.randn(3, 20)
    target(x)
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        target.load_state_dict(torch.nn.Linear(20, 10).state_dict(), strict=False)


def _fewer_values(state):
    state["weight"] = state["weight"][:-5]


def _values_alone(state):
    del state["indptr"], state["indices"]
    state["weight"] = torch.randn(7)


def _a_position_outside(state):
    state["indices"][3] = 20


def _rows_that_end_before_they_begin(state):
    state["indptr"][1] = 50


def _of_another_shape(state):
    state.update(SparseLinear.random(20, 30, bias=False, sparsity=0.9).state_dict())


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "spoil",
    [
        _fewer_values,
        _values_alone,
        _a_position_outside,
        _rows_that_end_before_they_begin,
        _of_another_shape,
    ],
)
def test_positions_that_do_not_fit_are_not_loaded(spoil, strict):
    """The loops would read and write beyond the memory they were given."""
    layer = SparseLinear.random(20, 10, sparsity=0.8)
    before = copy.deepcopy(layer.state_dict())
    state = copy.deepcopy(before)
    spoil(state)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        layer.load_state_dict(state, strict=strict)
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_values_do_not_move_to_more_or_fewer_positions():
    layer = SparseLinear(3, 3, positions=torch.tensor([0, 2]))
    with pytest.raises(InputError, match="2 values cannot stand at 5 positions"):
        layer.move(torch.arange(5))
    assert torch.equal(layer.positions(), torch.tensor([0, 2]))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
def test_inputs_of_other_than_real_numbers_are_refused(dtype):
    """Of a complex one the imaginary part would be lost."""
    with pytest.raises(InputError, match="real numbers"):
        SparseLinear.random(4, 2, sparsity=0.5)(torch.ones(3, 4, dtype=dtype))


def test_copies_and_pickles_are_whole():
    layer = SparseConv2d.random(3, 4, 3, sparsity=0.5)
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    layer(x).sum().backward()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        assert twin.pattern.indices is twin.indices


def test_positions_outlive_to_empty_and_a_layer_without_any_is_refused():
    """The loops do not look where they read."""
    x = torch.ones(2, 20)
    layer = SparseLinear.random(20, 10, sparsity=0.7)
    positions = layer.positions()
    layer.to_empty(device="cpu")
    assert torch.equal(layer.positions(), positions)
    twin = SparseLinear.random(20, 10, sparsity=0.7).to("meta").to_empty(device="cpu")
    with pytest.raises(InputError, match=r"no positions after to_empty\(\): load a state"):
        twin(x)
    for parameter in layer.parameters():  # whatever there was in memory
        torch.nn.init.normal_(parameter)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(x), layer(x))


def test_compiled_models_run():
    layer = SparseLinear.random(20, 10, sparsity=0.7)
    x = torch.randn(3, 20)
    compiled = torch.compile(torch.nn.Sequential(layer, torch.nn.ReLU()), backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), layer(x).relu())


def test_layers_of_other_sizes_are_no_reason_to_compile_a_model_again():
    sizes = [(20, 18), (18, 16), (16, 14), (14, 12), (12, 10)]
    layers = [SparseLinear.random(*size, sparsity=0.7) for size in sizes]
    model = torch.nn.Sequential(*layers, torch.nn.ReLU())
    with torch._dynamo.config.patch(error_on_recompile=True), torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        x = torch.randn(3, 20)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own look at what it is given
def test_nothing_of_what_numba_compiles_is_traced(monkeypatch):
    """Or the first step of a compiled model would trace numba's own compiler, and fail there."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3), torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    mask = ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.8)
    mask.apply_(model)
    x = torch.randn(2, 3, 8, 8)
    wanted = model(x)
    ss.to_sparse(model, min_sparsity=0.5)
    traced = []

    def seen(kind, name):
        work = getattr(kind, name)

        def noted(*args):
            traced.append(torch.compiler.is_dynamo_compiling())
            return work(*args)

        monkeypatch.setattr(kind, name, noted)

    for kind in (CompiledConv, CompiledLinear):
        for name in ("sums", "both"):
            seen(kind, name)
    out = torch.compile(model, backend="eager")(x)
    out.sum().backward()
    torch.testing.assert_close(out, wanted, rtol=1e-4, atol=1e-5)
    assert len(traced) >= 6
    assert not any(traced)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SparseLinear.random(4, 2, sparsity=0.5), (3, 5)),
        (SparseConv2d.random(4, 2, 3, sparsity=0.5), (1, 3, 8, 8)),
        (SparseConv2d.random(4, 2, 3, sparsity=0.5), (1, 4, 8, 2)),
        (SparseConv2d.random(4, 2, 3, sparsity=0.5), (8, 8)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape):
    with pytest.raises(InputError, match=r"input|span"):
        layer(torch.ones(shape))


def test_a_gradient_of_other_values_is_gone_once_others_are_loaded():
    x = torch.randn(6, 20)
    few, many = (SparseLinear.random(20, 30, sparsity=share) for share in (0.9, 0.5))
    loss = many(x).sum()  # which a loop still holds
    loss.backward()
    many.load_state_dict(few.state_dict())
    many.zero_grad(set_to_none=False)
    many(x).sum().backward()
    assert many.weight.grad.shape == few.weight.shape


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": 3},
        {"groups": 0},
        {"stride": 0},
        {"stride": 1.5},
        {"dilation": 0},
        {"padding": -1},
        {"padding": "same", "stride": 2},
        {"padding_mode": "mirror"},
        {"kernel_size": (3, 3, 3)},
        {"out_channels": -4},
    ],
)
def test_there_is_no_such_convolution(arguments):
    arguments = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, **arguments}
    with pytest.raises(ss.InputError, match=r"convolution.*\.$"):
        ss.SparseConv2d.random(**arguments, sparsity=0.5)
    with pytest.raises(ss.InputError, match=r"convolution.*\.$"):
        ss.SparseConv2d(**arguments, positions=torch.tensor([1]))


@pytest.mark.parametrize("sizes", [(-1, 10), (10, 2.5)])
def test_there_is_no_weight_of_such_sizes(sizes):
    with pytest.raises(ss.InputError, match="whole numbers from 0 on"):
        ss.SparseLinear.random(*sizes, sparsity=0.5)
    with pytest.raises(ss.InputError, match="whole numbers from 0 on"):
        ss.SparseLinear(*sizes, positions=torch.tensor([1]))


@pytest.mark.parametrize(
    ("positions", "what"),
    [
        ([1, 2], "list"),
        (torch.tensor([1.5]), "torch.float32"),
        (torch.ones(3, 4, dtype=torch.bool), "torch.bool"),
    ],
)
def test_positions_are_whole_numbers(positions, what):
    with pytest.raises(ss.InputError, match=f"whole numbers, its flat indices, not {what}"):
        ss.SparseLinear(4, 3, positions=positions)


def test_a_layer_without_inputs_gives_out_its_bias():
    layer = ss.SparseLinear.random(0, 3, sparsity=0.5)
    assert layer(torch.ones(2, 5, 0)).shape == (2, 5, 3)
