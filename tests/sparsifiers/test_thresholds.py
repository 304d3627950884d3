"""STR's thresholds: trained as the optimizer of the weights would, which does not know of them."""

import copy
import itertools
from functools import partial

import pytest
import torch
from torch import nn

import sparsescape as ss

SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, **SGD),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
    "muon": lambda p: torch.optim.Muon(p, lr=0.05),
}


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))


def loss_of(model, step):
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
    return (model(x) - x[:, :3]).square().mean()


def called_with(weights, x):
    return torch.func.functional_call(make_model(), weights, (x,))


class Run:
    def __init__(self, optimizer="sgd"):
        self.model = make_model()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.sparsifier = ss.STR(initial=-3.0)

    def attach(self):
        self.sparsifier.attach(self.model, self.optimizer)
        return self

    def train(self, *steps):
        for step in range(*steps):
            self.optimizer.zero_grad()
            loss_of(self.model, step).backward()
            self.optimizer.step()
        return self

    @property
    def parts(self):
        return self.model, self.optimizer, self.sparsifier

    @property
    def thresholds(self):
        return {name: s.item() for name, s in self.sparsifier.thresholds.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_is_left_as_it_is(name):
    run, plain = Run(name).attach(), Run(name)
    before = run.thresholds
    run.train(3)
    assert all(run.thresholds[name] != s for name, s in before.items())
    run.sparsifier.detach()
    plain.optimizer.load_state_dict(run.optimizer.state_dict())
    assert len(run.optimizer.param_groups[0]["params"]) == len(run.optimizer.state) == 2


def test_the_optimizer_is_left_as_it_is_where_attaching_fails():
    run = Run()
    run.sparsifier = ss.STR(initial=20.0, on_collapse="raise")
    before = copy.deepcopy(run.optimizer.state_dict())
    with pytest.raises(ss.InputError, match="lost all its weights"):
        run.attach()
    assert run.optimizer.state_dict() == before


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
@pytest.mark.parametrize("attached", ["first", "last"])
def test_a_run_goes_on_in_whatever_order_its_parts_are_loaded(name, order, attached):
    run = Run(name).attach().train(2)
    states = copy.deepcopy([part.state_dict() for part in run.parts])
    other = Run(name)
    for index in order:
        if index == 2 or attached == "first":
            other = other if other.sparsifier._handles else other.attach()
        other.parts[index].load_state_dict(states[index])
    run.train(2, 5)
    other.train(2, 5)
    assert other.thresholds == run.thresholds
    assert other.sparsifier.mask == run.sparsifier.mask
    for one, two in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_thresholds_move_as_if_they_were_in_the_optimizer():
    """Against autograd, with two groups whose learning rates change."""
    model = make_model()
    thetas = [nn.Parameter(w.detach().clone()) for w in model.parameters()]
    numbers = [nn.Parameter(torch.tensor(-3.0)) for _ in thetas]
    mine = [{"params": [w]} for w in model.parameters()]
    theirs = [{"params": list(pair)} for pair in zip(thetas, numbers, strict=True)]
    optimizers = []
    for groups in (mine, theirs):
        groups[1]["weight_decay"] = 0.5
        optimizers.append(torch.optim.AdamW(groups, lr=0.05))
    sparsifier = ss.STR(initial=-3.0).attach(model, optimizers[0])
    rates = [torch.optim.lr_scheduler.ExponentialLR(o, 0.7) for o in optimizers]
    for step in range(5):
        soft = [
            t.sign() * (t.abs() - s.sigmoid()).relu() for t, s in zip(thetas, numbers, strict=True)
        ]
        shown = dict(zip(sparsifier.thresholds, soft, strict=True))
        losses = loss_of(model, step), loss_of(partial(called_with, shown), step)
        for loss, optimizer, rate in zip(losses, optimizers, rates, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    for s, expected in zip(sparsifier.thresholds.values(), numbers, strict=True):
        torch.testing.assert_close(s, expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_layer_that_a_step_does_not_use_keeps_its_threshold(name):
    run = Run(name).attach().train(1)
    first, second = run.thresholds.values()
    run.model.zero_grad()  # which does not know of thresholds
    run.model[2](torch.ones(4, 8)).square().mean().backward()
    run.optimizer.step()
    assert run.thresholds["0.weight"] == first
    assert run.thresholds["2.weight"] != second


def test_it_has_no_state_before_it_is_attached():
    with pytest.raises(ss.InputError, match="Attach the sparsifier to a model"):
        ss.STR().state_dict()
    with pytest.raises(ss.InputError, match="Attach the sparsifier to a model"):
        ss.STR().load_state_dict({})


def test_the_mask_holds_while_another_optimizer_has_not_stepped():
    model = make_model()
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.5) for layer in (model[0], model[2])]
    sparsifier = ss.STR(initial=-2.0).attach(model, *optimizers)
    for step in range(10):
        model.zero_grad()
        (loss_of(model, step) - model[2].weight.abs().sum()).backward()
        for optimizer in optimizers:
            optimizer.step()
            sparsifier.mask.check_contains(model)


def test_a_state_without_thresholds_is_refused_before_anything_is_changed():
    run = Run().attach().train(2)
    state = run.sparsifier.state_dict()
    del state["memory"]["thresholds"]
    before = run.sparsifier.state_dict()
    with pytest.raises(ss.InputError, match="no state of STR: its memory has no thresholds"):
        run.sparsifier.load_state_dict(state)
    assert run.sparsifier.step == before["step"]
    run.train(2, 4)
