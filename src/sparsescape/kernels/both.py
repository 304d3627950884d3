"""The loops of the backward pass: the gradients to the input and to the values at once.

target[row] = Σ value · source[place], and the gradient of each value = ⟨mine[row], source[place]⟩,
in the terms of :mod:`sparsescape.kernels.loops`. There are two ways, each the faster one somewhere:

- :func:`both_in_registers` holds the next 64 numbers of target and mine while it runs over the
  row's nonzeros. Nothing but the source is read more than once; it comes in pieces of 64 numbers.
  For a Linear, whose activations stay in the second-level cache.
- :func:`both_in_passes` goes over a chunk of the row once for every four nonzeros, so that sources
  are long streams that the machine sees coming. For convolutions, whose planes come from further
  away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compilation import compiled, compiled_as
from .lanes import folded, load, load_first, multiplied, scaled, splat, store, store_first, total
from .loops import LANES, chunk_of

WIDE = 16


def _tile_of_both(width: int) -> Any:
    """One row's next ``width`` numbers, held in registers; ``products`` are of its nonzeros."""

    def tile(p, end, places, values, scale, source, at, mine, target, to, products):
        number, product = splat(mine.dtype.type(0), width), 0
        if p < end:
            own = load(mine, to, width)
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
            products[: WIDE * (end - p)] = 0
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


@compiled
def both_in_passes(
    first, pointers, places, values, scale, source, at, mine, target, step, to, run, gradient
):
    chunk = chunk_of(run, 1024)
    for start in range(0, run, chunk):
        stop = min(run, start + chunk)
        full = start + (stop - start) // LANES * LANES
        for row in range(len(pointers) - 1):
            here = (first + row) * step + to
            p, end = pointers[row], pointers[row + 1]
            for i in range(start, full, LANES):
                store(target, here + i, splat(mine.dtype.type(0), LANES))
            while p + 4 <= end:
                a = np.intp(places[p]) * scale + at
                b = np.intp(places[p + 1]) * scale + at
                c = np.intp(places[p + 2]) * scale + at
                d = np.intp(places[p + 3]) * scale + at
                of_a = of_b = of_c = of_d = splat(mine.dtype.type(0), LANES)
                for i in range(start, full, LANES):
                    own, number = load(mine, here + i, LANES), load(target, here + i, LANES)
                    lanes = load(source, a + i, LANES)
                    number, of_a = scaled(number, values[p], lanes), multiplied(of_a, own, lanes)
                    lanes = load(source, b + i, LANES)
                    number = scaled(number, values[p + 1], lanes)
                    of_b = multiplied(of_b, own, lanes)
                    lanes = load(source, c + i, LANES)
                    number = scaled(number, values[p + 2], lanes)
                    of_c = multiplied(of_c, own, lanes)
                    lanes = load(source, d + i, LANES)
                    number = scaled(number, values[p + 3], lanes)
                    of_d = multiplied(of_d, own, lanes)
                    store(target, here + i, number)
                gradient[p] += total(of_a)
                gradient[p + 1] += total(of_b)
                gradient[p + 2] += total(of_c)
                gradient[p + 3] += total(of_d)
                p += 4
            while p < end:
                a = np.intp(places[p]) * scale + at
                of_a = splat(mine.dtype.type(0), LANES)
                for i in range(start, full, LANES):
                    lanes = load(source, a + i, LANES)
                    store(target, here + i, scaled(load(target, here + i, LANES), values[p], lanes))
                    of_a = multiplied(of_a, load(mine, here + i, LANES), lanes)
                gradient[p] += total(of_a)
                p += 1
            if full < stop:
                own = load_first(mine, here + full, LANES, stop - full)
                number = splat(mine.dtype.type(0), LANES)
                for p in range(pointers[row], pointers[row + 1]):
                    a = np.intp(places[p]) * scale + at
                    lanes = load_first(source, a + full, LANES, stop - full)
                    nothing = splat(mine.dtype.type(0), LANES)
                    gradient[p] += total(multiplied(nothing, own, lanes))
                    number = scaled(number, values[p], lanes)
                store_first(target, here + full, number, stop - full)
