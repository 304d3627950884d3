"""The loops of the backward pass: the gradients to the input and to the values at once.

target[row] = Σ value · source[place], and the gradient of each value = ⟨mine[row], source[place]⟩,
in the terms of :mod:`sparsescape.kernels.loops`. There are two ways, each the faster one somewhere:

- :func:`both_in_registers` holds the next 64 numbers of target and mine while it runs over the
  row's nonzeros. Nothing but the source is read more than once; it comes in pieces of 64 numbers.
  For a Linear, whose activations stay in the second-level cache.
- :func:`both_in_passes` goes over a block of the row once for every four nonzeros, so that sources
  are long streams that the machine sees coming. For convolutions, whose planes come from further
  away; a block is a stretch of one run, or several runs below each other in the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compilation import compiled, compiled_as
from .lanes import (
    REGISTER,
    folded,
    load,
    load_first,
    multiplied,
    scaled,
    splat,
    store,
    store_first,
    total,
)  # fmt: skip
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


@compiled
def _all(array, place, count):
    return load(array, place, REGISTER)


@compiled
def _some(array, place, count):
    return load_first(array, place, REGISTER, count)


@compiled
def _put_all(array, place, lanes, count):
    store(array, place, lanes)


@compiled
def _put_some(array, place, lanes, count):
    store_first(array, place, lanes, count)


@compiled
def _place_of(line, lines):
    """Where a run begins in the source and in the target."""
    down, across = line // lines[3], line % lines[3]
    return down * lines[1] + across * lines[4], down * lines[2] + across * lines[5]


def _step(fresh: bool, take: Any, put: Any) -> Any:
    """What four nonzeros add to a register's numbers of the row, and these to their products.

    Args:
        fresh: they are the row's first ones.
    """

    def step(ats, values, products, source, there, mine, target, here, count):
        own = take(mine, here, count)
        number = splat(mine.dtype.type(0), REGISTER) if fresh else take(target, here, count)
        lanes = take(source, ats[0] + there, count)
        number, a = scaled(number, values[0], lanes), multiplied(products[0], own, lanes)
        lanes = take(source, ats[1] + there, count)
        number, b = scaled(number, values[1], lanes), multiplied(products[1], own, lanes)
        lanes = take(source, ats[2] + there, count)
        number, c = scaled(number, values[2], lanes), multiplied(products[2], own, lanes)
        lanes = take(source, ats[3] + there, count)
        number, d = scaled(number, values[3], lanes), multiplied(products[3], own, lanes)
        put(target, here, number, count)
        return a, b, c, d

    name = f"{'first' if fresh else 'next'}_step{take.__name__}"
    return compiled_as(name, step, forceinline=True)


def _four(fresh: bool) -> Any:
    """Four nonzeros of a row along a block, or the last few; ``fresh``: the row's first ones.

    In the place of one that is not there stands the first again, times 0: a load that costs little,
    where loops for one, two and three would. (An infinite gradient so becomes NaN, as it does where
    a dense product multiplies it by 0.)
    """
    step, last_step = _step(fresh, _all, _put_all), _step(fresh, _some, _put_some)

    def four(p, end, places, values, scale, source, at, mine, target, to, block, lines, gradient):
        start, stop, first_line, last_line = block
        full = start + (stop - start) // REGISTER * REGISTER
        a = np.intp(places[p]) * scale + at
        b = c = d = a
        of_a, nothing = values[p], values.dtype.type(0)
        of_b = of_c = of_d = nothing
        if p + 1 < end:
            b, of_b = np.intp(places[p + 1]) * scale + at, values[p + 1]
        if p + 2 < end:
            c, of_c = np.intp(places[p + 2]) * scale + at, values[p + 2]
        if p + 3 < end:
            d, of_d = np.intp(places[p + 3]) * scale + at, values[p + 3]
        ats, ofs, none = (a, b, c, d), (of_a, of_b, of_c, of_d), splat(nothing, REGISTER)
        products = (none, none, none, none)
        for line in range(first_line, last_line):
            there, here = _place_of(line, lines)
            here += to
            for i in range(start, full, REGISTER):
                products = step(
                    ats, ofs, products, source, there + i, mine, target, here + i, REGISTER
                )
            if full < stop:
                products = last_step(
                    ats, ofs, products, source, there + full, mine, target, here + full, stop - full
                )
        gradient[p] += total(products[0])
        if p + 1 < end:
            gradient[p + 1] += total(products[1])
        if p + 2 < end:
            gradient[p + 2] += total(products[2])
        if p + 3 < end:
            gradient[p + 3] += total(products[3])

    return compiled_as("first_four" if fresh else "next_four", four, forceinline=True)


_first_four, _next_four = _four(fresh=True), _four(fresh=False)


@compiled
def _without_nonzeros(target, to, block, lines):
    start, stop, first_line, last_line = block
    full = start + (stop - start) // REGISTER * REGISTER
    nothing = splat(target.dtype.type(0), REGISTER)
    for line in range(first_line, last_line):
        here = to + _place_of(line, lines)[1]
        for i in range(start, full, REGISTER):
            store(target, here + i, nothing)
        store_first(target, here + full, nothing, stop - full)


@compiled
def both_in_passes(
    first, pointers, places, values, scale, source, at, mine, target, step, to, run, lines, size,
    gradient,
):  # fmt: skip
    """Over several runs: ``lines`` says how many there are below each other, and how far it is from
    one to the next in the source and in the target; then the same of those beside each other.
    ``size`` is how many numbers of a row to work on before the next row."""
    chunk = max(min(run, size), 1)  # of no examples a run has no numbers
    at_once = max(size // max(run, 1), 1)
    for line in range(0, lines[0] * lines[3], at_once):
        for start in range(0, run, chunk):
            stop = min(run, start + chunk)
            block = (start, stop, line, min(line + at_once, lines[0] * lines[3]))
            for row in range(len(pointers) - 1):
                here = (first + row) * step + to
                p, end = pointers[row], pointers[row + 1]
                if p == end:
                    _without_nonzeros(target, here, block, lines)
                else:
                    _first_four(
                        p, end, places, values, scale, source, at, mine, target, here, block,
                        lines, gradient,
                    )  # fmt: skip
                for q in range(p + 4, end, 4):
                    _next_four(
                        q, end, places, values, scale, source, at, mine, target, here, block,
                        lines, gradient,
                    )  # fmt: skip
