"""The loss along a curve."""

import pytest

import sparsescape as ss
from helpers import (
    at,
    classes,
    condition,
    convnet,
    draw,
    images,
    moved,
    normalized,
    on_the_plane,
)
from sparsescape.landscape.profiles import measures


def test_a_profile_is_the_objective_at_every_point():
    start, end = convnet(), moved(convnet())
    objective, line = ss.Objective(start, images(0)), ss.Line(start, end)
    found = ss.profile(line, objective, points=5)
    assert found.t == (0.0, 0.25, 0.5, 0.75, 1.0)
    expected = [objective.evaluate(line.point(t)) for t in found.t]
    assert found.loss == tuple(e.loss for e in expected)
    assert found.accuracy == tuple(e.accuracy for e in expected)
    assert found.count == 12
    assert (found.loss[0], found.loss[-1]) == (objective(start), objective(end))


def test_a_grid_has_61_points_with_both_ends():
    found = ss.profile(ss.Line(at(0.0, 0.0), at(1.0, 0.0)), on_the_plane(lambda w: w.sum()))
    assert len(found.t) == 61
    assert found.t == tuple(i / 60 for i in range(61))


def test_measures_are_those_of_the_losses():
    hill = on_the_plane(lambda w: 1 - w[0] ** 2)
    found = ss.profile(ss.Line(at(-1.0, 0.0), at(0.5, 0.0)), hill, points=61)
    # From -1 (loss 0) up to 1 at 0, down to 3/4: from the worse end, 1/4 up.
    assert found.climb == pytest.approx(0.25, abs=1e-6)
    assert found.barrier == measures.barrier(found.t, found.loss)
    # Where 1 − (1.5t − 1)² − 0.75t is largest, at t = 1/2, it is 1 − 1/16 − 3/8.
    assert found.barrier == pytest.approx(0.5625, abs=1e-6)
    assert found.tolerance == pytest.approx(0.0075, abs=1e-6)
    assert not found.monotone()
    assert found.monotone(tol=0.3)


def test_a_climb_just_within_the_tolerance_is_monotone():
    assert ss.Profile(t=(0.0, 0.5, 1.0), loss=(1.0, 1.01, 0.0)).monotone() is False
    assert ss.Profile(t=(0.0, 0.5, 1.0), loss=(2.0, 2.01, 0.0)).monotone() is True
    assert ss.Profile(t=(0.0, 0.5, 1.0), loss=(1.0, 1.0009, 1.0)).monotone() is True


def test_measures_look_between_the_ends_only():
    found = ss.profile(
        ss.Line(at(0.0, 0.0), at(1.0, 0.0)),
        on_the_plane(lambda w: w[0] ** 2),
        t=[-1, 0, 0.5, 1, 2],
    )
    assert found.loss == (1.0, 0.0, 0.25, 1.0, 4.0)
    assert (found.climb, found.barrier, found.tolerance) == (0.0, 0.0, 0.01)


def test_a_profile_leaves_model_and_random_state_as_they_were():
    model = normalized().train()
    objective = ss.Objective(model, (draw(9, 6), classes(9, 3)))
    line = ss.Line(model, moved(model))
    before = condition(model)
    ss.profile(line, objective, points=3)
    assert condition(model) == before


@pytest.mark.parametrize("points", [1, 0])
def test_fewer_than_two_points_are_refused(points):
    line = ss.Line(at(0.0, 0.0), at(1.0, 0.0))
    with pytest.raises(ss.InputError, match=f"at least 2 points, not {points}"):
        ss.profile(line, on_the_plane(lambda w: w.sum()), points=points)


@pytest.mark.parametrize("t", [[0, 0.5], [0.5, 1], [1, 0], [0, 0.6, 0.5, 1], []])
def test_t_without_both_ends_in_order_is_refused(t):
    line = ss.Line(at(0.0, 0.0), at(1.0, 0.0))
    with pytest.raises(ss.InputError, match="ascend and have 0 and 1 among them"):
        ss.profile(line, on_the_plane(lambda w: w.sum()), t=t)
