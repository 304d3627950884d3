"""Dense models to sparse ones and back."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import sparsescape as ss


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, 2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 3),
    ).double()


X = torch.randn(20, 2, 10, 10, generator=torch.Generator().manual_seed(1)).double()
Y = torch.arange(20) % 3
OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-2),
}


def train(model, optimizer, steps=5):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_sparse_training_is_masked_training(make_optimizer):
    model = make_model()
    groups = [
        {"params": list(model[:5].parameters()), "lr": 0.02},
        {"params": model[7:].parameters()},
    ]
    optimizer = make_optimizer(groups)
    sparsifier = ss.Static(sparsity=0.7, distribution="uniform").attach(model, optimizer)
    train(model, optimizer)
    # Twins, whose optimizer has state: one goes on masked, one sparse.
    twin, other = copy.deepcopy((model, optimizer))
    ss.to_sparse(twin, 0.5, optimizer=other, mask=sparsifier.mask)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert twin[4].weight.shape == (round(0.3 * 8 * 6 * 9),)
    assert [len(g["params"]) for g in other.param_groups] == [5, 6]
    assert other.param_groups[0]["params"][0] is twin[0].weight
    torch.testing.assert_close(train(twin, other), train(model, optimizer))
    # And back, with the state that has changed.
    assert ss.to_dense(twin, other) is twin
    ss.Static(mask=sparsifier.mask).attach(twin, other)
    assert [type(m) for m in twin] == [type(m) for m in model]
    torch.testing.assert_close(train(twin, other), train(model, optimizer))
    for one, same in zip(twin.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(one, same)


def test_only_layers_that_are_sparse_enough():
    model = make_model()
    ss.Mask({"4.weight": torch.rand(8, 6, 3, 3) < 0.15}).apply_(model)
    x = model(X)
    assert ss.to_sparse(model) is model
    assert type(model[4]) is ss.SparseConv2d
    assert isinstance(model[0], nn.Conv2d)
    torch.testing.assert_close(model(X), x)
    mask = ss.Mask({"7.weight": torch.rand(16, 32) < 0.15, "10.weight": torch.rand(3, 16) < 0.15})
    mask.apply_(model)
    ss.to_sparse(model, dense=["10"])
    assert type(model[7]) is ss.SparseLinear
    assert isinstance(model[10], nn.Linear)


def test_positions_of_the_mask_are_held_even_where_the_weight_is_0():
    model = nn.Linear(10, 4)
    mask = ss.Mask({"weight": torch.rand(4, 10) < 0.2})
    with torch.no_grad():
        model.weight.zero_()
    ss.to_sparse(model, 0.5, mask=mask)
    assert model.weight.shape == (mask.count,)
    assert torch.equal(model.pattern.flat(), mask.indices("weight"))


def test_modules_stay_the_objects_they_are():
    model = make_model()
    layer, calls = model[7], []
    layer.register_forward_hook(lambda *_: calls.append(1))
    layer.weight.requires_grad_(False)
    model[4].eval()
    ss.Mask.from_scores(
        ss.scores.magnitude(model), densities=ss.distributions.uniform(model, sparsity=0.9)
    ).apply_(model)
    ss.to_sparse(model)(X)
    assert model[7] is layer
    assert calls == [1]
    assert not layer.weight.requires_grad
    assert not model[4].training
    assert model[0].training


def test_gradients_go_along():
    model = nn.Linear(10, 4)
    ss.Mask({"weight": torch.rand(4, 10) < 0.2}).apply_(model)
    model(torch.randn(3, 10)).square().sum().backward()
    before = model.weight.grad.clone()
    held = model.weight.detach() != 0
    ss.to_sparse(model, 0.5)
    assert torch.equal(model.weight.grad, before[held])
    ss.to_dense(model)
    assert torch.equal(model.weight.grad, before * held)


class Tied(nn.Module):
    def __init__(self, inner: nn.Module, outer: nn.Module):
        super().__init__()
        self.inner, self.outer = inner, outer
        self.outer.weight = self.inner.weight
        with torch.no_grad():
            self.inner.weight[torch.rand(self.inner.weight.shape) < 0.9] = 0


def test_tied_layers_stay_tied():
    model = Tied(nn.Linear(8, 8), nn.Linear(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ss.to_sparse(model, 0.5, optimizer=optimizer)
    assert model.inner.weight is model.outer.weight is optimizer.param_groups[0]["params"][0]
    assert len(list(model.parameters())) == 3
    model.outer(model.inner(torch.randn(4, 8))).sum().backward()
    optimizer.step()
    ss.to_dense(model)
    assert model.inner.weight is model.outer.weight


def test_ties_to_what_cannot_be_sparse_are_refused_by_name():
    model = Tied(nn.Embedding(8, 8), nn.Linear(8, 8))
    with pytest.raises(ss.InputError, match=r"'outer.weight' and 'inner.weight' are tied"):
        ss.to_sparse(model, 0.5)
    assert type(model.outer) is nn.Linear
    ss.to_sparse(model, 0.5, dense=["outer"])
    assert type(model.outer) is nn.Linear


def test_an_attached_sparsifier_is_refused():
    model = make_model()
    sparsifier = ss.Static(sparsity=0.9).attach(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ss.InputError, match="detach"):
        ss.to_sparse(model)
    sparsifier.detach()
    assert type(ss.to_sparse(model)[4]) is ss.SparseConv2d


@pytest.mark.parametrize("why", ["tied", "detach"])
def test_what_is_refused_is_refused_before_anything_is_measured(why):
    model = Tied(nn.Embedding(8, 8), nn.Linear(8, 8)) if why == "tied" else make_model()
    if why == "detach":
        ss.Static(sparsity=0.9).attach(model, torch.optim.SGD(model.parameters(), 0.1))
    model.register_forward_pre_hook(lambda *_: pytest.fail("it was run"))
    with pytest.raises(ss.InputError, match=why):
        ss.to_sparse(model, 0.5, torch.zeros(4, 8, dtype=torch.long) if why == "tied" else X)


def test_layers_whose_weights_others_read_stay_dense():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0).eval()
    for parameter in model.parameters():
        with torch.no_grad():
            parameter[torch.rand(parameter.shape) < 0.9] = 0
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        before = model(x)
        torch.testing.assert_close(ss.to_sparse(model)(x), before)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1])
def test_a_sparsity_that_cannot_be(sparsity):
    with pytest.raises(ss.InputError, match="from 0 to 1"):
        ss.to_sparse(make_model(), sparsity)


def test_measuring_leaves_the_model_and_the_random_numbers_as_they_were():
    model = make_model().append(nn.Dropout(0.5))
    ss.Mask.from_scores(
        ss.scores.magnitude(model), densities=ss.distributions.uniform(model, sparsity=0.9)
    ).apply_(model)
    before, numbers = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    times = ss.layer_times(model, X)
    assert [row.name for row in times] == ["0", "4", "7", "10"]
    assert all(row.dense > 0 and row.sparse > 0 for row in times)
    assert len(str(times).splitlines()) == 5
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert model.training
    assert str(ss.layer_times(ss.to_sparse(model), X)) == "No layer would be made sparse."


@pytest.mark.parametrize("sparse_wins", [True, False])
def test_example_inputs_keep_the_faster_of_both(sparse_wins, monkeypatch):
    model = make_model()
    ss.Mask.from_scores(
        ss.scores.magnitude(model), densities=ss.distributions.uniform(model, sparsity=0.9)
    ).apply_(model)
    from sparsescape.kernels import measure

    answers = iter([(2, 1), (1, 2), (2, 1), (2, 1), (2, 1) if sparse_wins else (1, 2)])
    monkeypatch.setattr(measure, "_compared", lambda dense, sparse: next(answers))
    ss.to_sparse(model, example_inputs=X)
    kinds = [ss.SparseConv2d, nn.Conv2d, ss.SparseLinear, ss.SparseLinear]
    plain = [nn.Conv2d, nn.Conv2d, nn.Linear, nn.Linear]
    assert [type(model[i]) for i in (0, 4, 7, 10)] == (kinds if sparse_wins else plain)


def test_a_mask_may_name_weights_that_stay_dense():
    model = nn.Sequential(nn.Embedding(10, 20), nn.Linear(20, 30), nn.Linear(30, 2))
    sparsifier = ss.Static(sparsity=0.9).attach(model, torch.optim.SGD(model.parameters(), 0.1))
    mask = sparsifier.mask
    sparsifier.detach()
    ss.to_sparse(model, mask=mask)
    assert "0.weight" in mask
    assert model[0].weight.ndim == 2
    assert model[1].weight.shape == (mask.counts["1.weight"],)
    ss.to_sparse(model, mask=mask)  # once more: what is sparse stays so
    with pytest.raises(ss.InputError, match=r"'9.weight'"):
        ss.to_sparse(model, mask=ss.Mask({"9.weight": torch.ones(2, 2, dtype=torch.bool)}))


@pytest.mark.parametrize("convert", [ss.to_sparse, ss.to_dense])
def test_an_optimizer_that_cannot_be_migrated_leaves_the_model_as_it_was(convert):
    model = make_model()
    ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.9).apply_(model)
    if convert is ss.to_dense:
        ss.to_sparse(model)
    before = [type(module) for module in model.modules()]
    with pytest.raises(ss.InputError, match="LBFGS"):
        convert(model, optimizer=torch.optim.LBFGS(model.parameters()))
    assert [type(module) for module in model.modules()] == before


class Windowed(nn.Module):
    """Reads the weights of its children, as torchvision's windowed attention does."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(24, 8)

    def forward(self, x):
        return self.out(nn.functional.linear(x, self.qkv.weight, self.qkv.bias))


def test_a_layer_whose_weight_is_read_by_the_module_around_it_stays_dense():
    model = nn.Sequential(Windowed(), nn.Linear(8, 8))
    ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.9).apply_(model)
    x = torch.randn(3, 8)
    expected = model(x)
    ss.to_sparse(model)
    assert model[0].qkv.weight.ndim == 2
    assert model[0].out.weight.ndim == model[1].weight.ndim == 1
    torch.testing.assert_close(model(x), expected)


def test_complex_layers_stay_dense():
    model = torch.nn.Sequential(torch.nn.Linear(30, 20, dtype=torch.complex64))
    torch.nn.init.zeros_(model[0].weight)
    assert type(ss.to_sparse(model)[0]) is torch.nn.Linear


def test_a_mask_that_is_not_that_of_a_sparse_layer_is_refused():
    mask = ss.Mask({"0.weight": torch.arange(600).reshape(20, 30) % 10 == 0})
    model = ss.to_sparse(torch.nn.Sequential(torch.nn.Linear(30, 20)), mask=mask)
    assert ss.to_sparse(model, mask=mask) is model
    other = ss.Mask({"0.weight": torch.arange(600).reshape(20, 30) % 10 == 1})
    with pytest.raises(ss.InputError, match="holds other positions"):
        ss.to_sparse(model, mask=other)


@dataclass
class Said:
    scores: Tensor


class Head(nn.Module):
    """A model whose outputs and code differ by what it is asked for."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Linear(30, 40), nn.Linear(200, 3)

    def forward(self, x: Tensor) -> Any:
        hidden = self.a(x)
        scores = self.b(hidden.view(len(x), -1) if self.kind == "view" else hidden.flatten(1))
        found = {"decisions": scores.argmax(1), "dataclass": Said(scores)}
        return found.get(self.kind, scores)


@pytest.mark.parametrize("kind", ["decisions", "dataclass", "frozen"])
def test_outputs_of_any_kind_are_measured(kind):
    model = Head(kind).requires_grad_(kind != "frozen")
    assert len(ss.layer_times(model, torch.randn(2, 5, 30), 0.0)) == 2
    ss.to_sparse(model, 0.0, example_inputs=torch.randn(2, 5, 30))


@pytest.mark.parametrize(
    ("example", "why"),
    [
        (torch.randn(2, 5, 29), "cannot be called with these example inputs: mat1"),
        (3, "not of type int"),
        ((), "cannot be called with these example inputs"),
        (torch.randn(2, 5, 30), r"does not run truly sparse.*view size"),
    ],
)
def test_examples_that_the_model_does_not_take_are_refused(example, why, monkeypatch):
    from sparsescape.kernels import measure

    monkeypatch.setattr(measure, "_compared", lambda dense, sparse: (2, 1))
    model = Head("view")
    with pytest.raises(ss.InputError, match=why):
        ss.to_sparse(model, 0.0, example_inputs=example)
    assert type(model.a) is nn.Linear


class Wrapped(nn.parallel.DistributedDataParallel):
    """As one of several ranks has it, without the others."""

    def __init__(self, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.module = module


def test_a_model_that_is_wrapped_for_several_ranks_is_refused(tmp_path):
    dense, sparse = nn.Sequential(nn.Linear(8, 8)), nn.Sequential(nn.Linear(8, 8))
    ss.save_sparse(ss.to_sparse(sparse, 0.0), tmp_path / "model.safetensors")
    for call, model in (
        (lambda model: ss.to_sparse(model, 0.0), dense),
        (lambda model: ss.load_sparse(model, tmp_path / "model.safetensors"), dense),
        (ss.to_dense, sparse),
    ):
        weight = model[0].weight
        with pytest.raises(ss.InputError, match="convert the model first, and wrap it then"):
            call(Wrapped(model))
        assert model[0].weight is weight


def test_what_is_no_mask_is_refused():
    with pytest.raises(ss.InputError, match=r"an ss\.Mask, not dict"):
        ss.to_sparse(make_model(), mask={"0.weight": torch.ones(6, 2, 3, 3, dtype=torch.bool)})


def test_what_is_no_model_or_no_share_is_refused():
    with pytest.raises(ss.InputError, match="is a model, not a Tensor"):
        ss.to_sparse(torch.ones(2, 2))
    with pytest.raises(ss.InputError, match="min_sparsity is a number"):
        ss.to_sparse(nn.Linear(4, 2), min_sparsity="0.8")


def test_made_dense_again_it_is_of_the_classes_it_was_of_for_tools_that_look_for_those():
    model = make_model().float().eval()
    classes = [type(module) for module in model.modules()]
    found = ss.to_dense(ss.to_sparse(copy.deepcopy(model), 0.0, dense=["0", "10"]))
    assert [type(module) for module in found.modules()] == classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will move its quantization elsewhere
        quantized = torch.ao.quantization.quantize_dynamic(found)
    assert [type(quantized[i]).__module__.split(".")[2:5] for i in (7, 10)] == [
        ["nn", "quantized", "dynamic"]
    ] * 2
    torch.testing.assert_close(quantized(X.float()), model(X.float()), rtol=0.1, atol=0.05)
