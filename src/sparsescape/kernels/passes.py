"""The backward pass of a convolution: the gradients to the input and to the values at once.

What is computed is that of :mod:`sparsescape.kernels.registers`; but a convolution's planes come
from beyond the second-level cache, and sources should be long streams that the machine sees
coming. So a block of the row is gone over once for every four nonzeros. A block is a stretch of one
run, or several runs, below and beside each other in the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compilation import compiled, compiled_as
from .lanes import REGISTER, load, load_first, multiplied, scaled, splat, store, store_first, total


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


def _step(fresh: bool, rest: bool) -> Any:
    """What four nonzeros add to a register's numbers of the row, and these to their products.

    Args:
        fresh: they are the row's first ones.
        rest: the numbers do not fill the register.
    """
    take, put = (_some, _put_some) if rest else (_all, _put_all)

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

    name = f"{'first' if fresh else 'next'}_{'rest' if rest else 'step'}"
    return compiled_as(name, step, forceinline=True)


def _four(fresh: bool) -> Any:
    """Four nonzeros of a row along a block, or the last few; ``fresh``: the row's first ones.

    In the place of one that is not there stands the first again, times 0: a load that costs little,
    where loops for one, two and three would. (An infinite gradient so becomes NaN, as it does where
    a dense product multiplies it by 0.)
    """
    step, last_step = _step(fresh, rest=False), _step(fresh, rest=True)

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
