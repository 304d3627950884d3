"""A convolution on padded planes, in which each tap is one distance for all of the image.

The output positions of a dimension and the inputs that they need are put on a common *grid*. Input
i is at index h of *phase* a, where i + padding = h · stride + a: a plane for each phase that a tap
falls into, so that the tap k of output o finds its input in one of them, ⌊k · dilation / stride⌋
behind o. What is outside the image is 0 there. The rows of a plane follow each other in memory, and
the plane is one run of neighbours, in which every nonzero is one distance from source to target: no
border and no stride is left for the loops to see. The price is a copy of what goes in and of what
comes out, and the numbers beside the image, which are computed and thrown away.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from .geometry import CLOSED, Axis, Integers, Regions


class Lattice(NamedTuple):
    """Which positions of a tensor's dimension the indices 0, 1, … of each phase stand for.

    Index h of the phase a is position ``firsts[a] + h · step``; what is not in 0, …, ``size`` - 1
    is outside the image.
    """

    firsts: tuple[int, ...]
    step: int
    length: int
    size: int

    def inside(self, phase: int) -> range:
        """The indices that are positions of the image."""
        first = self.firsts[phase]
        start = min(self.length, max(0, -(first // self.step)))
        stop = min(self.length, -((first - self.size) // self.step))
        return range(start, max(start, stop))

    def planes(self) -> Integers:
        """Of each phase: its first position, and the indices inside the image, from and to."""
        inside = [self.inside(a) for a in range(len(self.firsts))]
        rows = [(f, i.start, i.stop) for f, i in zip(self.firsts, inside, strict=True)]
        return np.array(rows, np.int64)

    @property
    def is_whole(self) -> bool:
        """Whether each position of the image is somewhere."""
        return sum(len(self.inside(a)) for a in range(len(self.firsts))) == self.size


class Taps(NamedTuple):
    """One dimension of a convolution on the grid: each tap's phase, and its distance there."""

    inputs: Lattice
    outputs: Lattice
    phases: tuple[int, ...]
    distances: tuple[int, ...]


def taps_of(axis: Axis) -> Taps:
    """
    >>> taps = taps_of(Axis(input=8, kernel=3, stride=2, padding=1, dilation=1, output=4))
    >>> taps.phases, taps.distances, taps.inputs
    ((0, 1, 0), (0, 0, 1), Lattice(firsts=(-1, 0), step=2, length=5, size=8))
    """
    places = [k * axis.dilation for k in range(axis.kernel)]
    used = sorted({place % axis.stride for place in places})
    distances = tuple(place // axis.stride for place in places)
    length = axis.output + max(distances)
    inputs = Lattice(tuple(a - axis.padding for a in used), axis.stride, length, axis.input)
    outputs = Lattice((0,), 1, length, axis.output)
    return Taps(inputs, outputs, tuple(used.index(p % axis.stride) for p in places), distances)


class Grid(NamedTuple):
    """Both dimensions: what the loops and the copies read.

    ``margin`` numbers of zeros precede the first plane of outputs. A distance that leads out of a
    plane's start so ends among zeros: those, or what is beside the image in the plane before.
    """

    inputs: tuple[Lattice, Lattice]
    outputs: tuple[Lattice, Lattice]
    margin: int
    forward: Regions
    backward: Regions


def grid_of(height: Axis, width: Axis) -> Grid:
    down, across = taps_of(height), taps_of(width)
    pitch = across.inputs.length
    plane = down.inputs.length * pitch
    margin = max(down.distances) * pitch + max(across.distances)
    distances = np.add.outer(np.array(down.distances) * pitch, across.distances).reshape(-1)
    firsts = len(across.inputs.firsts)
    phases = np.add.outer(np.array(down.phases) * firsts, across.phases).reshape(-1)
    whole = (range(height.output), range(width.output))
    forward = _regions([(margin, _run(*whole, pitch)[1])], [phases * plane + distances])
    runs, shifts = [], []
    for a, b in itertools.product(range(len(down.inputs.firsts)), range(firsts)):
        phase = a * firsts + b
        start, length = _run(down.inputs.inside(a), across.inputs.inside(b), pitch)
        if length:
            runs.append((phase * plane + start, length))
            shifts.append(np.where(phases == phase, margin + start - distances, CLOSED))
    backward = _regions(runs, shifts)
    inputs, outputs = (down.inputs, across.inputs), (down.outputs, across.outputs)
    return Grid(inputs, outputs, margin, forward, backward)


def _run(rows: range, columns: range, pitch: int) -> tuple[int, int]:
    """Where the image begins in a plane, and how far it goes."""
    if not rows or not columns:
        return 0, 0
    start = rows[0] * pitch + columns[0]
    return start, rows[-1] * pitch + columns[-1] + 1 - start


def _regions(runs: list[tuple[int, int]], shifts: list[Integers]) -> Regions:
    table = [(start, 1, 0, 0, 1, 0, 0, length) for start, length in runs]
    return Regions(
        np.array(table, np.int64).reshape(-1, 8),
        np.array(shifts, np.int64).reshape(len(table), -1) if table else np.zeros((0, 1), np.int64),
    )
