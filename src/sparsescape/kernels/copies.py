"""What carries a tensor onto the grid of a convolution and back (:mod:`sparsescape.kernels.grid`).

Planes are copied one by one, each a row at a time: the zeros before the image, its numbers, the
zeros behind it. ``height`` and ``width`` are (step, length, size) of a lattice, ``tops`` and
``lefts`` its planes.
"""

from __future__ import annotations

from typing import Any

from numba import prange

from ..compilation import compiled, compiled_as
from .drivers import Compiled
from .lanes import REGISTER, load, splat, store

WIDE, FEW = 64, 4
"""Numbers that are copied at once, in several registers and in part of one."""


def _by(width: int) -> Any:
    """Copies so many numbers at a time; the last ones overlap with those before them."""

    def by(source, start, target, place, count):
        last = count - width
        for i in range(0, last, width):
            store(target, place + i, load(source, start + i, width))
        store(target, place + last, load(source, start + last, width))

    return compiled_as(f"copy_by_{width}", by, forceinline=True)


_by_wide, _by_register, _by_few = _by(WIDE), _by(REGISTER), _by(FEW)


def _copy_run(source, start, target, place, count):
    if count >= WIDE:
        _by_wide(source, start, target, place, count)
    elif count >= REGISTER:
        _by_register(source, start, target, place, count)
    elif count >= FEW:
        _by_few(source, start, target, place, count)
    else:
        for i in range(count):
            target[place + i] = source[start + i]


_copy_run = compiled_as("copy_run", _copy_run, forceinline=True)  # a call takes as long as it does


@compiled
def _copy(source, start, stride, target, place, step, count, batch):
    """All examples of ``count`` positions, which are ``stride`` and ``step`` numbers apart."""
    if stride == batch and step == batch:
        _copy_run(source, start, target, place, count * batch)
    elif batch < FEW:
        for i in range(batch):
            for j in range(count):
                target[place + j * step + i] = source[start + j * stride + i]
    else:
        for j in range(count):
            _copy_run(source, start + j * stride, target, place + j * step, batch)


@compiled
def _clear(target, start, stop):
    nothing = splat(target.dtype.type(0), REGISTER)
    while start + REGISTER <= stop:
        store(target, start, nothing)
        start += REGISTER
    while start < stop:
        target[start] = 0
        start += 1


@compiled
def _plane_of(channel, phase, tops, lefts, height, width):
    """Where it begins on the grid and in the image, and the rows and columns that are in both."""
    down, across = tops[phase // len(lefts)], lefts[phase % len(lefts)]
    on_grid = (channel * len(tops) * len(lefts) + phase) * height[1] * width[1]
    in_image = (channel * height[2] + down[0]) * width[2] + across[0]
    return on_grid, in_image, (down[1], down[2]), (across[1], across[2])


def _onto_grid(parts, tops, lefts, height, width, margin, batch, source, target):
    columns, down = width[1], height[0] * width[2]
    _clear(target, 0, margin * batch)
    for part in prange(len(parts) - 1):
        for channel in range(parts[part], parts[part + 1]):
            for phase in range(len(tops) * len(lefts)):
                here, there, (above, below), (before, behind) = _plane_of(
                    channel, phase, tops, lefts, height, width
                )
                here += margin
                _clear(target, here * batch, (here + above * columns) * batch)
                for h in range(above, below):
                    row = here + h * columns
                    _clear(target, row * batch, (row + before) * batch)
                    _copy(
                        source, (there + h * down + before * width[0]) * batch, width[0] * batch,
                        target, (row + before) * batch, batch, behind - before, batch,
                    )  # fmt: skip
                    _clear(target, (row + behind) * batch, (row + columns) * batch)
                end = here + height[1] * columns
                _clear(target, (here + below * columns) * batch, end * batch)


def _off_grid(parts, tops, lefts, height, width, margin, batch, whole, source, target):
    columns, down, image = width[1], height[0] * width[2], height[2] * width[2]
    for part in prange(len(parts) - 1):
        for channel in range(parts[part], parts[part + 1]):
            if not whole:  # where no tap falls
                _clear(target, channel * image * batch, (channel + 1) * image * batch)
            for phase in range(len(tops) * len(lefts)):
                here, there, (above, below), (before, behind) = _plane_of(
                    channel, phase, tops, lefts, height, width
                )
                here += margin
                for h in range(above, below):
                    _copy(
                        source, (here + h * columns + before) * batch, batch,
                        target, (there + h * down + before * width[0]) * batch, width[0] * batch,
                        behind - before, batch,
                    )  # fmt: skip


onto_grid, off_grid = Compiled(_onto_grid), Compiled(_off_grid)
