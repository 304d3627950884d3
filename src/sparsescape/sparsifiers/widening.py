"""One pass that ands a mask of bytes into wider numbers, compiled by numba.

Torch's own ``bitwise_and_`` wants a mask as wide as the numbers, and so reads as much of it as of
them; and on the cold caches that a backward pass leaves behind, the calls around it take longer
than the pass. So this one is handed addresses.
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


def _pass_over(dtype: Any) -> Any:
    def and_into(numbers, mask, count):
        held, bits = carray(_at(numbers), count, dtype), carray(_at(mask), count, np.int8)
        for i in range(count):
            held[i] &= dtype(bits[i])  # a byte of ones becomes a number of ones

    return compiled_as(f"and_into_{dtype.__name__}", and_into)


and_into = {np.dtype(d).itemsize: _pass_over(d) for d in (np.int16, np.int32, np.int64)}
"""Bytes of a number → what is called with the addresses of numbers and mask, and their count."""
