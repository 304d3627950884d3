"""A layer's three operations, each one call: threads share out the rows.

A Linear is the loops themselves. A convolution is the same loops over each *region* of the output
in which every tap of the kernel is either inside the image or in the padding (see
:mod:`sparsescape.kernels.geometry`): the nonzeros whose tap is inside are gathered once per region,
so that the loops need no test, and nothing is padded or unfolded.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange

from ..compilation import compiled, compiled_as
from .geometry import CLOSED
from .loops import products_of_rows, sums_of_rows
from .passes import both_in_passes
from .registers import both_in_registers

BLOCK = 1 << 18
"""Numbers of all rows together that stay in the second-level cache."""


def _linear_sums(parts, pointers, places, values, bias, scale, source, target):
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1]
        sums_of_rows(first, own, places, values, bias, scale, source, 0, target, scale, 0, scale)


def _linear_products(parts, pointers, places, scale, source, mine, gradient):
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1]
        products_of_rows(first, own, places, scale, source, 0, mine, scale, 0, scale, gradient)


def _linear_both(parts, pointers, places, order, values, scale, source, mine, target, gradient):
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1] - pointers[first]
        ours = order[pointers[first] : pointers[last]]
        value, product = values[ours], np.zeros(len(ours), values.dtype)
        both_in_registers(
            first, own, places[pointers[first] : pointers[last]], value, scale,
            source, 0, mine, target, scale, 0, scale, product,
        )  # fmt: skip
        for p in range(len(ours)):
            gradient[ours[p]] = product[p]


@compiled
def _inside(
    first, pointers, codes, shifts, taps, plane, group_rows, group_channels, kept, places, at
):
    """Of every row, the nonzeros whose tap is inside the image: where, and which they are."""
    count = 0
    kept[0] = 0
    for row in range(len(pointers) - 1):
        channel = (first + row) // group_rows * group_channels
        for p in range(pointers[row], pointers[row + 1]):
            code = np.intp(codes[p])
            shift = shifts[code % taps]
            if shift != CLOSED:
                places[count] = (channel + code // taps) * plane + shift
                at[count] = p
                count += 1
        kept[row + 1] = count
    return count


def _conv_sums(
    parts, pointers, codes, values, bias, regions, shifts, planes, groups, batch, source, target
):
    taps = shifts.shape[1]
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1]
        size = pointers[last] - pointers[first]
        kept, places = np.empty(last - first + 1, np.int64), np.empty(size, np.int64)
        at, of_kept = np.empty(size, np.int64), np.empty(size, values.dtype)
        for r in range(len(regions)):
            region = regions[r]
            count = _inside(
                first, own, codes, shifts[r], taps, planes[0], groups[0], groups[1],
                kept, places, at,
            )  # fmt: skip
            for p in range(count):
                of_kept[p] = values[at[p]]
            for k in range(region[1]):
                for j in range(region[4]):
                    sums_of_rows(
                        first, kept, places, of_kept, bias, batch,
                        source, (k * region[3] + j * region[6]) * batch,
                        target, planes[1] * batch,
                        (region[0] + k * region[2] + j * region[5]) * batch,
                        region[7] * batch,
                    )  # fmt: skip


def _conv_products(
    parts, pointers, codes, regions, shifts, planes, groups, batch, source, mine, gradient
):
    taps = shifts.shape[1]
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1]
        size = pointers[last] - pointers[first]
        kept, places = np.empty(last - first + 1, np.int64), np.empty(size, np.int64)
        at, of_kept = np.empty(size, np.int64), np.empty(size, gradient.dtype)
        for r in range(len(regions)):
            region = regions[r]
            count = _inside(
                first, own, codes, shifts[r], taps, planes[0], groups[0], groups[1],
                kept, places, at,
            )  # fmt: skip
            of_kept[:count] = 0
            for k in range(region[1]):
                for j in range(region[4]):
                    products_of_rows(
                        first, kept, places, batch,
                        source, (k * region[3] + j * region[6]) * batch,
                        mine, planes[1] * batch,
                        (region[0] + k * region[2] + j * region[5]) * batch,
                        region[7] * batch, of_kept,
                    )  # fmt: skip
            for p in range(count):
                gradient[at[p]] += of_kept[p]


def _conv_both(
    parts, pointers, codes, order, values, regions, shifts, planes, groups, batch,
    source, mine, target, gradient,
):  # fmt: skip
    taps = shifts.shape[1]
    block = max(BLOCK // len(pointers), 1024)
    for part in prange(len(parts) - 1):
        first, last = parts[part], parts[part + 1]
        own = pointers[first : last + 1]
        size = pointers[last] - pointers[first]
        kept, places = np.empty(last - first + 1, np.int64), np.empty(size, np.int64)
        at, of_kept = np.empty(size, np.int64), np.empty(size, values.dtype)
        value = np.empty(size, values.dtype)
        for r in range(len(regions)):
            region = regions[r]
            count = _inside(
                first, own, codes, shifts[r], taps, planes[0], groups[0], groups[1],
                kept, places, at,
            )  # fmt: skip
            of_kept[:count] = 0
            for p in range(count):
                value[p] = values[order[at[p]]]
            lines = (
                region[1], region[3] * batch, region[2] * batch,
                region[4], region[6] * batch, region[5] * batch,
            )  # fmt: skip
            both_in_passes(
                first, kept, places, value, batch, source, 0, mine, target, planes[1] * batch,
                region[0] * batch, region[7] * batch, lines, block, of_kept,
            )  # fmt: skip
            for p in range(count):
                gradient[order[at[p]]] += of_kept[p]


class Compiled:
    """A driver for one thread and one for several: starting threads takes its time."""

    def __init__(self, driver: Any):
        self.single = compiled(driver)
        self.several = compiled_as(f"{driver.__name__}_by_threads", driver, parallel=True)

    def __call__(self, parts: Any, *arguments: Any) -> None:
        if len(parts) == 2:
            self.single(parts, *arguments)
        else:  # which of them runs next is known here alone
            numba.set_num_threads(len(parts) - 1)
            self.several(parts, *arguments)


linear_sums, linear_products, linear_both = map(
    Compiled, (_linear_sums, _linear_products, _linear_both)
)
conv_sums, conv_products, conv_both = map(Compiled, (_conv_sums, _conv_products, _conv_both))
