"""Which weights stay: how many at a sparsity, and those with the highest scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import InputError
from .positions import count_active


def keep_count(size: int, sparsity: float) -> int:
    """How many of ``size`` weights stay at a sparsity: size − round(sparsity·size).

    >>> keep_count(13584, 0.98), keep_count(10, 1 - 0.9)
    (272, 9)

    Raises:
        InputError: sparsity outside [0, 1].
    """
    if not 0 <= sparsity <= 1:
        raise InputError(f"Sparsity is a number from 0 to 1, not {sparsity}.")
    # Sparsities arrive as 1 − density, whose last bits would turn some halves around.
    return size - round(round(sparsity, 12) * size)


def top(scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """A bool tensor that is ``True`` at the ``count`` highest scores; ties to the lower index.

    With ``among``, a bool tensor of the same shape, only where that is ``True``, and there
    everywhere if it is no more than ``count`` positions.

    >>> top(torch.tensor([1.0, 3.0, 2.0]), 1, among=torch.tensor([True, False, True])).tolist()
    [False, False, True]
    """
    flat = scores.detach().reshape(-1)
    allowed = None if among is None else among.reshape(-1)
    count = min(count, flat.numel() if allowed is None else count_active(allowed))
    if count <= 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    if flat.device.type == "cpu":
        # Numpy's selection is many times faster than kthvalue on a CPU.
        values = flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat
        where = None if allowed is None else allowed.numpy()
        active = torch.from_numpy(_top_of_array(values.numpy(), count, where))
    else:
        everywhere = torch.ones_like(flat, dtype=torch.bool)
        active = _top_on_device(flat, count, everywhere if allowed is None else allowed)
    return active.reshape(scores.shape)


def _top_on_device(flat: Tensor, count: int, allowed: Tensor) -> Tensor:
    threshold = torch.where(allowed, flat, -torch.inf).kthvalue(flat.numel() - count + 1).values
    active = (flat > threshold) & allowed
    ties = ((flat == threshold) & allowed).nonzero().reshape(-1)
    active[ties[: count - int(active.sum())]] = True
    return active


_Bools = npt.NDArray[np.bool_]


def highest_value(values: npt.NDArray[Any], count: int, allowed: _Bools | None = None) -> Any:
    """The ``count``-th highest of an array's values, or of those that are allowed.

    >>> float(highest_value(np.array([1.0, 3.0, 2.0]), 2))
    2.0
    """
    threshold = _between_sampled_bounds(values, count, allowed)
    if threshold is None:
        rest = values if allowed is None else values[np.flatnonzero(allowed)]
        threshold = _by_selection(rest, count)
    return threshold


def _top_of_array(values: npt.NDArray[Any], count: int, allowed: _Bools | None) -> _Bools:
    threshold = highest_value(values, count, allowed)
    active: _Bools = _restricted(values >= threshold, allowed)
    surplus = int(np.count_nonzero(active)) - count
    if surplus > 0:
        active[np.flatnonzero(_restricted(values == threshold, allowed))[-surplus:]] = False
    return active


def _by_selection(values: npt.NDArray[Any], count: int) -> Any:
    """The ``count``-th highest value."""
    lowest = values.min()
    above = values > lowest
    several = int(np.count_nonzero(above))
    if several < count:
        return lowest
    # Selection is slow where most values are equal, as those of closed weights are.
    rest = values if several > len(values) // 2 else values[np.flatnonzero(above)]
    return np.partition(rest, len(rest) - count)[len(rest) - count]


_STRIDE = 61
"""A sample is every 61st value: a prime, so that it does not fall into a weight's columns."""


def _between_sampled_bounds(values: npt.NDArray[Any], count: int, allowed: _Bools | None) -> Any:
    """The ``count``-th highest value, if a sample is large enough to say between which it is.

    Selection takes a hundred times as long as a comparison, so it is left with the few values
    that lie between two bounds; the others are only counted (Floyd & Rivest 1975, *Expected time
    bounds for selection*). None where the bounds are missed.
    """
    sample = values[::_STRIDE]
    sample = sample.copy() if allowed is None else sample[allowed[::_STRIDE]]
    if len(sample) < 64:
        return None
    share = min(count / _STRIDE / len(sample), 1.0)
    slack = 3 * (len(sample) * share * (1 - share)) ** 0.5 + 3
    first, last = (int(len(sample) * share + side * slack) for side in (-1, 1))
    places = [max(len(sample) - 1 - rank, 0) for rank in (max(first, 0), last)]
    sample.partition(places)
    high, low = sample[places]
    high = np.inf if first < 0 else high
    low = -np.inf if last >= len(sample) else low
    more = _count(values > high, allowed)
    reached = more + _count(values == high, allowed)
    if more >= count:
        return None
    if reached >= count:
        return high
    between = _restricted(values > low, allowed)
    between &= values < high
    rest, place = values[np.flatnonzero(between)], count - reached
    if place <= len(rest):
        return np.partition(rest, len(rest) - place)[len(rest) - place]
    return low if place <= len(rest) + _count(values == low, allowed) else None


def _restricted(found: _Bools, allowed: _Bools | None) -> _Bools:
    """Of what was found what is allowed, in place."""
    if allowed is not None:
        found &= allowed
    return found


def _count(found: _Bools, allowed: _Bools | None) -> int:
    return int(np.count_nonzero(_restricted(found, allowed)))
