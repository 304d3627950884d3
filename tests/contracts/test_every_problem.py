"""What every problem of the catalogue must pass. A new one is covered without a line."""

import dataclasses
import json

import pytest
import torch

import sparsescape as ss
from helpers import bits
from sparsescape.points import named_weights
from sparsescape.problems.catalogue import CATALOGUE, describe, load
from sparsescape.training.batches import Batches


@pytest.fixture(params=CATALOGUE)
def name(request):
    return request.param


@pytest.fixture
def problem(name, mnist_folder):
    """Where a problem needs files, a few made-up examples stand in for them."""
    return load(name, data_root=str(mnist_folder))


def test_it_can_be_trained(problem):
    problem.check()


def test_inputs_are_finite_and_targets_are_classes(problem):
    for inputs, targets in (problem.train, problem.test):
        assert inputs.isfinite().all()
        assert inputs.dtype == torch.float32
        assert targets.dtype == torch.int64
        assert targets.min() == 0
        assert targets.max() == problem.make_model(0)(inputs[:1]).shape[1] - 1


def test_data_are_the_same_every_time(problem, name, mnist_folder):
    again = load(name, data_root=str(mnist_folder))
    for one, other in ((problem.train, again.train), (problem.test, again.test)):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_training_example_is_a_test_example(problem):
    trained_on = {example.numpy().tobytes() for example in problem.train[0]}
    assert not any(example.numpy().tobytes() in trained_on for example in problem.test[0])


def test_models_hang_on_the_seed_alone(problem):
    before = torch.get_rng_state()
    first = bits(problem.make_model(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert bits(problem.make_model(0)) == first
    other = bits(problem.make_model(1))
    assert all(other[weight] != first[weight] for weight in named_weights(problem.make_model(0)))


def test_a_model_starts_at_the_loss_of_a_guess(problem):
    """Between a perfect answer and one that is confidently wrong."""
    model = problem.make_model(0)
    classes = model(problem.train[0][:1]).shape[1]
    guess = torch.tensor(float(classes)).log().item()
    assert 0.5 * guess < problem.objective(model)(model) < 3 * guess


def test_its_recipe_learns(problem):
    model, recipe = problem.make_model(0), problem.recipe
    objective = problem.objective(model)
    before = objective(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    batches = Batches(problem.train, batch_size=recipe.batch_size, seed=0)
    for step in range(15):
        inputs, targets = batches(step)
        optimizer.zero_grad()
        problem.loss(model(inputs), targets).backward()
        optimizer.step()
    assert objective(model) < 0.9 * before


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
def test_it_can_be_made_sparse(problem, distribution):
    model = problem.make_model(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.OneShot(0.95, distribution=distribution, dense=problem.dense)
    mask = sparsifier.attach(model, optimizer).mask
    assert mask.sparsity == pytest.approx(0.95, abs=len(mask) / mask.total)
    assert problem.objective(model).evaluate(model).count == len(problem.train[0])


def test_its_recipe_fits_into_fewer_steps(problem, name, mnist_folder):
    for steps in (1, 7, problem.recipe.steps):
        recipe = load(name, data_root=str(mnist_folder), steps=steps).recipe
        assert recipe.steps == steps
        assert 0 <= recipe.prune_begin <= recipe.prune_end <= steps
    assert recipe == problem.recipe


def test_its_description_is_json_and_holds_every_setting(problem, name):
    described = describe(name)
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == name
    assert described["recipe"] == dataclasses.asdict(problem.recipe)


def test_it_says_what_it_is(name):
    assert CATALOGUE[name].summary
    assert "\n" not in CATALOGUE[name].summary
