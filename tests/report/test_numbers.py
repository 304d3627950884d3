"""What is written where numbers are missing, tiny, or known to many digits."""

from __future__ import annotations

import math

import pytest

from sparsescape.report.numbers import amount, count, interval, number, percent_interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (0.0, "0"),
        (-0.0042, "-0.00420"),
        (2.302585, "2.30"),
        (1234.5, "1234"),
        (9.9e-5, "9.9e-5"),
        (3.2e7, "3.2e7"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (1.5, 0.25, "1.50 ± 0.25"),
        (1.5, 0.0001, "1.50 ± 1.0e-4"),
        (0.000123, 0.45, "0.0001 ± 0.4500"),
        (0.0, 0.2, "0.000 ± 0.200"),
        (0.0, 0.0, "0"),
        (272.0, 0.0, "272 ± 0"),
        (3e-6, 0.0, "3.0e-6 ± 0"),
    ],
)
def test_an_interval_shows_its_mean_and_its_width(mean: float, half: float, text: str) -> None:
    assert interval({"mean": mean, "low": mean - half, "high": mean + half, "n": 3}) == text


def test_without_an_interval_there_is_the_mean_alone() -> None:
    one = {"mean": 0.5, "low": None, "high": None, "n": 1}
    assert interval(one) == "0.500"
    assert percent_interval(one) == "50.0"
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    assert interval(nothing) == percent_interval(nothing) == percent_interval(None) == "–"


def test_counts_and_amounts() -> None:
    assert [count(7), count(None)] == ["7", "–"]
    assert [amount(1.5e13), amount(999), amount(math.inf)] == ["15.0 T", "999", "–"]
