import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sparsescape.studies.statistics import Interval, interval

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=2, max_size=30), st.floats(0.5, 0.999))
def test_the_interval_is_students(values, level):
    found = interval(values, level)
    spread = scipy.stats.sem(values)
    low, high = scipy.stats.t.interval(level, len(values) - 1, np.mean(values), max(spread, 1e-300))
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-6)


def test_the_level_is_95_percent_unless_given():
    assert interval([1.0, 2.0, 4.0]) == interval([1.0, 2.0, 4.0], 0.95)


def test_by_hand():
    found = interval([0.0, 1.0])  # t(0.975, 1) = 12.706, s = 0.7071, √2 = 1.4142
    assert (found.mean, found.n) == (0.5, 2)
    assert found.high - found.mean == pytest.approx(12.7062047 / 2)
    assert found.mean - found.low == pytest.approx(12.7062047 / 2)


def test_of_nothing_there_is_nothing():
    assert interval([]) == interval([None, math.nan]) == Interval(None, None, None, 0)


@given(numbers)
def test_one_value_has_a_mean_and_no_interval(value):
    assert interval([value]) == Interval(value, None, None, 1)


MISSING = st.lists(st.sampled_from([None, math.nan, math.inf, -math.inf]), max_size=4)


@given(st.lists(numbers, max_size=8), MISSING)
def test_what_is_no_number_is_left_out_wherever_it_stands(values, missing):
    assert interval([*missing, *values, *missing]) == interval(values)


@given(
    st.lists(numbers, min_size=2, max_size=8).flatmap(
        lambda v: st.tuples(st.just(v), st.permutations(v))
    )
)
def test_the_order_does_not_matter_to_the_bit(lists):
    values, shuffled = lists
    assert interval(values) == interval(shuffled)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_95_of_100_intervals_cover_the_mean(n):
    draws = np.random.default_rng(n).normal(3.0, 2.0, (4000, n))
    found = [interval(row) for row in draws]
    covered = np.mean([each.low <= 3.0 <= each.high for each in found])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / len(draws))
