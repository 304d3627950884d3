"""Sparsifiers on truly sparse layers: what is particular there."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparsescape as ss
from sparsescape.seeds import noise_at
from sparsescape.selection import keep_count
from sparsescape.sparsifiers.redistribution import over_urns

SHAPE = (12, 20)


def mask_of(seed: int = 0, count: int = 40) -> ss.Mask:
    source = torch.Generator().manual_seed(seed)
    return ss.Mask.from_indices(
        {"0.weight": torch.randperm(240, generator=source)[:count]}, {"0.weight": SHAPE}
    )


def model_of(mask: ss.Mask) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    mask.apply_(model)
    return ss.to_sparse(model, mask=mask, dense=["2"])


def batch(step: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(step)
    return torch.randn(7, 20, generator=source, dtype=torch.float64)


def loss_of(model: nn.Module, step: int = 0) -> Tensor:
    return model(batch(step)).square().mean()


class Watched(ss.DropGrow):
    """Keeps its mask, and what the gradient was."""

    def wants_gradient(self, step):
        return True

    def next_mask(self, step):
        self.seen = {n: self.gradient(n) for n in self._weights}


def watched(model: nn.Module, lr: float = 0.0) -> tuple[Watched, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return Watched(0.83, dense=["2"]).attach(model, optimizer), optimizer


def expected(model: nn.Module, *losses: Any) -> Tensor:
    """The gradient of the dense weight in a dense twin, summed over the losses."""
    twin = ss.to_dense(copy.deepcopy(model))
    twin.zero_grad()
    for loss in losses:
        loss(twin).backward()
    return twin[0].weight.grad


# ---------------------------------------------------------------------- the gradient


def test_the_gradient_is_that_of_the_dense_weight():
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    loss_of(model).backward()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], expected(model, loss_of))


def test_it_is_the_sum_over_micro_batches_and_over_several_uses_in_one_pass():
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)

    def twice(model, step=1):
        return model(batch(step)).sum() * model(batch(step + 1)).sum()

    loss_of(model).backward()
    twice(model).backward()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], expected(model, loss_of, twice))


@pytest.mark.parametrize("to_none", [True, False])
def test_what_was_zeroed_before_the_step_is_no_part_of_it(to_none):
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    loss_of(model, 5).backward()
    optimizer.zero_grad(set_to_none=to_none)
    loss_of(model).backward()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], expected(model, loss_of))


def test_a_gradient_of_the_inputs_alone_is_no_part_of_it():
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    x = batch(3).requires_grad_()
    torch.autograd.grad(model(x).sum(), x)
    loss_of(model).backward()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], expected(model, loss_of))


def test_a_penalty_on_gradients_is_part_of_it():
    def penalized(model):
        x = batch().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        return loss_of(model) + slope.square().sum()

    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    penalized(model).backward()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], expected(model, penalized))


def test_what_is_clipped_is_clipped_everywhere():
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    loss_of(model).backward()
    before = model[0].weight.grad.clone()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    scale = model[0].weight.grad.norm() / before.norm()
    optimizer.step()
    torch.testing.assert_close(sparsifier.seen["0.weight"], scale * expected(model, loss_of))


def test_without_a_gradient_it_is_0():
    model = model_of(mask_of())
    sparsifier, optimizer = watched(model)
    model[2].bias.sum().backward()
    optimizer.step()
    assert torch.equal(sparsifier.seen["0.weight"], torch.zeros(SHAPE, dtype=torch.float64))


def test_an_optimizer_that_steps_during_the_pass_is_refused():
    model = model_of(mask_of())
    first = torch.optim.SGD([model[0].weight], lr=0.1)
    rest = torch.optim.SGD([p for p in model.parameters() if p is not model[0].weight], lr=0.1)
    ss.RigL(0.83, update_every=1, dense=["2"]).attach(model, first, rest)

    def step(weight):
        first.step()
        rest.step()

    model[0].weight.register_post_accumulate_grad_hook(step)
    with pytest.raises(ss.InputError, match="during the backward pass"):
        loss_of(model).backward()


def test_nothing_is_kept_between_the_steps_that_ask():
    model = model_of(mask_of())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.RigL(0.83, update_every=2, dense=["2"]).attach(model, optimizer)
    for step in range(4):
        loss_of(model, step).backward()
        assert bool(sparsifier._backward._terms._summed) == (step % 2 == 1)
        optimizer.step()
        assert not sparsifier._backward._terms._summed


# ---------------------------------------------------------------------- moving


@pytest.mark.parametrize("count", [40, 25, 60])
def test_it_starts_from_another_mask_with_the_values_in_both(count):
    held, wanted = mask_of(), mask_of(seed=1, count=count)
    model = model_of(held)
    before = model[0].dense_weight().detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ss.Static(wanted).attach(model, optimizer)
    assert torch.equal(model[0].positions(), wanted.indices("0.weight"))
    assert torch.equal(model[0].dense_weight().detach(), before * (held & wanted)["0.weight"])
    loss_of(model).backward()
    optimizer.step()


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_what_attach_moved_away_comes_back_with_a_state(loaded):
    """The model has its checkpoint before the sparsifier is attached, at another first mask."""

    def run():
        model = model_of(mask_of())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, optimizer

    def rigl():
        return ss.RigL(0.83, update_every=2, initial_mask=mask_of(seed=1))

    model, optimizer = run()
    sparsifier = rigl().attach(model, optimizer)
    for step in range(3):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
    states = [part.state_dict() for part in (model, optimizer, sparsifier)]
    other, other_optimizer = run()
    if loaded == "before":
        other.load_state_dict(states[0])
        other_optimizer.load_state_dict(states[1])
    other_sparsifier = rigl().attach(other, other_optimizer)
    if loaded == "after":
        other.load_state_dict(states[0])
        other_optimizer.load_state_dict(states[1])
    other_sparsifier.load_state_dict(states[2])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    momentum = [o.state[m[0].weight]["momentum_buffer"] for m, o in
                ((model, optimizer), (other, other_optimizer))]  # fmt: skip
    assert torch.equal(*momentum)


def test_a_layer_may_get_more_weights_while_an_old_loss_is_held():
    """Autograd's node of the parameter knows its shape, and lives as long as the loss."""
    model, losses = model_of(mask_of()), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.DSR(0.6, update_every=1, threshold=0.1, initial_mask=both(mask_of()))
    sparsifier.attach(model, optimizer)
    sizes = {40}
    for step in range(5):
        losses.append(loss_of(model, step))
        losses[-1].backward()
        optimizer.step()
        sizes.add(len(model[0].weight))
    assert len(sizes) > 1


def both(mask: ss.Mask) -> ss.Mask:
    """The mask, and one for a layer that is dense."""
    active = torch.arange(36).reshape(3, 12) % 3 == 0
    return ss.Mask({"0.weight": mask.positions("0.weight"), "2.weight": active})


def test_tied_layers_move_together():
    model = nn.Sequential(nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 10)).double()
    model[2].weight = model[0].weight
    mask = ss.Mask({"0.weight": torch.arange(100).reshape(10, 10) % 7 == 0})
    mask.apply_(model)
    ss.to_sparse(model, mask=mask)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.RigL(0.85, update_every=1).attach(model, optimizer)
    for step in range(3):
        model(batch(step)[:, :10]).square().sum().backward()
        optimizer.step()
        assert torch.equal(model[0].positions(), model[2].positions())
        assert torch.equal(model[0].positions(), sparsifier.mask.indices("0.weight"))
    assert model[0].weight is model[2].weight
    assert sparsifier.mask != mask


def test_dense_layers_beside_truly_sparse_ones_are_masked():
    model = model_of(mask_of())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = ss.RigL(0.8333, update_every=2, distribution="uniform").attach(model, optimizer)
    first = sparsifier.mask
    assert first.counts == {"0.weight": 40, "2.weight": keep_count(36, 0.8333)}
    for step in range(4):
        loss_of(model, step).backward()
        optimizer.step()
        assert not model[2].weight[~sparsifier.mask["2.weight"]].any()
    assert all(sparsifier.mask.indices(n).tolist() != first.indices(n).tolist() for n in first)
    with pytest.raises(ss.InputError, match="'uniform' or 'erk'"):
        ss.RigL(0.83, distribution="global").attach(
            other := model_of(mask_of()), torch.optim.SGD(other.parameters())
        )


def test_a_masked_run_goes_on_truly_sparse():
    """The state of a sparsifier on dense weights fits the same network, made truly sparse."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def rigl():
        return ss.RigL(0.83, update_every=2, dense=["2"], initial_mask=mask_of())

    def train(model, optimizer, sparsifier, steps):
        for step in steps:
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
        return sparsifier

    def whole():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 3)).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, train(model, optimizer, rigl().attach(model, optimizer), range(6))

    sparsifier = train(model, optimizer, rigl().attach(model, optimizer), range(3))
    state = sparsifier.state_dict()
    sparsifier.detach()
    ss.to_sparse(model, optimizer=optimizer, mask=sparsifier.mask)
    sparsifier = rigl()
    sparsifier.initial_mask = None
    sparsifier.attach(model, optimizer).load_state_dict(state)
    train(model, optimizer, sparsifier, range(3, 6))
    masked, reference = whole()
    assert sparsifier.mask == reference.mask
    torch.testing.assert_close(model[0].dense_weight(), masked[0].weight)


def test_deep_r_keeps_the_sign_of_a_position_for_good():
    model = model_of(mask_of())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.DeepR(0.83, shrinkage=0.5, temperature=1e-2, dense=["2"])
    sparsifier.attach(model, optimizer)
    seen: dict[int, float] = dict(
        zip(model[0].positions().tolist(), model[0].weight.sign().tolist(), strict=True)
    )
    returned = 0
    for step in range(40):
        held = set(model[0].positions().tolist())
        loss_of(model, step).backward()
        optimizer.step()
        values = zip(model[0].positions().tolist(), model[0].weight.tolist(), strict=True)
        for position, value in values:
            returned += position in seen and position not in held
            if value:
                sign = 1.0 if value > 0 else -1.0
                assert seen.setdefault(position, sign) == sign
    assert returned > 20


def test_clipping_closures_and_zeroed_gradients_are_the_loops_own_business():
    plain, other = model_of(mask_of()), model_of(mask_of())
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (plain, other)]
    sparsifiers = [
        ss.RigL(0.83, update_every=2, dense=["2"]).attach(m, o)
        for m, o in zip((plain, other), optimizers, strict=True)
    ]
    for step in range(6):
        optimizers[0].zero_grad()
        loss_of(plain, step).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizers[0].step()

        def closure(at=step):
            optimizers[1].zero_grad(set_to_none=False)
            loss = loss_of(other, at)
            loss.backward()
            nn.utils.clip_grad_norm_(other.parameters(), 0.1)
            return loss

        optimizers[1].step(closure)
        assert sparsifiers[0].mask == sparsifiers[1].mask
        assert torch.equal(plain[0].weight, other[0].weight)


SCALED = {
    "rigl": lambda: ss.RigL(0.83, update_every=2, dense=["2"]),
    "snfs": lambda: ss.SNFS(0.83, update_every=2, dense=["2"]),
    "mest": lambda: ss.MEST(0.83, update_every=2, gradient_weight=1.0, dense=["2"]),
    "top-kast": lambda: ss.TopKAST(0.9, backward_sparsity=0.84, update_every=2, dense=["2"]),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("to_none", [False, True])
@pytest.mark.parametrize("method", SCALED.values(), ids=SCALED)
def test_a_step_that_the_grad_scaler_skips_does_not_count(method, to_none, fused):
    scaled, clean = model_of(mask_of()).float(), model_of(mask_of()).float()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01, fused=fused) for m in (scaled, clean)]
    sparsifiers = [method().attach(m, o) for m, o in zip((scaled, clean), optimizers, strict=True)]
    start = sparsifiers[0].mask
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)

    def loss_at(model, step):
        return model(batch(step).float()).square().mean()

    for step in range(7):
        bad = step in (1, 4)  # the first of them would be an update of the mask
        optimizers[0].zero_grad(set_to_none=to_none)
        scaler.scale(loss_at(scaled, step) * (float("inf") if bad else 1.0)).backward()
        scaler.step(optimizers[0])
        scaler.update()
        if not bad:
            optimizers[1].zero_grad(set_to_none=to_none)
            loss_at(clean, step).backward()
            optimizers[1].step()
        assert sparsifiers[0].step == sparsifiers[1].step
        assert sparsifiers[0].mask == sparsifiers[1].mask
    assert sparsifiers[0].mask != start
    for p, q in zip(scaled.parameters(), clean.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_compiled_models_are_sparsified():
    model = model_of(mask_of())
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.RigL(0.83, update_every=2, dense=["2"]).attach(compiled, optimizer)
    first = sparsifier.mask
    for step in range(4):
        loss_of(compiled, step).backward()
        optimizer.step()
    assert sparsifier.mask != first
    assert torch.equal(model[0].positions(), sparsifier.mask.indices("0.weight"))


def test_what_was_ever_active_is_counted_without_a_dense_mask():
    model = model_of(mask_of())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.SETITOP(0.83, update_every=1, dense=["2"]).attach(model, optimizer)
    ever = set(model[0].positions().tolist())
    for step in range(4):
        loss_of(model, step).backward()
        optimizer.step()
        ever |= set(model[0].positions().tolist())
    assert sparsifier.explored == len(ever) / 240


# ---------------------------------------------------------------------- of any size

TRAIN = """
import resource, torch, sparsescape as ss

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def train(method, width):
    layer = ss.SparseLinear.random(width, width, sparsity=0.999)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    sparsifier = method.attach(layer, optimizer)
    first = sparsifier.mask
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(2):
            layer(torch.randn(2, width)).square().mean().backward()
        optimizer.step()
    sparsifier.load_state_dict(sparsifier.state_dict())
    return sparsifier.mask != first

moved = []
for method, width in (
    (ss.SETITOP(0.999, update_every=1), 20_000),
    (ss.DeepR(0.999, temperature=1.0), 20_000),
    (ss.RigL(0.999, update_every=1), 5_000),
):
    train(method, 200)
    method.detach()
    before = peak()
    moved.append(train(method, width))
    print(peak() - before)
assert all(moved)
"""


def test_only_growing_by_gradient_makes_anything_as_large_as_a_dense_mask():
    """By the operating system's count of the most memory."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAIN], capture_output=True, text=True, check=True
    )
    of_set, of_deep_r, of_rigl = map(int, done.stdout.split())
    # Of 1.6 GB dense, and 0.4 GB as a bool tensor, 400 000 weights are held.
    assert of_set < 20_000**2 / 4
    assert of_deep_r < 20_000**2 / 4
    # The sum, and one term of it, of 100 MB each.
    assert of_rigl < 2.1 * 4 * 5_000**2


# ---------------------------------------------------------------------- random numbers


def test_balls_are_drawn_from_urns_of_any_size():
    counts = over_urns(np.random.default_rng(0), [3 * 10**11, 10**11, 5], 4000)
    assert sum(counts) == 4000
    assert abs(counts[0] - 3000) < 5 * (4000 * 0.75 * 0.25) ** 0.5
    assert counts[2] == 0


def test_noise_at_a_place_depends_on_place_and_seed_alone():
    places = torch.arange(100_000)
    one, other = noise_at(places, 7), noise_at(places, 8)
    assert torch.equal(noise_at(places[500:600], 7), one[500:600])
    for noise in (one, other):
        assert 0 <= noise.min() < 1e-3 < 0.999 < noise.max() < 1
        assert abs(noise.mean() - 0.5) < 5 / (12 * len(places)) ** 0.5
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.02
    assert abs(torch.corrcoef(torch.stack([one[1:], one[:-1]]))[0, 1]) < 0.02
