"""Measures of a path: barrier, climb, monotone. One definition each, used everywhere.

Losses are a sequence over t from 0 to 1, on a fine grid over the whole training set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def barrier(t: Sequence[float], losses: Sequence[float]) -> float:
    """max over t of L(t) − [(1 − t)·L(0) + t·L(1)], at least 0.

    The largest excess over the straight line between the end losses (Frankle et al. 2020, *Linear
    Mode Connectivity*, section 2, with the line in place of the mean).

    >>> barrier([0, 0.5, 1], [1.0, 1.5, 0.0])
    1.0
    """
    first, last = losses[0], losses[-1]
    excess = [loss - ((1 - s) * first + s * last) for s, loss in zip(t, losses, strict=True)]
    return _at_least_zero(excess)


def climb(losses: Sequence[float]) -> float:
    """How far one has to go uphill on the way from the worse end to the better one.

    Orient the path so that L(0) ≥ L(1), and let T be the first t > 0 with L(t) ≤ L(1), at the
    latest 1. The climb is the larger of

    - max over s < t ≤ T of L(t) − L(s): uphill before the better end's loss is reached, and
    - max over t ≥ T of L(t) − L(1): above the better end's loss afterwards,

    and at least 0. It is 0 for a decreasing path, even where that dips below its end and comes
    back up to it. With a loss that is not finite it is infinite.

    On some of the points, the two ends among them, the climb is no larger than on all of them.

    >>> round(climb([1, 0.1, 5, 0.2]), 6), climb([1.0, 0.5, 0.0]), climb([1.0, -1.0, 0.0])
    (4.8, 0.0, 0.0)
    """
    if not all(map(math.isfinite, losses)):
        return math.inf
    low, high = uphill(losses)
    return max(0.0, losses[high] - losses[low])


def uphill(losses: Sequence[float]) -> tuple[int, int]:
    """The two points between which the climb lies: from which one up to which one.

    Above the better end's loss, after it has been reached, it is that end from which one goes up.

    >>> uphill([3, 1, 2, 0]), uphill([0, 2, 1, 3]), uphill([1, 0.1, 5, 0.2])
    ((1, 2), (2, 1), (3, 2))
    """
    numbers = list(range(len(losses)))
    if losses[0] < losses[-1]:
        numbers.reverse()
    end = losses[numbers[-1]]
    arrival = next(i for i, n in enumerate(numbers) if i > 0 and losses[n] <= end)
    lowest, pairs = numbers[0], []
    for number in numbers[: arrival + 1]:
        pairs.append((lowest, number))
        lowest = min(lowest, number, key=losses.__getitem__)
    pairs += [(numbers[-1], number) for number in numbers[arrival:]]
    return max(pairs, key=lambda pair: losses[pair[1]] - losses[pair[0]])


def tolerance(losses: Sequence[float]) -> float:
    """What counts as no climb: the larger of 1e-3 and 1 % of |L(0) − L(1)|.

    >>> tolerance([2.0, 1.0]), tolerance([0.5, 0.5])
    (0.01, 0.001)
    """
    return max(1e-3, 0.01 * abs(losses[0] - losses[-1]))


def _at_least_zero(values: Sequence[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.inf
    return max(0.0, *values)
