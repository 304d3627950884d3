"""The one training loop: interrupted at any step it comes to the same bits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sparsescape as ss
from helpers import OPTIMIZERS, bits, convnet, images, same_values, train, tree_bits
from sparsescape.schedules import constant, cosine
from sparsescape.training.checkpoints import Checkpoint
from sparsescape.training.trainer import Run

STEPS = 6


def run_of(model, optimizer="SGD", *, loss=None, rate=None, sparsifier=None, steps=STEPS):
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    if sparsifier is not None:
        sparsifier.attach(model, optimizer)

    def cross_entropy(step):
        inputs, targets = images(step)
        return F.cross_entropy(model(inputs), targets)

    return Run(
        model, loss or cross_entropy, optimizer, rate or cosine(0.05, end=steps), steps, sparsifier
    )


def pruned_run(optimizer="SGD", model=None):
    sparsifier = ss.GradualMagnitude(0.8, begin=1, end=5, every=2)
    return run_of(model or convnet(), optimizer, sparsifier=sparsifier)


def interrupt_at(stop):
    def observe(step, loss):
        if step == stop:
            raise KeyboardInterrupt

    return observe


def test_a_run_is_the_loop_that_a_user_has():
    run = run_of(convnet(), rate=constant(0.05))
    outcome = run.train()
    model = convnet()
    train(model, OPTIMIZERS["SGD"](model.parameters()), range(STEPS))
    assert bits(run.module) == bits(model)
    assert (outcome.steps, outcome.diverged) == (STEPS, False)


def test_the_learning_rate_is_set_at_every_step_for_every_group():
    model, rates = convnet(), []
    optimizer = torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=1.0)
    run = run_of(model, rate=cosine(0.3, end=4), steps=5)
    run.optimizer = optimizer
    optimizer.register_step_pre_hook(
        lambda opt, *_: rates.append({group["lr"] for group in opt.param_groups})
    )
    run.train()
    assert rates == [{cosine(0.3, end=4)(step)} for step in range(5)]


def test_observers_see_every_step_and_its_loss():
    seen = []
    model = convnet()
    expected = F.cross_entropy(model(images(0)[0]), images(0)[1]).item()
    run_of(convnet()).train(observe=lambda step, loss: seen.append((step, loss)))
    assert [step for step, _ in seen] == list(range(STEPS))
    assert seen[0][1] == expected
    assert all(isinstance(loss, float) for _, loss in seen)


@pytest.mark.parametrize("stop", range(STEPS))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_at_any_step_it_goes_on_to_the_same_bits(stop, optimizer, tmp_path):
    whole = pruned_run(optimizer)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        pruned_run(optimizer).train(Checkpoint(tmp_path / "run", 0.0), interrupt_at(stop))
    resumed, steps = pruned_run(optimizer), []
    outcome = resumed.train(Checkpoint(tmp_path / "run", 0.0), lambda step, _: steps.append(step))
    assert tree_bits(resumed.state(STEPS)) == tree_bits(whole.state(STEPS))
    # The interruption came after the step and before its checkpoint: that step is taken again.
    assert steps == list(range(stop, STEPS))
    assert outcome.steps == STEPS


def test_interrupted_at_every_step_it_goes_on_to_the_same_bits(tmp_path):
    whole = pruned_run()
    whole.train()
    for stop in range(1, STEPS):
        with pytest.raises(KeyboardInterrupt):
            pruned_run().train(Checkpoint(tmp_path / "run", 0.0), interrupt_at(stop))
    resumed = pruned_run()
    resumed.train(Checkpoint(tmp_path / "run", 0.0))
    assert tree_bits(resumed.state(STEPS)) == tree_bits(whole.state(STEPS))


@pytest.mark.parametrize("stop", [1, 4])
def test_interrupted_with_dropout_it_goes_on_to_the_same_bits(stop, tmp_path):
    """A process that goes on starts with the random state of a fresh one."""

    def fresh():
        torch.manual_seed(0)
        return pruned_run(model=nn.Sequential(*convnet(), nn.Dropout(0.5)))

    with torch.random.fork_rng(devices=()):
        whole = fresh()
        whole.train()
        with pytest.raises(KeyboardInterrupt):
            fresh().train(Checkpoint(tmp_path / "run", 0.0), interrupt_at(stop))
        resumed = fresh()
        resumed.train(Checkpoint(tmp_path / "run", 0.0))
    assert bits(resumed.module) == bits(whole.module)


def test_checkpoints_are_left_when_they_are_due_only(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run", every=1e9)
    pruned_run().train(checkpoint)
    assert checkpoint.load() is None


def test_a_finished_run_is_not_run_again(tmp_path):
    first = pruned_run()
    first.train(Checkpoint(tmp_path / "run", 0.0))
    again, steps = pruned_run(), []
    outcome = again.train(Checkpoint(tmp_path / "run", 0.0), lambda step, _: steps.append(step))
    assert (steps, outcome.steps) == ([], STEPS)
    assert bits(again.module) == bits(first.module)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("when", [0, 3])
def test_a_loss_that_is_not_finite_ends_the_run_where_it_was(bad, when):
    model, healthy = convnet(), run_of(convnet(), rate=constant(0.05))

    def loss(step):
        value = F.cross_entropy(model(images(step)[0]), images(step)[1])
        return value * bad if step == when else value

    seen = []
    run = run_of(model, loss=loss, rate=constant(0.05))
    outcome = run.train(observe=lambda step, value: seen.append(value))
    assert (outcome.steps, outcome.diverged) == (when, True)
    assert len(seen) == when + 1
    assert not math.isfinite(seen[-1])
    healthy.steps = when
    healthy.train()
    parameters = (dict(run.module.named_parameters()), dict(healthy.module.named_parameters()))
    assert same_values(*parameters)


def test_a_run_without_steps_moves_nothing():
    run, before = run_of(convnet(), steps=0), bits(convnet())
    assert run.train().steps == 0
    assert bits(run.module) == before
