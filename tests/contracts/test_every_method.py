"""What holds for every method, under every optimizer, after every step."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import sparsescape as ss


class SmallestGradient(ss.DropGrow):
    """A method of one's own: drop what has the smallest gradient."""

    def drop_score(self, name):
        return self.step_gradient(name).abs()


METHODS = {
    "static": lambda: ss.Static(sparsity=0.75),
    "one-shot": lambda: ss.OneShot(0.75, at=2),
    "gradual": lambda: ss.GradualMagnitude(0.75, begin=1, end=5, every=2),
    "ac/dc": lambda: ss.ACDC(0.75, begin=1, phase=1, end=5),
    "rigl": lambda: ss.RigL(0.75, update_every=2, update_until=8),
    "set": lambda: ss.SET(0.75, update_every=2),
    "mest": lambda: ss.MEST(0.75, update_every=2, update_until=8),
    "snfs": lambda: ss.SNFS(0.75, update_every=2, update_until=8),
    "dsr": lambda: ss.DSR(0.75, update_every=2, threshold=0.02, drop_fraction=0.1),
    "deep-r": lambda: ss.DeepR(0.75, shrinkage=0.1, temperature=1e-3),
    "rigl-itop": lambda: ss.RigLITOP(0.75, update_every=2),
    "set-itop": lambda: ss.SETITOP(0.75, update_every=2),
    "granet": lambda: ss.GraNet(0.75, update_every=2, prune_until=6, update_until=8),
    "srigl": lambda: ss.SRigL(0.75, update_every=2, update_until=8),
    "rigl in blocks": lambda: ss.RigL(0.75, update_every=2, structure=ss.structures.blocks(2, 2)),
    "n:m": lambda: ss.NM(1, 4, at=2),
    "sr-ste": lambda: ss.SRSTE(1, 4, decay=0.1),
    "top-kast": lambda: ss.TopKAST(0.75, update_every=2),
    "powerpropagation": lambda: ss.PowerPropagation(0.75, begin=1, end=5, every=2),
    "movement": lambda: ss.MovementPruning(0.75, begin=1, end=5),
    "str": lambda: ss.STR(initial=-3.0),
    "escape": lambda: ss.Escape(
        sparsity=0.75, open=20, at=2, hold_for=2, prune_for=2, prune_every=2
    ),
    "escape in rounds": lambda: ss.Escape(sparsity=0.75, open=0.1, hold_for=1, every=3, rounds=3),
    "escape, layers free": lambda: ss.Escape(sparsity=0.75, open=30, hold_for=3, layers="free"),
    "one of one's own": lambda: SmallestGradient(0.75, update_every=2),
}

MOVING = {"deep-r", "dsr", "snfs", "granet"}
"""Methods that keep the overall count, and move weights between layers."""

FROM_DENSE = {"one-shot", "gradual", "ac/dc", "n:m", "powerpropagation", "movement", "str"}

OPENS = {"escape", "escape in rounds", "escape, layers free"}
"""Methods that hold more weights for a while, and keep the count they begin with in the end."""

VIEWS = {"sr-ste", "top-kast", "powerpropagation", "movement", "str"}
"""Methods whose gradients and optimizer state are those of dense weights behind the model's."""

CHOOSES_ITS_SPARSITY = {"str"}

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adam fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.2),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "mixing": lambda p: Mixing(p),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}

FRESH = {("rprop", "step_size"): 0.01, ("adagrad", "sum"): 0.1}


class Mixing(torch.optim.Optimizer):
    """A stranger's optimizer that moves every weight by every gradient, as Muon does."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state["speed"] = state.get("speed", 0) + parameter.grad.sum() + parameter * 0
                    parameter.add_(state["speed"], alpha=-group["lr"])
        return loss


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))


def make_batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(32, 12, generator=generator)
    return x, (x[:, :4] + x[:, 4:8]).argmax(1)


def take(model, optimizer, step: int) -> None:
    x, y = make_batch(step)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_the_mask_holds_after_every_step(method, optimizer_name):
    model = make_model()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    sparsifier = METHODS[method]().attach(model, optimizer)
    start, moved = sparsifier.mask, False
    for step in range(8):
        held = sparsifier.mask
        take(model, optimizer, step)
        mask = sparsifier.mask
        moved = moved or mask != start
        mask.check_contains(model)
        if method not in FROM_DENSE | OPENS | {"granet"}:
            assert mask.count == start.count
        if method not in FROM_DENSE | OPENS | MOVING:
            assert mask.counts == start.counts
        for name, active in mask.items():
            if method in VIEWS:
                continue
            weight = model.get_parameter(name)
            assert not weight.grad[~held[name]].any()
            for key, value in optimizer.state[weight].items():
                if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                    fresh = FRESH.get((optimizer_name, key), 0.0)
                    assert (value[~active] == torch.tensor(fresh)).all(), key
    assert moved == (method != "static")


@pytest.mark.parametrize("method", sorted(METHODS.keys() - CHOOSES_ITS_SPARSITY))
def test_the_sparsity_asked_for_is_reached_exactly(method):
    model = make_model()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    sparsifier = METHODS[method]().attach(model, optimizer)
    for step in range(8):
        take(model, optimizer, step)
    assert sparsifier.mask.count == 352 // 4


@pytest.mark.parametrize("stop", range(1, 8))
@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumes_bit_for_bit(method, stop):
    def start():
        model = make_model()
        optimizer = OPTIMIZERS["adam"](model.parameters())
        return model, optimizer, METHODS[method]().attach(model, optimizer)

    model, optimizer, sparsifier = start()
    for step in range(8):
        if step == stop:
            saved = copy.deepcopy(
                (model.state_dict(), optimizer.state_dict(), sparsifier.state_dict())
            )
        take(model, optimizer, step)

    other, other_optimizer, other_sparsifier = start()
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    other_sparsifier.load_state_dict(saved[2])
    for step in range(stop, 8):
        take(other, other_optimizer, step)
    assert other_sparsifier.mask == sparsifier.mask
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_grad_scaler_changes_nothing_and_its_skipped_steps_do_not_count(method, fused):
    def start():
        model = make_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
        return model, optimizer, METHODS[method]().attach(model, optimizer)

    scaled, scaled_optimizer, scaled_sparsifier = start()
    clean, clean_optimizer, clean_sparsifier = start()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
    for step in range(9):
        x, y = make_batch(step)
        bad = step in (2, 5)
        scaled_optimizer.zero_grad()
        loss = cross_entropy(scaled(x), y) * (float("inf") if bad else 1.0)
        scaler.scale(loss).backward()
        scaler.step(scaled_optimizer)
        scaler.update()
        if not bad:
            take(clean, clean_optimizer, step)
        assert scaled_sparsifier.step == clean_sparsifier.step
        assert scaled_sparsifier.mask == clean_sparsifier.mask
    for p, q in zip(scaled.parameters(), clean.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("method", METHODS)
def test_copies_and_pickles_are_plain_models(method):
    model = make_model()
    keys = list(model.state_dict())
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    sparsifier = METHODS[method]().attach(model, optimizer)
    for step in range(3):
        take(model, optimizer, step)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert list(twin.state_dict()) == keys
            assert torch.equal(twin(make_batch(0)[0]), model(make_batch(0)[0]))
            twin(make_batch(0)[0]).sum().backward()  # a copy is free: nothing masks it
            assert twin[0].weight.grad.count_nonzero() > sparsifier.mask.counts["0.weight"] or (
                sparsifier.mask.densities["0.weight"] == 1
            )
    sparsifier.detach()
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("method", METHODS)
def test_what_is_named_dense_stays_dense(method):
    model = make_model()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    sparsifier = METHODS[method]()
    sparsifier.dense = ("2",)
    sparsifier.attach(model, optimizer)
    for step in range(6):
        take(model, optimizer, step)
    assert list(sparsifier.mask) == ["0.weight", "4.weight"]
    assert model[2].weight.count_nonzero() == model[2].weight.numel()
    if method not in CHOOSES_ITS_SPARSITY:
        assert sparsifier.mask.sparsity == pytest.approx(0.75, abs=0.01)
