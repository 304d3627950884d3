"""Static: one mask from beginning to end."""

import pytest
import torch

import sparsescape as ss
from helpers import OPTIMIZERS, backward, bits, convnet, train
from sparsescape.points import named_parameters


@pytest.fixture
def mask():
    return ss.Mask.from_scores(ss.scores.magnitude(convnet()), sparsity=0.8)


def masked_by_hand(mask, steps):
    """SGD with momentum and weight decay on the open weights, written out."""
    model = convnet()
    mask.apply_(model)
    parameters = named_parameters(model)
    momentum = {}
    for step in steps:
        model.zero_grad()
        backward(model, step)
        with torch.no_grad():
            for name, p in parameters.items():
                gradient = p.grad.add(p, alpha=1e-2)
                momentum[name] = momentum[name] * 0.9 + gradient if name in momentum else gradient
                p -= 0.05 * momentum[name]
            mask.apply_(model)
    return model


def test_training_is_that_of_a_loop_that_masks_by_hand(mask):
    model = convnet()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    ss.Static(mask=mask).attach(model, optimizer)
    train(model, optimizer, range(10))
    expected = masked_by_hand(mask, range(10))
    for name, parameter in named_parameters(expected).items():
        assert torch.allclose(named_parameters(model)[name], parameter, rtol=1e-4, atol=1e-6)


def test_the_mask_given_is_the_mask_from_beginning_to_end(mask):
    model = convnet()
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    sparsifier = ss.Static(mask=mask).attach(model, optimizer)
    assert sparsifier.mask == mask
    train(model, optimizer, range(5))
    assert sparsifier.mask == mask
    assert ss.Mask.of(model) == mask


def test_a_parameter_that_the_mask_does_not_name_is_free(mask):
    model = convnet()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    ss.Static(mask=ss.Mask({"4.weight": mask["4.weight"]})).attach(model, optimizer)
    train(model, optimizer, range(2))
    assert (model[0].weight != 0).all()


@pytest.mark.parametrize("distribution", ["uniform", "erk", ss.distributions.erk])
def test_a_random_mask_has_the_counts_of_its_distribution_in_every_layer(distribution):
    model = convnet()
    densities = ss.distributions.named(distribution)(model, sparsity=0.8)
    sparsifier = ss.Static(sparsity=0.8, distribution=distribution)
    mask = sparsifier.attach(model, OPTIMIZERS["SGD"](model.parameters())).mask
    for name, count in mask.counts.items():
        assert count == pytest.approx(densities[name] * mask[name].numel(), abs=0.5)


def test_the_random_mask_is_the_seeds_and_not_the_weights():
    def random_mask(seed, model):
        optimizer = OPTIMIZERS["SGD"](model.parameters())
        return ss.Static(sparsity=0.8, seed=seed).attach(model, optimizer).mask

    shifted = convnet()
    with torch.no_grad():
        shifted[4].weight.add_(5)
    assert random_mask(0, convnet()) == random_mask(0, shifted)
    assert random_mask(0, convnet()) != random_mask(1, convnet())


@pytest.mark.parametrize("how", [{}, {"mask": ss.Mask({}), "sparsity": 0.5}])
def test_both_or_neither_of_mask_and_sparsity_is_refused(how):
    with pytest.raises(ss.InputError, match="either a mask or a sparsity"):
        ss.Static(**how)


def test_an_unknown_distribution_is_refused():
    with pytest.raises(ss.InputError, match="no distribution named 'erc'"):
        ss.Static(sparsity=0.5, distribution="erc")


@pytest.mark.parametrize("bad", ["name", "shape"])
def test_a_mask_that_does_not_fit_is_refused_before_anything_moves(bad, mask):
    wrong = torch.zeros(9, 36 if bad == "name" else 35, dtype=torch.bool)
    model, name = convnet(), "9.weight" if bad == "name" else "4.weight"
    before = bits(model)
    with pytest.raises(ss.InputError, match="The mask does not fit"):
        ss.Static(mask=ss.Mask({"0.weight": mask["0.weight"], name: wrong})).attach(
            model, OPTIMIZERS["SGD"](model.parameters())
        )
    assert bits(model) == before


def test_a_sparsity_that_cannot_be_is_refused_before_anything_moves():
    model = convnet()
    before = bits(model)
    with pytest.raises(ss.InputError, match=r"from 0 to below 1, not 1\.5"):
        ss.Static(sparsity=1.5).attach(model, OPTIMIZERS["SGD"](model.parameters()))
    assert bits(model) == before


def says(densities):
    """A distribution of one's own, which says this whatever the weights."""
    return lambda model, *, sparsity, dense=(): densities


@pytest.mark.parametrize(
    "densities", [{}, {"0.weight": 0.5}, [0.5], {"0.weight": 0.5, "4.weight": "half"}]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda how: ss.Static(sparsity=0.5, distribution=how),
        lambda how: ss.OneShot(0.5, distribution=how),
        lambda how: ss.RigL(0.5, distribution=how),
        lambda how: ss.Escape(sparsity=0.5, distribution=how),
    ],
    ids=["static", "one-shot", "rigl", "escape"],
)
def test_a_distribution_of_ones_own_that_says_too_little_is_refused(make, densities):
    model = convnet()
    before = bits(model)
    with pytest.raises(ss.InputError, match=r"density for each of|not 'half' of '4.weight'"):
        make(says(densities)).attach(model, OPTIMIZERS["SGD"](model.parameters()))
    assert bits(model) == before
