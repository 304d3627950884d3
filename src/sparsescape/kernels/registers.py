"""The backward pass of a Linear: the gradients to the input and to the values at once.

target[row] = Σ value · source[place], and the gradient of each value = ⟨mine[row], source[place]⟩,
in the terms of :mod:`sparsescape.kernels.loops`. The next 64 numbers of target and mine stay in
registers while the loop runs over the row's nonzeros: nothing but the source is read more than
once, in pieces of 64 numbers, from activations that stay in the second-level cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compilation import compiled, compiled_as
from .lanes import folded, load, load_first, multiplied, scaled, splat, store, store_first, total
from .loops import chunk_of

WIDE = 16
"""Sums of a dot product that are kept in memory between pieces of a row."""


def _tile_of_both(width: int) -> Any:
    """One row's next ``width`` numbers, held in registers; ``products`` are of its nonzeros."""

    def tile(p, end, places, values, scale, source, at, mine, target, to, products):
        # Also of an empty row: where the compiler can tell that a row's numbers are 0, it calls
        # memset for each, which takes ten times as long.
        own = load(mine, to, width)
        number, product = splat(mine.dtype.type(0), width), 0
        while p < end:
            lanes = load(source, np.intp(places[p]) * scale + at, width)
            number = scaled(number, values[p], lanes)
            store(products, product, folded(load(products, product, WIDE), own, lanes))
            product += WIDE
            p += 1
        store(target, to, number)

    return compiled_as(f"tile_of_both_{width}", tile)


_both_64, _both_32, _both_16 = (_tile_of_both(width) for width in (64, 32, 16))


@compiled
def _rest_of_both(p, end, places, values, scale, source, at, mine, target, to, products, count):
    """The last ``count`` < 16 numbers of a row."""
    own = load_first(mine, to, WIDE, count)
    number = splat(mine.dtype.type(0), WIDE)
    product = 0
    while p < end:
        lanes = load_first(source, np.intp(places[p]) * scale + at, WIDE, count)
        number = scaled(number, values[p], lanes)
        store(products, product, multiplied(load(products, product, WIDE), own, lanes))
        product += WIDE
        p += 1
    store_first(target, to, number, count)


@compiled
def both_in_registers(
    first, pointers, places, values, scale, source, at, mine, target, step, to, run, gradient
):
    products = np.empty(WIDE * _longest(pointers), mine.dtype)
    chunk = chunk_of(run, 1024)
    for start in range(0, run, chunk):
        stop = min(run, start + chunk)
        for row in range(len(pointers) - 1):
            p, end, here = pointers[row], pointers[row + 1], (first + row) * step + to
            for i in range(WIDE * (end - p)):
                products[i] = 0
            i = start
            while i + 64 <= stop:
                _both_64(
                    p, end, places, values, scale, source, at + i, mine, target, here + i, products
                )
                i += 64
            if i + 32 <= stop:
                _both_32(
                    p, end, places, values, scale, source, at + i, mine, target, here + i, products
                )
                i += 32
            if i + 16 <= stop:
                _both_16(
                    p, end, places, values, scale, source, at + i, mine, target, here + i, products
                )
                i += 16
            if i < stop:
                _rest_of_both(
                    p, end, places, values, scale, source, at + i, mine, target, here + i,
                    products, stop - i,
                )  # fmt: skip
            product = 0
            while p < end:
                gradient[p] += total(load(products, product, WIDE))
                product += WIDE
                p += 1


@compiled
def _longest(pointers):
    longest = 0
    for row in range(len(pointers) - 1):
        longest = max(longest, pointers[row + 1] - pointers[row])
    return longest
