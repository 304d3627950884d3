"""The loops over nonzeros, compiled by numba when they are first used, and kept on disk.

All arrays are flat. Activations have the batch innermost: a *plane* of numbers for every channel
(a feature is a channel of one position), in it a *run* of neighbours that all nonzeros treat
alike. A layer is three operations, each over rows of a CSR structure (``pointers``, ``places``,
``values``) whose places say where in the source an input is, in units of ``scale`` numbers:

- :func:`sums_of_rows`: target[row] = bias[row] + Σ value · source[place]
- :func:`products_of_rows`: gradient of each value = ⟨mine[row], source[place]⟩
- both at once, for the backward pass, which needs each source twice
  (:mod:`sparsescape.kernels.registers` and :mod:`sparsescape.kernels.passes`)

None of them scatters: rows are independent, so threads share them out, and the sum of a row is
taken in the same order however many threads there are.

What bounds them: one load from the second-level cache per multiply-add of a vector. So the first
holds 64 numbers of a row in registers while it runs over the row's nonzeros, and the second
combines four nonzeros per pass over a chunk of the row. A chunk of a long row is long enough that
the machine sees a stream coming (planes of 2ⁿ numbers share cache sets, so that little of them
stays), that of a short row short enough that the chunks of all rows stay in the second-level cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compilation import compiled, compiled_as
from .lanes import load, load_first, multiplied, scaled, splat, store, store_first, total

LANES = 8


@compiled
def chunk_of(run, long):
    """How many numbers of each row to work on before going to the next row."""
    return 128 if run <= 512 else long


def _tile(width: int) -> Any:
    """One row's next ``width`` numbers, held in registers."""

    def tile(p, end, places, values, bias, scale, source, at, target, to):
        number = splat(bias, width)
        while p < end:
            lanes = load(source, np.intp(places[p]) * scale + at, width)
            number = scaled(number, values[p], lanes)
            p += 1
        store(target, to, number)

    return compiled_as(f"tile_of_{width}", tile)


_tile_64, _tile_32, _tile_16, _tile_8 = (_tile(width) for width in (64, 32, 16, 8))


@compiled
def _rest(p, end, places, values, bias, scale, source, at, target, to, count):
    """The last ``count`` < 8 numbers of a row."""
    number = splat(bias, LANES)
    while p < end:
        lanes = load_first(source, np.intp(places[p]) * scale + at, LANES, count)
        number = scaled(number, values[p], lanes)
        p += 1
    store_first(target, to, number, count)


@compiled
def _single(p, end, places, values, bias, scale, source, at, target, to):
    """One number of a row (a batch of one)."""
    number = bias
    while p < end:
        number += values[p] * source[np.intp(places[p]) * scale + at]
        p += 1
    target[to] = number


@compiled
def sums_of_rows(first, pointers, places, values, bias, scale, source, at, target, step, to, run):
    chunk = chunk_of(run, 4096)
    for start in range(0, run, chunk):
        stop = min(run, start + chunk)
        for row in range(len(pointers) - 1):
            p, end, b = pointers[row], pointers[row + 1], bias[first + row]
            here = (first + row) * step + to
            i = start
            while i + 64 <= stop:
                _tile_64(p, end, places, values, b, scale, source, at + i, target, here + i)
                i += 64
            if i + 32 <= stop:
                _tile_32(p, end, places, values, b, scale, source, at + i, target, here + i)
                i += 32
            if i + 16 <= stop:
                _tile_16(p, end, places, values, b, scale, source, at + i, target, here + i)
                i += 16
            if i + 8 <= stop:
                _tile_8(p, end, places, values, b, scale, source, at + i, target, here + i)
                i += 8
            if stop - i > 1:
                _rest(p, end, places, values, b, scale, source, at + i, target, here + i, stop - i)
            elif stop - i == 1:
                _single(p, end, places, values, b, scale, source, at + i, target, here + i)


@compiled
def products_of_rows(first, pointers, places, scale, source, at, mine, step, to, run, gradient):
    chunk = chunk_of(run, 1024)
    for start in range(0, run, chunk):
        stop = min(run, start + chunk)
        full = start + (stop - start) // LANES * LANES
        for row in range(len(pointers) - 1):
            here = (first + row) * step + to
            p, end = pointers[row], pointers[row + 1]
            while p + 4 <= end:
                a = np.intp(places[p]) * scale + at
                b = np.intp(places[p + 1]) * scale + at
                c = np.intp(places[p + 2]) * scale + at
                d = np.intp(places[p + 3]) * scale + at
                of_a = of_b = of_c = of_d = splat(mine.dtype.type(0), LANES)
                for i in range(start, full, LANES):
                    own = load(mine, here + i, LANES)
                    of_a = multiplied(of_a, own, load(source, a + i, LANES))
                    of_b = multiplied(of_b, own, load(source, b + i, LANES))
                    of_c = multiplied(of_c, own, load(source, c + i, LANES))
                    of_d = multiplied(of_d, own, load(source, d + i, LANES))
                gradient[p] += total(of_a)
                gradient[p + 1] += total(of_b)
                gradient[p + 2] += total(of_c)
                gradient[p + 3] += total(of_d)
                p += 4
            while p < end:
                a = np.intp(places[p]) * scale + at
                of_a = splat(mine.dtype.type(0), LANES)
                for i in range(start, full, LANES):
                    own = load(mine, here + i, LANES)
                    of_a = multiplied(of_a, own, load(source, a + i, LANES))
                gradient[p] += total(of_a)
                p += 1
            if full < stop:
                own = load_first(mine, here + full, LANES, stop - full)
                for p in range(pointers[row], pointers[row + 1]):
                    a = np.intp(places[p]) * scale + at
                    lanes = load_first(source, a + full, LANES, stop - full)
                    nothing = splat(mine.dtype.type(0), LANES)
                    gradient[p] += total(multiplied(nothing, own, lanes))
