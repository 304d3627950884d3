"""What holds for every method that works on truly sparse layers, after every step."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import sparsescape as ss

SIZES = {"0.weight": (6, 2, 3, 3), "3.weight": (16, 54), "5.weight": (4, 16)}
KEPT = {"0.weight": 20, "3.weight": 90, "5.weight": 13}
STEPS = 8


class SmallestGradient(ss.DropGrow):
    """A method of one's own."""

    def drop_score(self, name):
        return self.step_gradient(name).abs()


METHODS = {
    "static": lambda **more: ss.Static(start(), **more),
    "rigl": lambda **more: ss.RigL(**moving(more)),
    "rigl, falling": lambda **more: ss.RigL(**moving(more), update_until=7),
    "set": lambda **more: ss.SET(**moving(more)),
    "mest": lambda **more: ss.MEST(**moving(more)),
    "rigl-itop": lambda **more: ss.RigLITOP(**moving(more)),
    "set-itop": lambda **more: ss.SETITOP(**moving(more)),
    "snfs": lambda **more: ss.SNFS(**moving(more)),
    "dsr": lambda **more: ss.DSR(**moving(more), threshold=0.05, drop_fraction=0.1),
    "deep-r": lambda **more: ss.DeepR(
        **{**moving(more), "update_every": 1}, shrinkage=0.2, temperature=1e-3
    ),
    "top-kast": lambda **more: ss.TopKAST(0.95, backward_sparsity=0.92, update_every=2, **more),
    "one of one's own": lambda **more: SmallestGradient(**moving(more)),
}

BETWEEN_LAYERS = {"snfs", "dsr", "deep-r"}
"""Methods that keep the overall count only."""

AS_MASKED = {name for name in METHODS if name != "deep-r"}
"""Those whose random numbers do not depend on what the weights are held as."""

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adam fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}

FRESH = {("rprop", "step_size"): 0.01, ("adagrad", "sum"): 0.1}


def moving(more: dict[str, Any]) -> dict[str, Any]:
    return {"sparsity": 0.88, "update_every": 2, "initial_mask": start(), **more}


def start() -> ss.Mask:
    torch.manual_seed(1)
    return ss.Mask.from_indices(
        {n: torch.randperm(torch.Size(SIZES[n]).numel())[:count] for n, count in KEPT.items()},
        SIZES,
    )


def masked_model(mask: ss.Mask | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2), nn.Tanh(), nn.Flatten(),
        nn.Linear(54, 16), nn.Tanh(), nn.Linear(16, 4),
    ).double()  # fmt: skip
    (start() if mask is None else mask).apply_(model)
    return model


def sparse_model() -> nn.Module:
    return ss.to_sparse(masked_model(), 0.0, mask=start())


def batch(step: int, size: int = 16) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(step)
    x = torch.randn(size, 2, 7, 7, generator=source, dtype=torch.float64)
    return x, x.flatten(2).mean(2)[:, 0].mul(40).long().remainder(4)


def take(model, optimizer, step: int, parts: int = 1) -> float:
    x, y = batch(step)

    def closure():
        optimizer.zero_grad()
        losses = [
            cross_entropy(model(a), b) / parts
            for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True)
        ]
        for loss in losses:
            loss.backward()
        return sum(loss.detach() for loss in losses)

    if isinstance(optimizer, torch.optim.LBFGS):
        return float(optimizer.step(closure))
    loss = closure()
    optimizer.step()
    return float(loss)


class Run:
    def __init__(self, method: str, model: nn.Module, optimizer: str = "sgd") -> None:
        self.model = model
        self.optimizer = OPTIMIZERS[optimizer](model.parameters())
        self.sparsifier = METHODS[method]().attach(model, self.optimizer)

    def take(self, step: int, parts: int = 1) -> float:
        return take(self.model, self.optimizer, step, parts)

    def dense(self) -> dict[str, Tensor]:
        """Positions in the dense weight of every value that is held, and all that is there."""
        found = {}
        for n, layer in self.layers().items():
            found[n] = layer.dense_weight().detach()
        return found

    def layers(self) -> dict[str, Any]:
        return {f"{n}.weight": m for n, m in self.model.named_modules() if hasattr(m, "pattern")}

    def state(self, name: str) -> dict[str, Tensor]:
        """The optimizer's state of one weight, of the weight's shape."""
        weight = self.model.get_parameter(name)
        state = self.optimizer.state.get(weight, {})
        return {k: v for k, v in state.items() if isinstance(v, Tensor) and v.shape == weight.shape}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_counts_are_exact_and_what_is_grown_is_fresh(method, optimizer):
    run = Run(method, sparse_model(), optimizer)
    first, moved = run.sparsifier.mask, False
    parameters = list(run.model.parameters())
    for step in range(STEPS):
        held = {n: layer.positions() for n, layer in run.layers().items()}
        run.take(step)
        mask = run.sparsifier.mask
        moved |= mask != first
        assert mask.count == first.count
        assert run.sparsifier.densities == mask.densities
        if method not in BETWEEN_LAYERS:
            assert mask.counts == first.counts
        for name, layer in run.layers().items():
            now = layer.positions()
            assert layer.weight.grad is None or layer.weight.grad.shape == layer.weight.shape
            if method == "top-kast":  # A and B are among what the layer holds
                assert torch.equal(now, held[name])
                assert torch.equal(layer.weight != 0, torch.isin(now, mask.indices(name)))
                continue
            assert torch.equal(now, mask.indices(name))
            grown = ~torch.isin(now, held[name])
            assert (layer.weight[grown] == 0).all()
            for key, value in run.state(name).items():
                fresh = FRESH.get((optimizer, key), 0.0)
                assert (value[grown] == torch.tensor(fresh, dtype=value.dtype)).all(), key
    assert moved == (method != "static")
    assert all(p is q for p, q in zip(run.model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", sorted(AS_MASKED))
def test_masks_and_losses_are_those_of_the_masked_network(method, optimizer):
    sparse, masked = Run(method, sparse_model(), optimizer), Run(method, masked_model(), optimizer)
    for step in range(STEPS):
        assert sparse.take(step) == pytest.approx(masked.take(step), rel=1e-9)
        assert sparse.sparsifier.mask == masked.sparsifier.mask, step
        for name, weight in sparse.dense().items():
            torch.testing.assert_close(weight, masked.model.get_parameter(name).detach())


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_are_one_batch(method):
    whole, parts = (Run(method, sparse_model()) for _ in range(2))
    for step in range(STEPS):
        assert whole.take(step) == pytest.approx(parts.take(step, parts=4), rel=1e-9)
        assert whole.sparsifier.mask == parts.sparsifier.mask


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop", [1, 2, 3, 5])
@pytest.mark.parametrize("order", ["model first", "model last", "optimizer first"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumes_bit_for_bit(method, stop, order, optimizer, tmp_path):
    run = Run(method, sparse_model(), optimizer)
    for step in range(STEPS):
        if step == stop:
            parts = (run.model, run.optimizer, run.sparsifier)
            torch.save([part.state_dict() for part in parts], tmp_path / "state")
        run.take(step)

    other = Run(method, sparse_model(), optimizer)
    parts = (other.model, other.optimizer, other.sparsifier)
    states = list(zip(parts, torch.load(tmp_path / "state"), strict=True))
    orders = {"model first": (0, 1, 2), "model last": (2, 1, 0), "optimizer first": (1, 2, 0)}
    for index in orders[order]:
        part, state = states[index]
        part.load_state_dict(state)
    for step in range(stop, STEPS):
        other.take(step)
    assert other.sparsifier.mask == run.sparsifier.mask
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_copies_and_pickles_are_plain_models(method):
    run = Run(method, sparse_model())
    for step in range(3):
        run.take(step)
        for twin in (copy.deepcopy(run.model), pickle.loads(pickle.dumps(run.model))):
            assert list(twin.state_dict()) == list(run.model.state_dict())
            x, y = batch(step)
            assert torch.equal(twin(x), run.model(x))
            cross_entropy(twin(x), y).backward()
            assert all(
                module.watch is None for module in twin.modules() if hasattr(module, "watch")
            )
    run.sparsifier.detach()
    assert all(layer.watch is None for layer in run.layers().values())


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_random_state_is_used(method):
    run, before = Run(method, sparse_model()), torch.get_rng_state()
    for step in range(4):
        run.take(step)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_named_dense_stays_as_it_is(method):
    model = sparse_model()
    held = model[3].positions()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    more = {"initial_mask": None} if method not in ("static", "top-kast") else {}
    if method == "static":
        sparsifier = ss.Static(sparsity=0.8, dense=["3"])
    else:
        sparsifier = METHODS[method](dense=["3"], **({"sparsity": 0.8, **more} if more else {}))
    sparsifier.attach(model, optimizer)
    for step in range(4):
        take(model, optimizer, step)
    assert list(sparsifier.mask) == ["0.weight", "5.weight"]
    assert torch.equal(model[3].positions(), held)
