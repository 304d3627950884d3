"""What every problem of the catalogue must pass. A new one is covered without a line."""

import dataclasses
import json

import pytest
import torch

import sparsescape as ss
from helpers import bits
from sparsescape.data import as_examples
from sparsescape.points import named_weights
from sparsescape.problems.catalogue import CATALOGUE, describe, load
from sparsescape.training.batches import Batches
from sparsescape.training.flops import step_flops
from sparsescape.training.recipes import clipping, learning_rate, make_optimizer

SMALL = [name for name, entry in CATALOGUE.items() if not entry.gpu]
"""Those that a CPU trains in a blink."""

NETWORKS = {entry.build: name for name, entry in CATALOGUE.items()}.values()
"""One problem of each network: others differ from it in the recipe alone."""


@pytest.fixture(scope="module")
def made(data_folder):
    """Problems by name; tiny data stands in for the files that they need."""
    kept = {}

    def problem(name):
        if name not in kept:
            kept[name] = load(name, data_root=str(data_folder), device="cpu")
        return kept[name]

    return problem


@pytest.fixture(params=CATALOGUE)
def name(request):
    return request.param


@pytest.fixture(params=NETWORKS)
def problem(request, made):
    return made(request.param)


@pytest.fixture(params=SMALL)
def small(request, made):
    return made(request.param)


def both(problem):
    return [as_examples(data) for data in (problem.train, problem.test)]


def test_it_can_be_trained(problem):
    problem.check()


def test_a_step_of_its_recipe_moves_all_of_it(problem):
    model, recipe = problem.make_model(0), problem.recipe
    optimizer = make_optimizer(model, dataclasses.replace(recipe, lr=1e-3))
    inputs, targets = Batches(problem.train, batch_size=2, seed=0)(0)
    before = bits(dict(model.named_parameters()))
    loss = problem.loss(model(inputs), targets)
    loss.backward()
    clipping(model, recipe)()
    optimizer.step()
    assert loss.isfinite()
    after = bits(dict(model.named_parameters()))
    assert [n for n in after if after[n] == before[n]] == []


def test_its_parameters_are_as_many_as_published(name, made):
    """With as many classes as the real data set has: the head is that of the tiny one here."""
    classes = {"imagenet": 1000, "tiny": 200}.get(name.split("-")[0])
    problem = made(name)
    model = problem.make_model(0)
    count = sum(p.numel() for p in model.parameters())
    if name.startswith("shakespeare"):
        letters, width = model.tokens.weight.shape
        count += (65 - letters) * width
    elif classes is not None:
        head = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
        count += (classes - head.out_features) * (head.in_features + 1)
    assert count == CATALOGUE[name].parameters


def test_inputs_are_finite_and_targets_are_classes(problem):
    classes = problem.make_model(0).eval()(next(iter(both(problem)[0]))[0][:1]).shape[1]
    for examples in both(problem):
        for inputs, targets in examples:
            assert inputs.isfinite().all()
            assert targets.dtype == torch.int64
            assert targets.min() >= 0
            assert targets.max() < classes


def test_data_are_the_same_every_time(problem):
    for examples in both(problem):
        for one, other in zip(examples, examples, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_hang_on_the_seed_and_the_step_alone(problem):
    first, again = (Batches(problem.train, batch_size=4, seed=1) for _ in range(2))
    random = torch.get_rng_state()
    ahead = [first(step) for step in (0, 1, 2)]
    for step in (2, 0, 1):
        assert all(torch.equal(a, b) for a, b in zip(again(step), ahead[step], strict=True))
    assert torch.equal(torch.get_rng_state(), random)


def test_no_training_example_is_a_test_example(problem):
    train, test = both(problem)
    trained_on = {x.numpy().tobytes() for inputs, _ in train for x in inputs}
    assert not any(x.numpy().tobytes() in trained_on for inputs, _ in test for x in inputs)


def test_models_hang_on_the_seed_alone(small):
    before = torch.get_rng_state()
    first = bits(small.make_model(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert bits(small.make_model(0)) == first
    other = bits(small.make_model(1))
    assert all(other[weight] != first[weight] for weight in named_weights(small.make_model(0)))


def test_a_model_starts_at_the_loss_of_a_guess(small):
    """Between a perfect answer and one that is confidently wrong."""
    model = small.make_model(0)
    classes = model(next(iter(both(small)[0]))[0][:1]).shape[1]
    guess = torch.tensor(float(classes)).log().item()
    assert 0.5 * guess < small.objective(model)(model) < 3 * guess


def test_its_recipe_learns(small):
    model, recipe = small.make_model(0), dataclasses.replace(small.recipe, warmup=0)
    objective = small.objective(model)
    before = objective(model)
    optimizer = make_optimizer(model, recipe)
    batches = Batches(small.train, batch_size=recipe.batch_size, seed=0)
    for step in range(40):
        inputs, targets = batches(step)
        optimizer.zero_grad()
        small.loss(model(inputs), targets).backward()
        optimizer.step()
    assert objective(model) < 0.9 * before


# At the start magnitudes tell of the draw alone: of one threshold for all, a layer can lose all.
@pytest.mark.parametrize(
    ("distribution", "sparsity"), [("uniform", 0.8), ("erk", 0.8), ("global", 0.5)]
)
def test_it_can_be_made_sparse(small, distribution, sparsity):
    model = small.make_model(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparsifier = ss.OneShot(sparsity, distribution=distribution, dense=small.dense)
    mask = sparsifier.attach(model, optimizer).mask
    weights = named_weights(model, small.dense).values()
    kept = sum(mask[n].sum() for n in named_weights(model, small.dense))
    expected = (1 - sparsity) * sum(w.numel() for w in weights)
    assert kept == pytest.approx(expected, abs=len(mask))
    assert small.objective(model).evaluate(model).count == small.count("train")


def test_its_flops_belong_to_its_weights(problem):
    """Whatever scales with density is a part of the whole, and no part is below 0."""
    model = problem.make_model(0)
    flops = step_flops(model, Batches(problem.train, batch_size=2, seed=0)(0), problem.loss)
    weights = named_weights(model, problem.dense)
    assert all(flops.by_weight[weight] > 0 for weight in weights)
    assert 0 <= flops.rest < 0.2 * sum(flops.by_weight.values())


def test_its_small_dense_network_fits(problem):
    weights = sum(w.numel() for w in named_weights(problem.make_model(0)).values()) // 10
    small = problem.small_dense(weights, seed=0)
    found = sum(w.numel() for w in named_weights(small).values())
    assert 0.8 * weights < found <= weights
    inputs = next(iter(both(problem)[0]))[0][:2]
    assert small.eval()(inputs).isfinite().all()


def test_its_recipe_fits_into_fewer_steps(name, made, data_folder):
    recipe = made(name).recipe
    for steps in (1, 7, recipe.steps):
        other = load(name, data_root=str(data_folder), steps=steps, device="cpu").recipe
        assert other.steps == steps
        assert 0 <= other.prune_begin <= other.prune_end <= steps
        rate = learning_rate(other)
        assert 0 < max(rate(step) for step in range(min(steps, 50))) <= recipe.lr
    assert other == recipe


def test_its_description_is_json_and_holds_every_setting(name, made):
    described = describe(name)
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == name
    assert ss.Recipe(**described["recipe"]) == made(name).recipe


def test_it_says_what_it_is(name):
    assert CATALOGUE[name].summary
    assert "\n" not in CATALOGUE[name].summary
