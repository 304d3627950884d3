"""Grids against brute force, and when a convolution takes one."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from axes import axes, connections
from sparsescape.kernels.geometry import Axis
from sparsescape.kernels.grid import taps_of
from sparsescape.kernels.ways import Way, as_it_is, on_grid, way_of


@given(axes())
def test_each_tap_of_each_output_falls_where_its_input_is(axis: Axis):
    taps = taps_of(axis)
    found = set()
    for k, (phase, distance) in enumerate(zip(taps.phases, taps.distances, strict=True)):
        for o in range(axis.output):
            position = taps.inputs.firsts[phase] + (o + distance) * taps.inputs.step
            assert o + distance < taps.inputs.length
            if o + distance in taps.inputs.inside(phase):
                found.add((o, k, position))
    assert found == connections(axis)


@given(axes())
def test_what_is_inside_is_the_image_and_whole_where_it_is_all_of_it(axis: Axis):
    for lattice in (taps_of(axis).inputs, taps_of(axis).outputs):
        positions = [
            lattice.firsts[a] + lattice.step * h
            for a in range(len(lattice.firsts))
            for h in range(lattice.length)
            if 0 <= lattice.firsts[a] + lattice.step * h < lattice.size
        ]
        inside = [
            lattice.firsts[a] + lattice.step * h
            for a in range(len(lattice.firsts))
            for h in lattice.inside(a)
        ]
        assert inside == positions
        assert lattice.is_whole == (sorted(positions) == list(range(lattice.size)))


@given(axes(), axes(), st.sampled_from([1, 2, 3, 5, 16, 37, 70]))
def test_numbers_come_back_from_a_grid_and_between_them_is_0(height: Axis, width: Axis, batch: int):
    way = on_grid(height, width)
    sizes = (height.input, width.input), (height.output, width.output)
    for side, size in zip((way.inputs, way.outputs), sizes, strict=True):
        x = torch.rand(3, *size, batch).add(1).permute(3, 0, 1, 2)
        numbers = side.numbers(x)
        back = torch.full_like(x, 7.0)
        side.put(numbers, back)
        held = back != 0
        assert torch.equal(back[held], x[held])
        assert (numbers != 0).sum() == held.sum()
    assert held.all()  # of the outputs


def test_few_examples_take_a_grid_and_many_do_not():
    plain, strided = Axis(16, 3, 1, 1, 1, 16), Axis(16, 3, 2, 1, 1, 8)
    for axis in (plain, strided):
        for batch, way in ((1, on_grid), (7, on_grid), (256, as_it_is)):
            found = way_of(axis, axis, (64, 64), 3700, batch)
            assert type(found.inputs) is type(way(axis, axis).inputs)
    assert type(way_of(plain, plain, (64, 64), 37, 7).inputs) is type(as_it_is(plain, plain).inputs)


def test_what_a_kernel_does_not_overlap_takes_a_grid_for_few_examples_only():
    """A nonzero is in one region of the input; in the others it takes no time."""
    patches = Axis(64, 4, 4, 0, 1, 16)
    for batch, way in ((1, on_grid), (32, as_it_is)):
        assert way_of(patches, patches, (3, 96), 461, batch) is way(patches, patches)


def test_no_layer_of_a_large_network_is_timed_anew_at_every_step(monkeypatch):
    axis, timed = Axis(16, 3, 1, 1, 1, 16), []
    time_of = Way.time
    monkeypatch.setattr(Way, "time", lambda *args: timed.append(args) or time_of(*args))
    for _ in range(3):
        found = [way_of(axis, axis, (61, 61), nonzeros, 1) for nonzeros in range(3000, 3600)]
    assert len(timed) == 2 * 600
    assert len(set(map(id, found))) == 1  # what they hold, they share
