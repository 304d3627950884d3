"""One pass over wider numbers and a mask of bytes, compiled by numba.

Torch's own operations want a mask as wide as the numbers, and so read as much of it as of
them; and on the cold caches that a backward pass leaves behind, the calls around it take longer
than the pass. So these are handed addresses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from ..compilation import compiled_as


@intrinsic
def _at(context, address):
    """The memory at an address."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


def _and_into(dtype: Any) -> Any:
    def and_into(numbers, mask, count):
        held, bits = carray(_at(numbers), count, dtype), carray(_at(mask), count, np.int8)
        for i in range(count):
            held[i] &= dtype(bits[i])  # a byte of ones becomes a number of ones

    return compiled_as(f"and_into_{dtype.__name__}", and_into)


def _is_within(dtype: Any) -> Any:
    def is_within(numbers, mask, count):
        held, bits = carray(_at(numbers), count, dtype), carray(_at(mask), count, np.int8)
        outside = dtype(0)
        for i in range(count):
            outside |= held[i] & ~dtype(bits[i])
        return outside == 0

    return compiled_as(f"is_within_{dtype.__name__}", is_within)


_INTEGERS = (np.int16, np.int32, np.int64)

and_into = {np.dtype(d).itemsize: _and_into(d) for d in _INTEGERS}
"""Bytes of a number → what is called with the addresses of numbers and mask, and their count."""

is_within = {np.dtype(d).itemsize: _is_within(d) for d in _INTEGERS}
"""Likewise: whether the numbers have no bit outside the mask."""
