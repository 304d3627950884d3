"""Where training starts."""

import math

import pytest
import torch
from torch import nn

from helpers import bits, convnet, moved, perceptron, seeded
from sparsescape import InputError, Mask, scores
from sparsescape.init import fan_in, glorot_uniform, he_normal, rewind, sparse_fan_in
from sparsescape.points import as_point, snapshot


def mask_with_fan_ins(shape, counts):
    """Unit i of a weight of the shape has counts[i] active inputs."""
    active = torch.zeros(shape, dtype=torch.bool).flatten(1)
    for unit, count in zip(active, counts, strict=True):
        unit[:count] = True
    return active.reshape(shape)


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
@pytest.mark.parametrize(
    ("layer", "counts"),
    [
        (nn.Linear(6000, 3), (6000, 3000, 1500)),
        (nn.Conv2d(400, 3, (5, 3)), (6000, 3000, 1500)),
    ],
    ids=["linear", "conv"],
)
def test_each_unit_has_the_variance_of_its_own_active_inputs(layer, counts, gain):
    active = mask_with_fan_ins(layer.weight.shape, counts)
    sparse_fan_in(layer, Mask({"weight": active}), seed=0, gain=gain)
    for weights, on, k in zip(layer.weight.flatten(1), active.flatten(1), counts, strict=True):
        # A sample variance of k normal numbers has relative deviation sqrt(2/k). Five of them.
        assert weights[on].var().item() == pytest.approx(gain**2 / k, rel=5 * (2 / k) ** 0.5)
        assert weights[on].mean().item() == pytest.approx(0, abs=5 * gain / k)
        assert (weights[~on] == 0).all()


def test_weights_of_a_unit_scale_exactly_with_its_inputs():
    """The same draws under two masks differ by the root of the ratio of the inputs."""
    first, second = nn.Linear(64, 2), nn.Linear(64, 2)
    sparse_fan_in(first, Mask({"weight": mask_with_fan_ins((2, 64), (64, 16))}), seed=5)
    sparse_fan_in(second, Mask({"weight": mask_with_fan_ins((2, 64), (16, 4))}), seed=5)
    assert torch.allclose(second.weight[0, :16], 2 * first.weight[0, :16])
    assert torch.allclose(second.weight[1, :4], 2 * first.weight[1, :4])


def test_draws_depend_on_seed_and_name_and_move_nothing_else():
    full = Mask({"4.weight": torch.ones(9, 36, dtype=torch.bool)})
    before, random = bits(convnet()), torch.get_rng_state()
    first, again, other = convnet(), convnet(), convnet()
    for model, seed in ((first, 1), (again, 1), (other, 2)):
        sparse_fan_in(model, full, seed=seed)
    assert torch.equal(torch.get_rng_state(), random)
    assert bits(first) == bits(again)
    assert bits(first)["4.weight"] != bits(other)["4.weight"]
    assert {n for n, b in bits(first).items() if b != before[n]} == {"4.weight"}


def test_a_unit_without_inputs_is_0():
    layer = nn.Linear(4, 2)
    sparse_fan_in(layer, Mask({"weight": mask_with_fan_ins((2, 4), (0, 4))}), seed=0)
    assert layer.weight[0].tolist() == [0] * 4
    assert layer.weight.isfinite().all()


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        sparse_fan_in(nn.Linear(3, 2), Mask({"v": torch.ones(2, 3, dtype=torch.bool)}), seed=0)


def test_fan_in_counts_active_inputs_over_the_kernel():
    active = mask_with_fan_ins((3, 2, 2, 2), (8, 5, 0))
    assert fan_in(active).shape == (3, 1, 1, 1)
    assert fan_in(active).flatten().tolist() == [8, 5, 0]


def test_rewinding_is_the_earlier_point_with_closed_weights_0():
    start = perceptron()
    trained = moved(start)
    mask = Mask.from_scores(scores.magnitude(trained), sparsity=0.75)
    rewind(trained, snapshot(start), mask)
    expected = snapshot(start)
    mask.apply_(expected)
    assert bits(trained) == bits(expected)
    assert Mask.of(trained) == mask


def test_rewinding_moves_nothing_when_the_mask_or_the_point_does_not_fit():
    model = perceptron()
    before, point = bits(model), snapshot(moved(model))
    wrong = Mask({"0.weight": torch.ones(1, 1, dtype=torch.bool)})
    with pytest.raises(InputError, match="does not fit"):
        rewind(model, point, wrong)
    point["2.bias"] = torch.zeros(7)
    with pytest.raises(InputError, match=r"'2\.bias' has shape"):
        rewind(model, point, Mask.of(model))
    assert bits(model) == before


def test_he_normal_has_variance_2_over_fan_in_and_no_biases():
    model = seeded(lambda: he_normal(nn.Sequential(nn.Linear(500, 400), nn.Conv2d(20, 50, 5))))
    point = as_point(model)
    for name, inputs in (("0.weight", 500), ("1.weight", 500)):
        weight = point[name]
        deviations = 5 * (2 / weight.numel()) ** 0.5
        assert weight.var().item() == pytest.approx(2 / inputs, rel=deviations)
    assert point["0.bias"].count_nonzero() == point["1.bias"].count_nonzero() == 0


def test_glorot_uniform_has_variance_2_over_both_fans_within_its_bound():
    model = seeded(lambda: glorot_uniform(nn.Sequential(nn.Linear(500, 400), nn.Conv2d(20, 50, 5))))
    point = as_point(model)
    for name, fans in (("0.weight", 900), ("1.weight", 1750)):
        weight = point[name]
        deviations = 5 * (0.8 / weight.numel()) ** 0.5  # of a uniform's variance
        assert weight.var().item() == pytest.approx(2 / fans, rel=deviations)
        assert weight.abs().max() <= (6 / fans) ** 0.5
    assert point["0.bias"].count_nonzero() == point["1.bias"].count_nonzero() == 0
