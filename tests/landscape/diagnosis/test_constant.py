"""The best constant answer, against what it is in closed form."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import draw, seeded
from sparsescape import Objective, diagnose
from sparsescape.landscape.diagnosis.constant import constant_answer

CLASSES = torch.arange(60).remainder(3).clamp(max=1)  # a third of 0, two thirds of 1
ENTROPY = math.log(3) - 2 / 3 * math.log(2)


def network(*last: nn.Module) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), *last))


def log_of_probabilities(outputs, targets):
    return F.nll_loss(outputs.log(), targets)


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ((), F.cross_entropy),
        ((nn.LogSoftmax(1),), F.nll_loss),
        ((nn.Softmax(1),), log_of_probabilities),
    ],
    ids=["scores", "log-probabilities", "probabilities"],
)
def test_it_is_the_entropy_of_the_classes_whatever_the_answers_are(last, loss):
    model = network(*last)
    found = constant_answer(Objective(model, (draw(60, 4), CLASSES), loss), model)
    assert found == pytest.approx(ENTROPY, abs=1e-5)


def test_answers_that_are_all_0_are_no_log_probabilities_of_one_class():
    model = nn.Linear(4, 1)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    targets = draw(60, 1)
    found = constant_answer(Objective(model, (draw(60, 4), targets), F.mse_loss), model)
    assert found == pytest.approx(float(targets.var(correction=0)), rel=1e-5)


def test_where_there_is_no_best_one_there_is_none():
    model = network()
    critic = Objective(model, (draw(60, 4), CLASSES), lambda outputs, _: outputs.mean())
    assert constant_answer(critic, model) is None


def test_nor_where_the_loss_falls_on_but_not_twice_as_far():
    """On a = 1 it falls for ever; twice as far from 0 is off that line."""

    def valley(outputs, _):
        x, a = outputs.unbind(1)
        return ((x**2 - 1) ** 2 * (1 - a) ** 2 - 0.3 * x + 1 + 0.4 * (1 - a) ** 2).mean()

    model = nn.Linear(4, 2)
    assert constant_answer(Objective(model, (draw(60, 4), CLASSES), valley), model) is None


def test_a_loss_of_probabilities_is_not_asked_beyond_them():
    model = network(nn.Sigmoid())
    targets = CLASSES[:, None].expand(60, 2).float()
    for y in (targets, torch.ones_like(targets)):
        objective = Objective(model, (draw(60, 4), y), F.binary_cross_entropy)
        found = constant_answer(objective, model)
        assert found is None or found <= objective(model)


def test_an_untrained_network_of_log_probabilities_is_not_good_enough():
    inputs = draw(60, 4)
    targets = (inputs[:, 0] > 0).long()
    objective = Objective(network(nn.LogSoftmax(1)), (inputs, targets), F.nll_loss)
    model, better = network(nn.LogSoftmax(1)), network(nn.LogSoftmax(1))
    optimizer = torch.optim.Adam(better.parameters(), lr=0.05)
    for _ in range(50):
        optimizer.zero_grad()
        F.nll_loss(better(inputs), targets).backward()
        optimizer.step()
    assert diagnose(objective, model, reference=better).verdict == "under-trained"
