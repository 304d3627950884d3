"""Order statistics without sorting, compiled by numba.

Selection takes many times as long as a look at every value, so it is left with the few that lie
between two bounds which a sample gives; of the others it is enough to know how many there are
(Floyd & Rivest 1975, *Expected time bounds for selection*).

Bools are given as bytes, of which the compiler makes vectors.
"""

from __future__ import annotations

import numpy as np

from .compilation import compiled

STRIDE = 61
"""A sample is every 61st value: a prime, so that it does not fall into a weight's columns."""
ENOUGH = 64
"""Values in a sample that says something."""


@compiled
def nth_lowest(values, place):
    """The value that would stand at a place (from 0) if they were sorted. No NaN.

    Each pass leaves those on one side of a pivot (Hoare 1961, *Algorithm 65: Find*), by writing
    without a branch, which would be guessed wrongly every other time. The values are lost.
    """
    others = np.empty_like(values)
    size = len(values)
    while True:
        pivot, lower, higher = values[size // 2], 0, 0
        for i in range(size):
            value = values[i]
            others[higher] = value
            higher += value > pivot
            values[lower] = value
            lower += value < pivot
        if place < lower:
            size = lower
        elif place >= size - higher:
            place -= size - higher
            size = higher
            values, others = others, values
        else:
            return pivot


@compiled
def bounds(values, allowed, share, work):
    """Two values between which the lowest of the highest, so large a share, most likely is."""
    size = 0
    for i in range(0, len(values), STRIDE):
        if allowed[i] and values[i] == values[i]:
            work[size] = values[i]
            size += 1
    slack = 3 * np.sqrt(size * share * (1 - share)) + 3
    fewest, most = int(size * share - slack), int(size * share + slack)
    low, high = values.dtype.type(-np.inf), values.dtype.type(np.inf)
    if size >= ENOUGH and most < size:
        low = nth_lowest(work[:size].copy(), size - 1 - most)
    if size >= ENOUGH and size * share >= slack:
        high = nth_lowest(work[:size], size - 1 - fewest)
    return low, high


@compiled
def between(values, allowed, low, high, marks, work):
    """Of those allowed, how many are above ``high``, and how many above ``low`` and not above
    ``high``: these are marked, and written to ``work``. NaN is neither."""
    for i in range(len(values)):
        marks[i] = allowed[i] & np.uint8(values[i] > low) & np.uint8(values[i] <= high)
    above = np.uint32(0)
    for i in range(len(values)):
        above += np.uint32(allowed[i] & np.uint8(values[i] > high))
    found, whole = 0, len(values) // 8 * 8
    words = marks[:whole].view(np.uint64)  # nearly all of them without a mark
    for word in range(len(words)):
        if words[word]:
            for i in range(8 * word, 8 * word + 8):
                work[found] = values[i]
                found += np.int64(marks[i])
    for i in range(whole, len(values)):
        work[found] = values[i]
        found += np.int64(marks[i])
    return np.int64(above), found


@compiled
def equal(values, allowed, value):
    """How many of those allowed have a value."""
    found = np.uint32(0)
    for i in range(len(values)):
        found += np.uint32(allowed[i] & np.uint8(values[i] == value))
    return np.int64(found)


@compiled
def threshold(values, allowed, count, room, marks):
    """The lowest of the ``count`` highest of the ``room`` values that are allowed; −∞ where fewer
    are numbers. Leaves something in ``marks``."""
    work = np.empty(len(values) + 1, values.dtype)
    nothing, everything = values.dtype.type(-np.inf), values.dtype.type(np.inf)
    low, high = bounds(values, allowed, count / room, work)
    for _ in range(2):
        above, found = between(values, allowed, low, high, marks, work)
        if above < count <= above + found:
            return nth_lowest(work[:found], above + found - count)
        if above < count <= above + found + equal(values, allowed, low):
            return low
        low, high = nothing, everything  # the sample has misled
    return nothing


@compiled
def mark_highest(values, allowed, count, room, marks):
    """Mark the ``count`` highest of the ``room`` values that are allowed; of equal ones the first.

    NaN is none of them, though there be too few others.
    """
    lowest = threshold(values, allowed, count, room, marks)
    marked = np.uint32(0)
    for i in range(len(values)):
        marks[i] = allowed[i] & np.uint8(values[i] >= lowest)
        marked += np.uint32(marks[i])
    surplus, at = np.int64(marked) - count, len(values)
    while surplus > 0:
        at -= 1
        if marks[at] and values[at] == lowest:
            marks[at] = 0
            surplus -= 1


@compiled
def edge(values, share):
    """The middle between the lowest share of the values (float32) above 0 and the rest; 1 where
    there are none."""
    if values.itemsize != 4:
        raise ValueError("Only of numbers in single precision are the bits looked at.")
    positive, marks = np.empty(len(values), np.uint8), np.empty(len(values), np.uint8)
    room = np.uint32(0)
    for i in range(len(values)):
        positive[i] = np.uint8(values[i] > 0)
        room += np.uint32(positive[i])
    if room == 0:
        return 1.0
    place = min(int(share * room), np.int64(room) - 1)
    outside = threshold(values, positive, room - place, room, marks)
    # Of numbers above 0 the bits are in their order, and the highest is found several at a time.
    codes, limit = values.view(np.int32), np.array([outside]).view(np.int32)[0]
    highest, nearer = np.int32(0), np.uint32(0)
    for i in range(len(codes)):
        code = codes[i] if codes[i] < limit else np.int32(0)
        highest = max(highest, code)
        nearer += np.uint32(code > 0)
    inside = np.array([highest]).view(np.float32)[0]
    # Fewer than a share are nearer where several are equal.
    return (inside + outside) / 2 if nearer == place else np.float64(outside)


@compiled
def beside(values, share, scores):
    """The distance of each from 0, as a multiple of the :func:`edge` of its sign; of NaN 0."""
    kind = values.dtype.type
    above, below = np.float64(edge(values, share)), np.float64(edge(-values, share))
    unit, slope = kind(above), kind(-above / below)
    for i, value in enumerate(values):
        score = value / unit
        score = score if score > 0 else score * slope
        scores[i] = score if score == score else kind(0)
