"""Where a convolution's numbers lie while its loops run: as they are, or on a grid.

As they are, where the runs of neighbours that all nonzeros treat alike are long, in examples ×
width. Where they are short, borders and strides cut the loops into pieces of a few numbers; there
the numbers are copied onto a grid (:mod:`sparsescape.kernels.grid`) first, and off it again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt
from torch import Tensor

from . import copies
from .geometry import CLOSED, Axis, Regions, backward_regions, forward_regions
from .grid import Lattice, grid_of
from .views import array_of, channels_of, planes_of

Numbers = npt.NDArray[Any]

# Nanoseconds, fitted to benchmarks/convolution_ways.py, which holds the choice against the clock.
_GATHER, _PIECE, _PRODUCT = 29.0, 2.3, 0.1  # a nonzero takes in a region, a run, of a number
_COPIED, _COPIED_APART = 0.2, 1.6  # a number, one whose neighbours go into another plane


class Side(Protocol):
    """The tensors on one side of a convolution, (batch, channels, height, width)."""

    @property
    def plane(self) -> int:
        """Positions of a channel, as the loops count them."""
        ...

    def copy_time(self, channels: int, batch: int) -> float:
        """Nanoseconds, there or back."""
        ...

    def numbers(self, x: Tensor) -> Numbers:
        """What x holds, for the loops to read."""
        ...

    def room(self, x: Tensor) -> Numbers:
        """As many numbers, for the loops to write."""
        ...

    def put(self, numbers: Numbers, x: Tensor) -> None:
        """What was written becomes what x holds."""
        ...


class Way(NamedTuple):
    """Both sides, and in which regions the loops go over them."""

    inputs: Side
    outputs: Side
    forward: Regions
    backward: Regions

    @property
    def planes(self) -> tuple[int, int]:
        return self.inputs.plane, self.outputs.plane

    def time(self, channels: tuple[int, int], nonzeros: int, batch: int) -> float:
        """Of a step, forward and backward."""
        loops = _loop_time(self.forward, batch) + _loop_time(self.backward, batch)
        of_inputs = 3 * self.inputs.copy_time(channels[0], batch)  # x twice, and its gradient
        of_outputs = 2 * self.outputs.copy_time(channels[1], batch)
        return nonzeros * loops + of_inputs + of_outputs


def way_of(height: Axis, width: Axis, channels: tuple[int, int], nonzeros: int, batch: int) -> Way:
    """The faster one, for so many input and output channels."""
    faster = on_grid if _takes_grid(height, width, channels, nonzeros, batch) else as_it_is
    return faster(height, width)


@lru_cache(maxsize=4096)  # of each layer and batch; what is kept is small
def _takes_grid(
    height: Axis, width: Axis, channels: tuple[int, int], nonzeros: int, batch: int
) -> bool:
    here, there = (
        way(height, width).time(channels, nonzeros, batch) for way in (as_it_is, on_grid)
    )
    return there < here


@lru_cache(maxsize=256)
def as_it_is(height: Axis, width: Axis) -> Way:
    sides = _AsItIs(height.input * width.input), _AsItIs(height.output * width.output)
    return Way(*sides, forward_regions(height, width), backward_regions(height, width))


@lru_cache(maxsize=256)
def on_grid(height: Axis, width: Axis) -> Way:
    grid = grid_of(height, width)
    sides = _OnGrid(*grid.inputs, margin=0), _OnGrid(*grid.outputs, margin=grid.margin)
    return Way(*sides, grid.forward, grid.backward)


def _loop_time(regions: Regions, batch: int) -> float:
    """Of one nonzero, which is in those regions alone in which its tap is inside."""
    lines, runs, run = (regions.table[:, column] for column in (1, 4, 7))
    inside = (regions.shifts != CLOSED).mean(axis=1)
    of_region = _GATHER + lines * runs * (_PIECE + run * batch * _PRODUCT)
    return float((inside * of_region).sum())


class _AsItIs:
    def __init__(self, plane: int):
        self.plane = plane

    def copy_time(self, channels: int, batch: int) -> float:
        return 0.0

    def numbers(self, x: Tensor) -> Numbers:
        return planes_of(x)

    def room(self, x: Tensor) -> Numbers:
        return planes_of(x)

    def put(self, numbers: Numbers, x: Tensor) -> None:
        """It is what x holds."""


class _OnGrid:
    def __init__(self, height: Lattice, width: Lattice, margin: int):
        phases = len(height.firsts) * len(width.firsts)
        self.plane = phases * height.length * width.length
        self.margin, self.whole = margin, height.is_whole and width.is_whole
        self.copied = _COPIED_APART if width.step > 1 else _COPIED
        self.lattices = height.planes(), width.planes(), height[1:], width[1:], margin

    def copy_time(self, channels: int, batch: int) -> float:
        return channels * self.plane * batch * self.copied

    def numbers(self, x: Tensor) -> Numbers:
        room = self.room(x)
        copies.onto_grid(channels_of(x), *self.lattices, x.shape[0], planes_of(x), room)
        return room

    def room(self, x: Tensor) -> Numbers:
        return array_of(x.new_empty((self.margin + x.shape[1] * self.plane) * x.shape[0]))

    def put(self, numbers: Numbers, x: Tensor) -> None:
        copies.off_grid(
            channels_of(x), *self.lattices, x.shape[0], self.whole, numbers, planes_of(x)
        )
