"""Intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Interval:
    """A mean over n seeds with its 95 % interval; low and high are None for n < 2."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


def interval(values: Sequence[float | None], level: float = 0.95) -> Interval:
    """mean ± t(n − 1)·s/√n, Student's interval; values that are None or not finite are left out.

    Student's t and not a bootstrap, which over three seeds covers 74 %, not 95 %.

    >>> interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.484..., high=4.484..., n=3)
    >>> interval([1.0])
    Interval(mean=1.0, low=None, high=None, n=1)
    """
    numbers = [v for v in values if v is not None and math.isfinite(v)]
    n = len(numbers)
    if n == 0:
        return Interval(None, None, None, 0)
    mean = math.fsum(numbers) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    variance = math.fsum((v - mean) ** 2 for v in numbers) / (n - 1)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)
