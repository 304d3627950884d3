"""Optimizers that are not torch's: the contract holds on how each of them is used."""

import copy
import sys
from pathlib import Path

import pytest
import timm.optim
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import sparsescape as ss

sys.path.insert(0, str(Path(__file__).parent))
from strangers import SAM, Lion, Lookahead, ScheduleFree, Shampoo, Sophia

STEPS = 9

METHODS = {
    "static": lambda: ss.Static(sparsity=0.6),
    "rigl": lambda: ss.RigL(0.6, update_every=3),
    "set": lambda: ss.SET(0.6, update_every=2),
    "gradual": lambda: ss.GradualMagnitude(0.6, begin=1, end=7, every=2),
    "ac/dc": lambda: ss.ACDC(0.6, begin=1, phase=2, end=7),
    "top-kast": lambda: ss.TopKAST(0.6, update_every=2),
}


def batch(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(64, 12, generator=generator)
    return x, (x[:, :4] + x[:, 4:8]).argmax(1)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
    )


def backward(model, step):
    x, y = batch(step)
    loss = cross_entropy(model(x), y)
    loss.backward()
    return loss


def plain(model, optimizer, step):
    backward(model, step)
    optimizer.step()


def sam_by_hand(model, optimizer, step):
    backward(model, step)
    optimizer.first_step()
    backward(model, step)
    optimizer.second_step()


def sam_by_closure(model, optimizer, step):
    backward(model, step)
    optimizer.step(lambda: backward(model, step))


def with_curvature(model, optimizer, step):
    plain(model, optimizer, step)
    if step % 4 == 0:
        optimizer.zero_grad()
        backward(model, step)
        optimizer.update_hessian()


def evaluated_now_and_then(model, optimizer, step):
    plain(model, optimizer, step)
    optimizer.eval()
    assert cross_entropy(model(batch(step)[0]), batch(step)[1]).isfinite()
    optimizer.train()


def momentum(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def sam(model):
    return SAM(model.parameters(), lr=0.1, momentum=0.9)


WAYS = {
    "lion": (lambda m: Lion(m.parameters()), plain),
    "sophia": (lambda m: Sophia(m.parameters()), with_curvature),
    "shampoo": (lambda m: Shampoo(m.parameters()), plain),
    "schedule-free": (lambda m: ScheduleFree(m.parameters()), evaluated_now_and_then),
    "lookahead": (lambda m: Lookahead(momentum(m)), plain),
    "timm's lookahead": (lambda m: timm.optim.Lookahead(momentum(m), k=3), plain),
    "timm's rmsprop": (lambda m: timm.optim.RMSpropTF(m.parameters(), lr=0.01), plain),
    "sam by hand": (sam, sam_by_hand),
    "sam by closure": (sam, sam_by_closure),
}

FRESH = {("timm's rmsprop", "square_avg"): 1.0}

PRECONDITIONERS = ("preconditioner",)
"""State that has no element for each weight, though for a square weight it has its shape."""


MOVING = "schedule-free", "lookahead", "timm's lookahead"
"""They move weights beside a step that hooks tell of, which a dense weight behind them is not."""
PAIRS = [(w, m) for w in WAYS for m in METHODS if m != "top-kast" or w not in MOVING]


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


def start(way, method):
    model = make_model()
    optimizer = WAYS[way][0](model)
    return model, optimizer, METHODS[method]().attach(model, optimizer)


def saved_by(optimizer):
    """What of an optimizer has the state of a run: SAM's own state_dict lacks its base's."""
    return getattr(optimizer, "base_optimizer", optimizer)


def states(optimizer, weight):
    inner = [v for v in vars(optimizer).values() if isinstance(v, torch.optim.Optimizer)]
    for one in (optimizer, *inner):
        yield from one.state.get(weight, {}).items()


@pytest.mark.parametrize(("way", "method"), PAIRS)
def test_the_mask_holds_after_every_step_of_the_loop(way, method):
    model, optimizer, sparsifier = start(way, method)
    for step in range(STEPS):
        optimizer.zero_grad()
        WAYS[way][1](model, optimizer, step)
        assert sparsifier.step == step + 1
        sparsifier.mask.check_contains(model)
        if method == "top-kast":
            continue
        for name, active in sparsifier.mask.items():
            weight = model.get_parameter(name)
            for key, value in states(optimizer, weight):
                held = isinstance(value, torch.Tensor) and value.shape == weight.shape
                if held and not key.startswith(PRECONDITIONERS):
                    assert (value[~active] == FRESH.get((way, key), 0.0)).all(), key
    assert sparsifier.mask.sparsity == pytest.approx(0.6, abs=0.01)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("way", MOVING)
def test_what_moves_weights_that_are_only_shown_is_refused(way):
    def run():
        model, optimizer, _ = start(way, "top-kast")
        for step in range(STEPS):
            optimizer.zero_grad()
            WAYS[way][1](model, optimizer, step)

    with pytest.raises(ss.InputError, match="TopKAST keeps dense weights behind the shown ones"):
        run()


@pytest.mark.parametrize(("way", "method"), [pair for pair in PAIRS if pair[0] != "lookahead"])
def test_a_run_resumes_bit_for_bit(way, method):
    """(Not Lookahead: its own state_dict lacks the counter of its steps.)"""
    model, optimizer, sparsifier = start(way, method)
    for step in range(STEPS):
        if step == 5:
            parts = model, saved_by(optimizer), sparsifier
            saved = copy.deepcopy([part.state_dict() for part in parts])
        optimizer.zero_grad()
        WAYS[way][1](model, optimizer, step)
    other, other_optimizer, other_sparsifier = start(way, method)
    parts = other, saved_by(other_optimizer), other_sparsifier
    for part, state in zip(parts, saved, strict=True):
        part.load_state_dict(state)
    for step in range(5, STEPS):
        other_optimizer.zero_grad()
        WAYS[way][1](other, other_optimizer, step)
    assert other_sparsifier.mask == sparsifier.mask
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"lookahead"}))
def test_a_step_that_rigl_takes_the_place_of_moves_no_weight_that_stays(way):
    model, optimizer, sparsifier = start(way, "rigl")
    for step in range(3):
        before, mask = copy.deepcopy(model), sparsifier.mask
        optimizer.zero_grad()
        backward(model, step)
        if way.startswith("sam"):
            optimizer.first_step()
            backward(model, step)
            optimizer.second_step()
        else:
            optimizer.step()
    assert sparsifier.mask != mask
    for name, old in before.named_parameters():
        new = model.get_parameter(name)
        kept = mask[name] & sparsifier.mask[name] if name in mask else torch.ones_like(old) > 0
        assert torch.equal(new[kept], old[kept]), name


def test_an_optimizer_that_cannot_bear_missing_gradients_is_spared_them():
    model, optimizer, _ = start("shampoo", "rigl")
    with pytest.raises(AttributeError):
        optimizer.step()
    for step in range(STEPS):
        plain(model, optimizer, step)
    assert [len(group["params"]) for group in optimizer.param_groups] == [6]
