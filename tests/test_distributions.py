"""Distributions: how many weights each layer keeps."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from helpers import convnet, perceptron
from sparsescape import InputError, Mask, distributions, scores
from sparsescape.distributions import erk, global_, named, uniform
from sparsescape.points import as_point

ALL = {"uniform": uniform, "erk": erk, "global": global_}
dims = st.integers(1, 12)
shapes = st.lists(
    st.one_of(st.tuples(dims, dims), st.tuples(dims, dims, st.integers(1, 3), st.integers(1, 3))),
    min_size=1,
    max_size=6,
)


def zeros(sizes):
    return {f"{i}.weight": torch.zeros(shape) for i, shape in enumerate(sizes)}


def erk_one_at_a_time(sizes, sparsity):
    """As in the code of Evci et al.: cap the one layer that is furthest above 1, start anew."""
    counts = {n: torch.Size(s).numel() for n, s in sizes.items()}
    raw = {n: sum(s) / counts[n] for n, s in sizes.items()}
    capped = []
    while len(capped) < len(sizes):
        rest = [n for n in sizes if n not in capped]
        to_give = (1 - sparsity) * sum(counts.values()) - sum(counts[n] for n in capped)
        epsilon = to_give / sum(raw[n] * counts[n] for n in rest)
        highest = max(rest, key=lambda n: raw[n])
        if epsilon * raw[highest] <= 1:
            return {n: 1.0 if n in capped else epsilon * raw[n] for n in sizes}
        capped.append(highest)
    return dict.fromkeys(sizes, 1.0)


@given(shapes, st.floats(0, 1))
def test_erk_is_the_published_algorithm(sizes, sparsity):
    point = zeros(sizes)
    expected = erk_one_at_a_time({n: tuple(w.shape) for n, w in point.items()}, sparsity)
    assert erk(point, sparsity=sparsity) == pytest.approx(expected, abs=1e-9)


@given(shapes, st.floats(0, 1))
def test_erk_spends_the_whole_budget_and_no_layer_exceeds_1(sizes, sparsity):
    point = zeros(sizes)
    densities = erk(point, sparsity=sparsity)
    total = sum(w.numel() for w in point.values())
    kept = sum(d * point[n].numel() for n, d in densities.items())
    assert kept == pytest.approx((1 - sparsity) * total, abs=1e-9 * total)
    assert all(0 <= d <= 1 for d in densities.values())


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.95, 0.98])
def test_erk_spends_the_budget_in_whole_weights(sparsity):
    """Each layer's count is rounded on its own, so the sum is off by half a weight a layer."""
    model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(256, 120))
    mask = Mask.from_scores(scores.magnitude(model), densities=erk(model, sparsity=sparsity))
    assert abs(mask.count - (1 - sparsity) * mask.total) <= 1.5


def test_erk_on_lenet_300_100_is_what_one_works_out_by_hand():
    """The last layer is capped: (784+300)·ε + (300+100)·ε = 0.1·266200 − 1000."""
    model = nn.Sequential(nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10))
    epsilon = (26620 - 1000) / 1484
    assert erk(model, sparsity=0.9) == pytest.approx(
        {
            "0.weight": epsilon * 1084 / 235200,
            "1.weight": epsilon * 400 / 30000,
            "2.weight": 1.0,
        }
    )


def test_a_second_layer_can_exceed_1_only_once_the_first_is_capped():
    """A layer of raw density 2, one of 0.25 that is capped only in the second round."""
    sizes = [(1, 1), (8, 8), (64, 64)]
    point = zeros(sizes)
    total, raw = 1 + 64 + 4096, 2 + 16 + 128
    sparsity = next(
        s / 1000
        for s in range(1000, 0, -1)
        if (1 - s / 1000) * total / raw * 0.25 <= 1 < ((1 - s / 1000) * total - 1) / 144 * 0.25
    )
    assert erk(point, sparsity=sparsity)["1.weight"] == 1.0


@given(shapes, st.floats(0, 1))
def test_uniform_is_the_same_share_of_every_layer(sizes, sparsity):
    assert set(uniform(zeros(sizes), sparsity=sparsity).values()) == {1 - sparsity}


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_global_densities_lead_to_the_mask_of_one_threshold(sparsity):
    model = convnet()
    found = scores.magnitude(model)
    densities = global_(model, sparsity=sparsity)
    assert Mask.from_scores(found, densities=densities) == Mask.from_scores(
        found, sparsity=sparsity
    )


def test_global_takes_other_scores():
    model = convnet()
    found = scores.random(model, seed=1)
    densities = global_(model, sparsity=0.5, scores=lambda m: scores.random(m, seed=1))
    assert densities == Mask.from_scores(found, sparsity=0.5).densities


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
def test_a_layer_named_dense_is_dense_and_the_others_are_as_if_it_were_not_there(distribution):
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10), nn.Linear(10, 40))
    densities = distribution(model, sparsity=0.9, dense=["1"])
    others = {n: w for n, w in as_point(model).items() if not n.startswith("1")}
    assert densities.pop("1.weight") == 1.0
    assert densities == distribution(others, sparsity=0.9)


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
def test_every_layer_can_be_named_dense(distribution):
    assert distribution(perceptron(), sparsity=0.9, dense=["*"]) == {
        "0.weight": 1.0,
        "2.weight": 1.0,
    }


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
def test_the_layers_stand_in_the_models_order(distribution):
    densities = distribution(convnet(), sparsity=0.5, dense=["0"])
    assert list(densities) == ["0.weight", "4.weight"]


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_sparsity_0_keeps_all_and_1_none(distribution, sparsity):
    densities = distribution(convnet(), sparsity=sparsity)
    assert list(densities.values()) == pytest.approx([1 - sparsity] * 2)


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
@pytest.mark.parametrize("sparsity", [-0.01, 1.01, float("nan")])
def test_a_sparsity_that_cannot_be_is_refused(distribution, sparsity):
    with pytest.raises(InputError, match="Sparsity is a number from 0 to 1"):
        distribution(convnet(), sparsity=sparsity)


@pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
def test_a_pattern_that_matches_nothing_is_refused(distribution):
    with pytest.raises(InputError, match="'fc' matches none"):
        distribution(convnet(), sparsity=0.5, dense=["fc"])


@given(shapes, st.floats(0, 1), st.floats(0, 1))
def test_more_sparsity_leaves_no_layer_denser(sizes, one, other):
    """What gradual pruning rests on."""
    assume(abs(one - other) > 1e-9)
    low, high = sorted((one, other))
    for distribution in (uniform, erk):
        before, after = (distribution(zeros(sizes), sparsity=s) for s in (low, high))
        assert all(after[n] <= before[n] + 1e-12 for n in before)


def test_distributions_go_by_name():
    assert {name: named(name) for name in ALL} == ALL
    assert named(erk) is erk
    with pytest.raises(InputError, match=r"no distribution named 'erq'; did you mean 'erk'\?"):
        named("erq")


def test_the_public_module_has_all_of_them():
    assert {distributions.uniform, distributions.erk, distributions.global_} == set(ALL.values())
