"""Where a convolution's taps fall: regions of positions that every nonzero treats alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
CLOSED = np.iinfo(np.int64).min


class Axis(NamedTuple):
    """One spatial dimension of a convolution."""

    input: int
    kernel: int
    stride: int
    padding: int  # before the first input; what follows the last is implied by ``output``
    dilation: int
    output: int


class Stretch(NamedTuple):
    """Positions ``start``, ``start + step``, … that have the same taps inside the other side."""

    start: int
    length: int
    step: int
    source_step: int
    sources: tuple[int | None, ...]  # of the first position: where each tap falls, None: outside


def forward_stretches(axis: Axis) -> list[Stretch]:
    """Positions of the output, and the inputs of each.

    >>> [s.sources for s in forward_stretches(Axis(8, 3, 1, 1, 1, 8))]
    [(None, 0, 1), (0, 1, 2), (6, 7, None)]
    """
    starts = [o * axis.stride - axis.padding for o in range(axis.output)]
    falls = [[s + k * axis.dilation for k in range(axis.kernel)] for s in starts]
    inside = [tuple(i if 0 <= i < axis.input else None for i in row) for row in falls]
    return _stretches(inside, step=1, source_step=axis.stride)


def backward_stretches(axis: Axis) -> list[Stretch]:
    """Positions of the input, and the outputs that each goes into.

    >>> [(s.start, s.step, s.sources) for s in backward_stretches(Axis(4, 3, 2, 1, 1, 2))]
    [(0, 2, (None, 0, None)), (1, 2, (1, None, 0)), (3, 2, (None, None, 1))]
    """

    def output(position: int, tap: int) -> int | None:
        place, rest = divmod(position + axis.padding - tap * axis.dilation, axis.stride)
        return place if rest == 0 and 0 <= place < axis.output else None

    rows = [tuple(output(i, k) for k in range(axis.kernel)) for i in range(axis.input)]
    return _stretches(rows, step=axis.stride, source_step=1)


def _stretches(
    rows: Sequence[tuple[int | None, ...]], step: int, source_step: int
) -> list[Stretch]:
    found: list[Stretch] = []
    for start in range(min(step, len(rows))):
        positions = range(start, len(rows), step)
        for _, same in itertools.groupby(positions, lambda i: [s is None for s in rows[i]]):
            group = list(same)
            found.append(Stretch(group[0], len(group), step, source_step, rows[group[0]]))
    return sorted(found)


class Regions(NamedTuple):
    """The regions of a convolution as the loops read them.

    ``table`` has per region: first position; rows, their step in the target, in the source;
    columns, their step in the target, in the source; positions of a run. ``shifts`` has, per region
    and tap, where the tap falls in a plane of the source, or ``CLOSED``.
    """

    table: Integers
    shifts: Integers


def forward_regions(height: Axis, width: Axis) -> Regions:
    """Regions of the output."""
    return _regions(forward_stretches(height), forward_stretches(width), width.output, width.input)


def backward_regions(height: Axis, width: Axis) -> Regions:
    """Regions of the input."""
    return _regions(
        backward_stretches(height), backward_stretches(width), width.input, width.output
    )


def _regions(
    rows: list[Stretch], columns: list[Stretch], target_width: int, source_width: int
) -> Regions:
    table = []
    for h, w in itertools.product(rows, columns):
        first = h.start * target_width + w.start
        down = (h.length, h.step * target_width, h.source_step * source_width)
        # Neighbours that are neighbours in the source as well are one run.
        neighbours = w.step == w.source_step == 1
        across = (1, 0, 0, w.length) if neighbours else (w.length, w.step, w.source_step, 1)
        table.append((first, *down, *across))
    # A large kernel has thousands of regions, and as many taps in each.
    i, j = _sources(rows)[:, None, :, None], _sources(columns)[None, :, None, :]
    shifts = np.where((i < 0) | (j < 0), CLOSED, i * source_width + j)
    return Regions(
        np.array(table, np.int64).reshape(-1, 8),
        shifts.reshape(len(table), shifts.shape[2] * shifts.shape[3]),
    )


def _sources(stretches: list[Stretch]) -> Integers:
    """Where each tap of each falls, -1 outside."""
    taps = [[-1 if i is None else i for i in stretch.sources] for stretch in stretches]
    return np.array(taps, np.int64).reshape(len(taps), len(taps[0]) if taps else 1)
