"""Regions against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from axes import axes, connections
from sparsescape.kernels.geometry import (
    CLOSED,
    Axis,
    backward_regions,
    backward_stretches,
    forward_regions,
    forward_stretches,
)


@given(axes())
def test_stretches_cover_every_position_once_with_all_its_connections(axis: Axis):
    for stretches, positions in (
        (forward_stretches(axis), axis.output),
        (backward_stretches(axis), axis.input),
    ):
        covered = [s.start + s.step * n for s in stretches for n in range(s.length)]
        assert sorted(covered) == list(range(positions))
    forward = {
        (s.start + s.step * n, tap, source + s.source_step * n)
        for s in forward_stretches(axis)
        for n in range(s.length)
        for tap, source in enumerate(s.sources)
        if source is not None
    }
    backward = {
        (source + s.source_step * n, tap, s.start + s.step * n)
        for s in backward_stretches(axis)
        for n in range(s.length)
        for tap, source in enumerate(s.sources)
        if source is not None
    }
    assert forward == backward == connections(axis)


@given(axes(), axes())
def test_regions_are_the_products_of_stretches(height: Axis, width: Axis):
    for regions, size, source_width in (
        (forward_regions(height, width), height.output * width.output, width.input),
        (backward_regions(height, width), height.input * width.input, width.output),
    ):
        covered = []
        for first, rows, down, _, columns, across, _, run in regions.table.tolist():
            for r in range(rows):
                for c in range(columns):
                    covered += range(
                        first + r * down + c * across, first + r * down + c * across + run
                    )
        assert sorted(covered) == list(range(size))
        inside = regions.shifts[regions.shifts != CLOSED]
        assert (inside >= 0).all()
        assert regions.shifts.shape[1] == height.kernel * width.kernel
        assert source_width > 0


def test_a_padded_three_by_three_convolution_has_nine_regions_and_its_inside_is_whole_rows():
    axis = Axis(16, 3, 1, 1, 1, 16)
    table = forward_regions(axis, axis).table
    assert len(table) == 9
    inside = table[np.argmax(table[:, 1] * table[:, 7])]
    assert inside.tolist() == [17, 14, 16, 16, 1, 0, 0, 14]
