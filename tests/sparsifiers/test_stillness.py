"""A step that cannot leave the mask is not cleaned up after; whatever else happens is."""

import copy
import pickle

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.sparsifiers.stillness import CERTAIN, TRIALS, Held

X = torch.randn(16, 20, generator=torch.Generator().manual_seed(1))
SETTLED = TRIALS + 3


class Run:
    def __init__(self, make=None, sparsity=0.5):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
        make = make or (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01))
        self.optimizer = make(self.model.parameters())
        self.sparsifier = ss.Static(sparsity=sparsity).attach(self.model, self.optimizer)
        self.weight = self.model[0].weight
        self.closed = ~self.sparsifier.mask["0.weight"]

    def backward(self):
        self.optimizer.zero_grad()
        self.model(X).square().mean().backward()

    def train(self, steps=SETTLED):
        for _ in range(steps):
            self.backward()
            self.optimizer.step()
        return self

    def step_counting_holds(self, monkeypatch, between=lambda: None):
        """Take a step, with something done before the optimizer's part of it."""
        self.backward()
        between()
        calls = []
        with monkeypatch.context() as patch:
            hold = Held.hold
            patch.setattr(Held, "hold", lambda held: (calls.append(held), hold(held)))
            self.optimizer.step()
        return len(calls)

    def assert_held(self):
        state = self.optimizer.state[self.weight]
        for tensor in [self.weight, *state.values()]:
            if isinstance(tensor, torch.Tensor) and tensor.shape == self.weight.shape:
                assert (tensor[self.closed] == 0).all()


ELEMENTWISE = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "fused adam": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
}


@pytest.mark.parametrize("make", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_an_elementwise_optimizer_comes_to_be_trusted(make, monkeypatch):
    run = Run(make)
    assert run.step_counting_holds(monkeypatch) > 0
    run.train()
    assert run.step_counting_holds(monkeypatch) == 0
    run.assert_held() if make is not ELEMENTWISE["rprop"] else None


def mixing(parameters):
    return torch.optim.Muon([p for p in parameters if p.ndim == 2], lr=0.1)


def adamax(parameters):
    """Its infinity norm is at least eps wherever it has been, which is not fresh."""
    return torch.optim.Adamax(parameters, lr=0.01)


@pytest.mark.parametrize("make", [mixing, adamax])
def test_an_optimizer_that_moves_what_is_closed_is_never_trusted(make, monkeypatch):
    run = Run(make)
    for _ in range(SETTLED):
        assert run.step_counting_holds(monkeypatch) > 0
        run.assert_held()


def write_one_weight(run):
    with torch.no_grad():
        run.weight[tuple(run.closed.nonzero()[0])] = 1.0


def write_one_momentum(run):
    run.optimizer.state[run.weight]["momentum_buffer"][tuple(run.closed.nonzero()[0])] = 1.0


def write_one_gradient(run):
    run.weight.grad[tuple(run.closed.nonzero()[0])] = 1.0


def put_another_gradient(run):
    run.weight.grad = torch.ones_like(run.weight)


def put_another_momentum(run):
    run.optimizer.state[run.weight]["momentum_buffer"] = torch.ones_like(run.weight)


def load_the_optimizer(run):
    state = copy.deepcopy(run.optimizer.state_dict())
    for entry in state["state"].values():
        entry["momentum_buffer"].fill_(1.0)
    run.optimizer.load_state_dict(state)


def load_the_model(run):
    run.model.load_state_dict({n: torch.ones_like(t) for n, t in run.model.state_dict().items()})


def write_behind_the_counter(run):
    run.weight.data.normal_()


def put_other_data(run):
    run.weight.data = torch.ones_like(run.weight)


def momentum_behind_the_counter(run):
    run.optimizer.state[run.weight]["momentum_buffer"].data.fill_(1.0)


def write_minus_zero(run):
    with torch.no_grad():
        run.weight[run.closed] = -0.0


def divide_by_zero(run):
    run.optimizer.param_groups[0]["lr"] = float("inf")  # ∞·0 is NaN


DISTURBANCES = [
    write_one_weight,
    write_one_momentum,
    write_one_gradient,
    put_another_gradient,
    put_another_momentum,
    load_the_optimizer,
    load_the_model,
    write_behind_the_counter,
    put_other_data,
    momentum_behind_the_counter,
    write_minus_zero,
    divide_by_zero,
]


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_whatever_happens_between_steps_the_mask_holds_after_the_next(disturb):
    run = Run().train()
    run.backward()
    disturb(run)
    run.optimizer.step()
    run.assert_held()
    assert not run.weight[run.closed].signbit().any()
    run.train(3).assert_held()


def test_what_neither_counter_nor_witness_sees_is_closed_before_long():
    run = Run(sparsity=0.2).train()
    for place in run.closed.nonzero():
        run.weight.data[tuple(place)] = 1.0
        if run.sparsifier._holding.still[0].witnesses_agree():
            break
        run.weight.data[tuple(place)] = 0.0
    else:
        pytest.fail("every closed weight is a witness")
    run.train(CERTAIN + 1).assert_held()


def test_clipped_and_scaled_gradients_stay_closed_and_trusted(monkeypatch):
    run = Run().train()
    parameters = list(run.model.parameters())
    holds = run.step_counting_holds(
        monkeypatch, between=lambda: nn.utils.clip_grad_norm_(parameters, 0.01)
    )
    assert holds == 0
    run.assert_held()


def test_strides_of_single_channels_say_nothing(monkeypatch):
    """Torch gives the gradient of a weight of one input channel, and with it the momentum that is
    cloned from it, other strides for the same memory."""
    run = Run()
    run.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 4))
    images = torch.randn(8, 1, 6, 6).as_strided((8, 1, 6, 6), (36, 1, 6, 1))
    run.backward = lambda: (
        run.optimizer.zero_grad(),
        run.model(images).square().mean().backward(),
    )
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1, momentum=0.9, fused=True)
    run.sparsifier = ss.Static(sparsity=0.5).attach(run.model, run.optimizer)
    run.train()
    weight = run.model[0].weight
    assert run.optimizer.state[weight]["momentum_buffer"].stride() != weight.stride()
    assert run.step_counting_holds(monkeypatch) == 0


def test_it_makes_no_difference_to_the_bits(monkeypatch):
    trusting = Run().train(40)
    monkeypatch.setattr("sparsescape.sparsifiers.stillness.TRIALS", 10**9)
    monkeypatch.setattr("sparsescape.sparsifiers.stillness.Stillness.begin", lambda still: None)
    careful = Run().train(40)
    for p, q in zip(trusting.model.parameters(), careful.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_it_is_trusted_again_right_after_the_mask_has_moved(monkeypatch):
    run = Run()
    run.sparsifier.detach()
    run.sparsifier = ss.SET(0.5, update_every=10, distribution="uniform")
    run.sparsifier.attach(run.model, run.optimizer)
    run.train(10)
    run.closed = ~run.sparsifier.mask["0.weight"]
    assert run.step_counting_holds(monkeypatch) == 0
    run.assert_held()


def test_one_that_is_trusted_is_copied_and_pickled_once_it_is_detached():
    run = Run().train()
    mask = run.sparsifier.mask
    run.sparsifier.detach()
    for twin in (copy.deepcopy(run.sparsifier), pickle.loads(pickle.dumps(run.sparsifier))):
        assert twin.mask == mask


def test_an_old_gradient_is_not_kept_alive():
    import weakref

    run = Run().train()
    run.backward()
    gradient = weakref.ref(run.weight.grad)
    run.optimizer.step()
    run.optimizer.zero_grad()
    assert gradient() is None


def test_two_optimizers_are_held_each_by_itself(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    one = torch.optim.SGD(model[0].parameters(), lr=0.1, momentum=0.9)
    two = torch.optim.Muon([model[2].weight], lr=0.1)
    sparsifier = ss.Static(sparsity=0.5).attach(model, one, two)
    for _ in range(SETTLED):
        model.zero_grad()
        model(X).square().mean().backward()
        one.step()
        two.step()
        sparsifier.mask.check_contains(model)
    assert not sparsifier._holding.still[0]._moves_closed
    assert sparsifier._holding.still[1]._moves_closed
