"""What an optimizer gives a fresh element is observed."""

import pytest
import torch

import sparsescape as ss
from sparsescape.sparsifiers.fresh import fresh_values


class Stubborn(torch.optim.Optimizer):
    """It cannot be built from its settings, and starts its state at 3."""

    def __init__(self, params, helper):
        helper.append(1)
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state.update(level=torch.full_like(parameter, 3.0), count=0)
                state["level"].mul_(0.5)
                state["count"] += 1


def found(optimizer, steps=0):
    weight = optimizer.param_groups[0]["params"][0]
    for _ in range(steps):
        weight.grad = torch.randn_like(weight)
        optimizer.step()
    before = torch.random.get_rng_state()
    values = fresh_values(optimizer, optimizer.param_groups[0], weight)
    assert torch.equal(torch.random.get_rng_state(), before)
    return values


def weight():
    return torch.nn.Parameter(torch.ones(4, 3))


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: torch.optim.SGD([weight()], lr=0.1, momentum=0.9), {}),
        (lambda: torch.optim.Adam([weight()], amsgrad=True), {}),
        (lambda: torch.optim.Adamax([weight()]), {}),
        (lambda: torch.optim.Rprop([weight()], lr=0.125), {"step_size": 0.125}),
        (lambda: torch.optim.Adagrad([weight()], initial_accumulator_value=0.5), {"sum": 0.5}),
        (lambda: Stubborn([weight()], []), {"level": 3.0}),
    ],
)
def test_the_value_is_the_first_one(make, expected, steps):
    assert found(make(), steps) == expected


def test_an_optimizer_that_no_twin_can_be_made_of_counts_as_zeros():
    assert found(torch.optim.LBFGS([weight()])) == {}


def test_the_users_optimizer_is_left_alone():
    optimizer = Stubborn([weight()], [])
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    found(optimizer)
    assert called == []
    assert not optimizer.state
    found(optimizer, steps=1)
    assert called == [1]


def test_what_is_fresh_follows_a_schedule_of_the_learning_rate():
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.Rprop(model.parameters(), lr=0.01)
    sparsifier = ss.SET(0.5, update_every=3).attach(model, optimizer)
    for lr in (0.01, 0.01, 0.0025):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        before = sparsifier.mask["weight"]
        model(torch.randn(16, 8)).square().mean().backward()
        optimizer.step()
    grown = sparsifier.mask["weight"] & ~before
    assert grown.any()
    step_size = optimizer.state[model.weight]["step_size"]
    assert (step_size[grown] == 0.0025).all()
    assert (step_size[~sparsifier.mask["weight"]] == 0.0025).all()


def test_what_is_kept_of_a_row_is_fresh_where_a_row_is_one_weight():
    model = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), torch.nn.Flatten(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    sparsifier = ss.SET(0.5, update_every=1, distribution="uniform").attach(model, optimizer)
    for _ in range(4):
        before = sparsifier.mask
        optimizer.zero_grad()
        model(torch.randn(5, 8, 1, 1)).square().sum().backward()
        optimizer.step()
        for name, active in sparsifier.mask.items():
            kept = active & before[name]
            states = optimizer.state[model.get_parameter(name)].values()
            of_weights = [t for t in states if t.shape == active.shape]
            assert of_weights
            assert not any(t[~kept].any() for t in of_weights), name
