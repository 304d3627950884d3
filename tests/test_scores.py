"""Scores: which weights matter."""

import torch

from helpers import bits, convnet
from sparsescape import scores
from sparsescape.points import as_point


def test_magnitude_is_the_absolute_value_of_every_weight():
    model = convnet()
    found = scores.magnitude(model)
    assert bits(found) == bits({n: as_point(model)[n].abs() for n in ("0.weight", "4.weight")})
    assert not any(score.requires_grad for score in found.values())


def test_scoring_copies_and_does_not_alias_the_weights():
    point = {"w": torch.ones(2, 2)}
    scores.magnitude(point)["w"].zero_()
    assert point["w"].sum() == 4


def test_random_scores_depend_on_the_seed_and_the_name_alone():
    model, point = convnet(), {"4.weight": torch.zeros(9, 36)}
    assert (
        bits(scores.random(model, seed=3))["4.weight"]
        == bits(scores.random(point, seed=3))["4.weight"]
    )
    assert bits(scores.random(model, seed=3)) != bits(scores.random(model, seed=4))
    twins = scores.random({"a": torch.zeros(3, 3), "b": torch.zeros(3, 3)})
    assert not torch.equal(twins["a"], twins["b"])


def test_random_scores_are_uniform_and_leave_torchs_generator_alone():
    before = torch.get_rng_state()
    score = scores.random({"w": torch.zeros(200, 500)})["w"]
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 <= score.min() <= score.max() < 1
    # The mean of n uniform numbers has deviation sqrt(1/12n): 0.0009 here. Five of them.
    assert abs(score.mean() - 0.5) < 0.0046
    assert abs(score.square().mean() - 1 / 3) < 0.005
