"""Schedules: plain functions from a step to a value."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsescape import InputError, schedules

SHAPES = {
    "cosine": lambda a, b, **when: schedules.cosine(a, b, **when),
    "cubic": lambda a, b, **when: schedules.cubic(a, b, **when),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(
    initial=st.floats(-5, 5), final=st.floats(-5, 5), begin=st.integers(0, 50),
    length=st.integers(0, 50), step=st.integers(-100, 200),
)  # fmt: skip
def test_outside_begin_and_end_a_schedule_stands_still(shape, initial, final, begin, length, step):
    value = shape(initial, final, begin=begin, end=begin + length)(step)
    if step >= begin + length:
        assert value == final
    elif step <= begin:
        assert value == pytest.approx(initial, abs=1e-12)
    else:
        assert min(initial, final) - 1e-9 <= value <= max(initial, final) + 1e-9


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_schedule_goes_one_way(shape):
    at = shape(1.0, 0.2, begin=10, end=60)
    values = [at(step) for step in range(10, 61)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_schedule_that_ends_where_it_begins_is_a_step(shape):
    at = shape(0.0, 0.8, begin=5, end=5)
    assert [at(4), at(5), at(6)] == [0.0, 0.8, 0.8]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_schedule_that_ends_before_it_begins_is_refused(shape):
    with pytest.raises(InputError, match=r"cannot end \(step 4\) before it begins \(step 5\)"):
        shape(1.0, 0.0, begin=5, end=4)


def test_cosine_is_loshchilov_and_hutters():
    at = schedules.cosine(0.3, 0.1, begin=10, end=30)
    assert at(20) == pytest.approx(0.2)
    assert at(15) == pytest.approx(0.1 + 0.2 * (1 + math.sqrt(0.5)) / 2)
    assert at(25) == pytest.approx(0.1 + 0.2 * (1 - math.sqrt(0.5)) / 2)


def test_cubic_is_zhu_and_guptas():
    """Half-way an eighth of the sparsity is missing, at three quarters a sixty-fourth."""
    at = schedules.cubic(0.0, 0.64, begin=100, end=300)
    assert at(200) == pytest.approx(0.64 * 7 / 8)
    assert at(250) == pytest.approx(0.64 - 0.01)


def test_constant_is_constant():
    assert {schedules.constant(0.5)(step) for step in (-1, 0, 10**9)} == {0.5}


def test_warmup_multiplies_the_first_steps():
    at = schedules.warmup(schedules.cosine(2.0, end=10), 4)
    plain = schedules.cosine(2.0, end=10)
    assert [at(s) / plain(s) for s in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("steps", [0, 1])
def test_no_warmup_changes_nothing(steps):
    assert schedules.warmup(schedules.constant(0.1), steps)(0) == 0.1
