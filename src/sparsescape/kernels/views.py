"""Tensors as the flat arrays that the loops read, and the rows that each thread takes.

A view costs about as much as all that a small layer computes, and numpy's a tenth of torch's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Starting threads takes about as long as this many multiply-adds.
_WORTH_A_THREAD = 200_000


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """The numbers of a contiguous tensor, flat."""
    return tensor.detach().numpy().reshape(-1)


def rows_of(x: Tensor) -> npt.NDArray[Any]:
    """The numbers of (batch, features) with the batch innermost, flat."""
    return x.detach().numpy().T.reshape(-1)


def planes_of(x: Tensor) -> npt.NDArray[Any]:
    """The numbers of (batch, channels, height, width) with the batch innermost, flat."""
    return x.detach().numpy().transpose(1, 2, 3, 0).reshape(-1)


def parts_of(pointers: npt.NDArray[Any], positions: int) -> npt.NDArray[np.int64]:
    """The rows that each thread takes, so that each has as many nonzeros."""
    rows, threads = len(pointers) - 1, torch.get_num_threads()
    if threads > 1:
        count = int(pointers[-1])
        threads = min(threads, 1 + count * positions // _WORTH_A_THREAD, _most_threads())
    if threads == 1:
        return _all(rows)
    shares = np.arange(1, threads) * count / threads
    return np.array([0, *np.searchsorted(pointers, shares), rows])


def channels_of(x: Tensor) -> npt.NDArray[np.int64]:
    """The channels of (batch, channels, …) that each thread takes."""
    channels = x.shape[1]
    return parts_of(np.arange(channels + 1), x.numel() // max(channels, 1))


@lru_cache
def _all(rows: int) -> npt.NDArray[np.int64]:
    return np.array([0, rows])


@lru_cache(maxsize=1)
def _most_threads() -> int:
    """How many threads numba has. Asked first, it starts them, and may set torch's number to it."""
    before = torch.get_num_threads()
    found = int(numba.get_num_threads())
    torch.set_num_threads(before)
    return found
