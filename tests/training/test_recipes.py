"""What a recipe says is what is done."""

import math

import pytest
import torch
from torch import nn

import sparsescape as ss
from helpers import bits
from sparsescape.problems.catalogue import load
from sparsescape.problems.recipe import scaled
from sparsescape.training.batches import Batches
from sparsescape.training.checkpoints import Checkpoint
from sparsescape.training.recipes import clipping, forward_pass, learning_rate, make_optimizer
from sparsescape.training.trainer import Run


def test_a_step_schedule_warms_up_and_decays_where_it_is_told():
    recipe = ss.Recipe(
        steps=100, lr=1.0, schedule="step", warmup=4, decay_at=(50, 80), decay_factor=0.2
    )
    rate = learning_rate(recipe)
    assert [rate(step) for step in (0, 3, 4, 49)] == [0.25, 1.0, 1.0, 1.0]
    assert [rate(step) for step in (50, 79)] == [0.2, 0.2]
    assert rate(80) == pytest.approx(0.04)
    assert scaled(recipe, 50).decay_at == (25, 40)


def test_a_cosine_ends_at_the_final_rate():
    rate = learning_rate(ss.Recipe(steps=10, lr=1.0, final_lr=0.1))
    assert rate(0) == 1.0
    assert rate(10) == pytest.approx(0.1)


def test_momentum_begins_late_where_the_first_gradient_does():
    late = nn.Parameter(torch.ones(2))
    model = nn.ParameterList([nn.Parameter(torch.ones(2)), late])
    optimizer = make_optimizer(model, ss.Recipe(lr=0.5, momentum=0.5, schedule="constant"))
    for used in (model[:1], model, model):
        optimizer.zero_grad()
        sum(p.sum() for p in used).backward()
        optimizer.step()
    assert late.tolist() == [1 - 0.5 * (1 + 1.5)] * 2


def test_adamw_decays_matrices_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    recipe = ss.Recipe(
        optimizer="adamw", lr=0.5, weight_decay=0.1, momentum=0.8, beta2=0.99, schedule="constant"
    )
    optimizer = make_optimizer(model, recipe)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        shrunk = 1 - 0.5 * 0.1 if parameter.ndim == 2 else 1.0
        assert torch.allclose(parameter, shrunk * before[name])
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.99)}
    assert recipe.regularizer == 0.0
    assert ss.Recipe(weight_decay=0.1).regularizer == 0.1


def test_a_long_gradient_is_cut_and_a_short_one_is_not():
    model = nn.Linear(4, 1, bias=False)
    for length, expected in ((10.0, 1.0), (0.5, 0.5)):
        model.weight.grad = torch.full((1, 4), length / 2)
        clipping(model, ss.Recipe(clip=1.0))()
        assert model.weight.grad.norm().item() == pytest.approx(expected, rel=1e-5)
    clipping(model, ss.Recipe())()
    assert model.weight.grad.norm().item() == pytest.approx(0.5)


def test_mixed_precision_rounds_the_forward_pass_and_leaves_the_parameters():
    model, inputs = nn.Linear(50, 5), torch.randn(8, 50)
    exact = forward_pass(model, ss.Recipe())(inputs)
    rounded = forward_pass(model, ss.Recipe(precision="bfloat16"))(inputs)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05
    rounded.sum().backward()
    assert model.weight.dtype == model.weight.grad.dtype == torch.float32


def test_label_smoothing_is_a_part_of_the_loss():
    data = torch.eye(3), torch.arange(3)
    problem = ss.Problem(lambda: nn.Linear(3, 3), data, data, recipe=ss.Recipe(label_smoothing=0.3))
    sure = torch.tensor([[50.0, 0.0, 0.0]])
    assert problem.loss(sure, torch.tensor([0])).item() == pytest.approx(0.3 * 2 / 3 * 50, rel=1e-4)
    with pytest.raises(ss.InputError, match="label_smoothing is cross entropy's"):
        ss.Problem(
            lambda: nn.Linear(3, 3), data, data, nn.MSELoss(), ss.Recipe(label_smoothing=0.3)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adam"}, "optimizer is sgd or adamw, not 'adam'"),
        ({"precision": "float16"}, "precision is float32 or bfloat16, not 'float16'"),
        ({"schedule": "steps"}, "schedule is step, cosine or constant, not 'steps'"),
        ({"label_smoothing": 1.0}, "label_smoothing is from 0 to below 1"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ss.InputError, match=message):
        ss.Recipe(**settings)


@pytest.mark.parametrize("name", ["cifar10-resnet20", "shakespeare-gpt"])
def test_interrupted_with_augmentation_it_goes_on_to_the_same_bits(name, data_folder, tmp_path):
    problem = load(name, data_root=str(data_folder), steps=4, device="cpu")

    def run():
        model, recipe = problem.make_model(0).train(), problem.recipe
        optimizer = make_optimizer(model, recipe)
        sparsifier = ss.RigL(0.8, dense=problem.dense, update_every=2, update_until=4)
        sparsifier.attach(model, optimizer)
        batches = Batches(problem.train, batch_size=6, seed=5)

        def loss(step):
            inputs, targets = batches(step)
            return problem.loss(model(inputs), targets)

        rate = learning_rate(recipe)
        return Run(model, loss, optimizer, rate, 4, sparsifier, transform=clipping(model, recipe))

    def stop(step, loss):
        assert math.isfinite(loss)
        if step == 2:
            raise KeyboardInterrupt

    whole = run()
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        run().train(Checkpoint(tmp_path / "run", 0.0), stop)
    resumed, steps = run(), []
    resumed.train(Checkpoint(tmp_path / "run", 0.0), lambda step, _: steps.append(step))
    assert steps == [2, 3]
    assert bits(resumed.module) == bits(whole.module)
