"""Measures of a path, on tables worked out by hand and against their definitions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsescape.landscape.profiles.measures import barrier, climb, tolerance, uphill

# Whole numbers: sums and differences are exact, so that what is equal can be asked to be equal.
paths = st.lists(st.integers(-20, 20), min_size=2, max_size=12)


def grid(losses):
    return [i / (len(losses) - 1) for i in range(len(losses))]


def climb_by_definition(losses):
    """The two maxima, pair by pair."""
    path = losses if losses[0] >= losses[-1] else losses[::-1]
    arrival = min(i for i in range(1, len(path)) if path[i] <= path[-1])
    uphill = [path[j] - path[i] for j in range(arrival + 1) for i in range(j)]
    after = [path[j] - path[-1] for j in range(arrival, len(path))]
    return max(0, *uphill, *after)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((1, 0.1, 5, 0.2), 4.8),
        ((1.0, 0.5, 0.25, 0.0), 0.0),
        ((0.0, 0.25, 0.5, 1.0), 0.0),
        ((1.0, -1.0, -0.5, 0.0), 0.0),
        ((1.0, -1.0, 0.5, 0.0), 0.5),
        ((1.0, 3.0, 2.0, 4.0, 0.0), 3.0),
        ((5.0, 1.0, 4.0, 2.0, 6.0, 0.0), 5.0),
        ((1.0, 1.0), 0.0),
        ((1.0, 2.0, 1.0), 1.0),
        ((1.0, 0.0, 2.0, 1.0), 1.0),
        ((0.0, 0.5, 0.25, 1.0), 0.25),
        ((2.0, 1.5, 1.75, 1.0, 1.5, 1.25, 0.5), 0.5),
    ],
)
def test_climbs_worked_out_by_hand(losses, expected):
    assert climb(losses) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((1.0, 1.5, 0.0), 1.0),
        ((1.0, 0.5, 0.0), 0.0),
        ((1.0, 0.25, 0.0), 0.0),
        ((0.0, 2.0, 1.0, 4.0, 4.0), 1.0),
        ((1, 0.1, 5, 0.2), 5 - (1 / 3 + 0.4 / 3)),
    ],
)
def test_barriers_worked_out_by_hand(losses, expected):
    assert barrier(grid(losses), losses) == pytest.approx(expected, abs=1e-12)


def test_the_barriers_line_follows_t_and_not_the_index():
    assert barrier([0, 0.25, 1], [0.0, 1.0, 2.0]) == 0.5


@given(paths)
def test_the_climb_is_its_definition(losses):
    assert climb(losses) == climb_by_definition(losses)


@given(paths)
def test_with_equal_ends_the_climb_is_the_barrier(losses):
    losses[-1] = losses[0]
    assert climb(losses) == pytest.approx(barrier(grid(losses), losses), abs=1e-9)


@given(paths)
def test_a_path_climbs_as_far_from_either_side(losses):
    assert climb(losses) == climb(losses[::-1])


@given(paths, st.integers(-10, 10), st.integers(0, 5))
def test_measures_follow_shift_and_scale_of_the_loss(losses, shift, scale):
    changed = [scale * loss + shift for loss in losses]
    assert climb(changed) == scale * climb(losses)
    t = grid(losses)
    assert barrier(t, changed) == pytest.approx(scale * barrier(t, losses), abs=1e-9)


@given(paths)
def test_a_descent_has_no_climb_and_any_rise_within_it_has_one(losses):
    down = sorted(losses, reverse=True)
    assert climb(down) == 0
    risen = [down[0], *(loss + 50 * (i == 0) for i, loss in enumerate(down[1:-1])), down[-1]]
    assert climb(risen) == (risen[1] - risen[0] if len(risen) > 2 else 0)


@given(paths, st.integers(0, 11), st.sampled_from([math.inf, -math.inf, math.nan]))
def test_with_a_loss_that_is_not_finite_both_are_infinite(losses, where, bad):
    losses[where % len(losses)] = bad
    assert climb(losses) == math.inf
    assert barrier(grid(losses), losses) == math.inf


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((3.0, 9.0, 1.0), 0.02), ((1.0, 9.0, 3.0), 0.02), ((1.0, 9.0, 0.95), 1e-3)],
)
def test_the_tolerance_is_a_hundredth_of_the_difference_of_the_ends(losses, expected):
    assert tolerance(losses) == pytest.approx(expected)


def test_t_and_losses_that_differ_in_number_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        barrier([0, 0.5, 1], [0.0, 1.0])


@given(paths)
def test_the_climb_lies_between_two_of_the_points(losses):
    low, high = uphill(losses)
    assert climb(losses) == max(0, losses[high] - losses[low])


@given(paths, st.data())
def test_between_some_of_the_points_the_climb_is_no_larger(losses, data):
    inner = data.draw(st.sets(st.integers(1, max(1, len(losses) - 2))))
    some = [losses[i] for i in sorted({0, *inner, len(losses) - 1})]
    assert climb(some) <= climb(losses)
