"""How much, when: each function returns a plain function from a step to a value.

Steps count optimizer steps from 0. Before ``begin`` a schedule has its initial value, from ``end``
on its final one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from .errors import InputError

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same value at every step.

    >>> constant(0.3)(1000)
    0.3
    """
    return partial(_constant, value)


def cosine(initial: float, final: float = 0.0, *, end: int, begin: int = 0) -> Schedule:
    """final + (initial − final)·(1 + cos(π·p))/2, p the progress from begin to end.

    Loshchilov & Hutter 2017, equation 5; RigL's drop fraction, Evci et al. 2020, section 3.

    >>> [round(cosine(1.0, end=4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    _check_order(begin, end)
    return partial(_cosine, initial, final, begin, end)


def cubic(initial: float, final: float, *, begin: int, end: int) -> Schedule:
    """final + (initial − final)·(1 − p)³, p the progress from begin to end.

    The sparsity of gradual pruning (Zhu & Gupta 2017, equation 1).

    >>> [round(cubic(0.0, 0.8, begin=0, end=4)(step), 4) for step in range(5)]
    [0.0, 0.4625, 0.7, 0.7875, 0.8]
    """
    _check_order(begin, end)
    return partial(_cubic, initial, final, begin, end)


def staircase(value: float, factor: float, *, at: Sequence[int]) -> Schedule:
    """The value, multiplied by the factor at each of these steps.

    >>> [staircase(1.0, 0.5, at=(2, 4))(step) for step in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return partial(_staircase, value, factor, tuple(at))


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """The schedule multiplied by (step + 1)/steps during its first ``steps`` steps.

    Goyal et al. 2017, section 2.2.

    >>> [warmup(constant(1.0), 4)(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return partial(_warmup, schedule, steps)


# What these return is made of functions of the module, so that it can be pickled.


def _constant(value: float, step: int) -> float:
    return value


def _cosine(initial: float, final: float, begin: int, end: int, step: int) -> float:
    p = _progress(begin, end, step)
    return final + (initial - final) * (1 + math.cos(math.pi * p)) / 2


def _cubic(initial: float, final: float, begin: int, end: int, step: int) -> float:
    return final + (initial - final) * (1 - _progress(begin, end, step)) ** 3


def _staircase(value: float, factor: float, at: tuple[int, ...], step: int) -> float:
    return value * factor ** sum(step >= place for place in at)


def _warmup(schedule: Schedule, steps: int, step: int) -> float:
    return schedule(step) * min(1.0, (step + 1) / max(steps, 1))


def _progress(begin: int, end: int, step: int) -> float:
    if step >= end:
        return 1.0
    return 0.0 if step <= begin else (step - begin) / (end - begin)


def _check_order(begin: int, end: int) -> None:
    if end < begin:
        raise InputError(f"A schedule cannot end (step {end}) before it begins (step {begin}).")
