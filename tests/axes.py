"""Dimensions of convolutions, drawn at random, and what a dense one takes in them."""

from __future__ import annotations

from hypothesis import strategies as st

from sparsescape.kernels.geometry import Axis


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    kernel, stride, dilation = (draw(st.integers(1, 4)) for _ in range(3))
    padding = draw(st.integers(0, 4))
    span = dilation * (kernel - 1) + 1
    size = draw(st.integers(max(1, span - 2 * padding), 14))
    output = (size + 2 * padding - span) // stride + 1
    return Axis(size, kernel, stride, padding, dilation, output)


def connections(axis: Axis) -> set[tuple[int, int, int]]:
    """(output, tap, input) of every product a dense convolution takes."""
    return {
        (o, k, i)
        for o in range(axis.output)
        for k in range(axis.kernel)
        if 0 <= (i := o * axis.stride - axis.padding + k * axis.dilation) < axis.input
    }
