"""A layer's gradient over all positions of its weight: what growing by gradient asks for."""

from __future__ import annotations

from torch import Tensor
from torch.nn import grad
from torch.nn.functional import pad

from .geometry import Axis
from .pattern import Pattern


def linear_everywhere(pattern: Pattern, x: Tensor, g: Tensor) -> Tensor:
    """Σ g[sample, row] · x[sample, column] for every position, in the dense weight's shape."""
    return (g.t() @ x).reshape(pattern.shape)


def conv_everywhere(pattern: Pattern, height: Axis, width: Axis, x: Tensor, g: Tensor) -> Tensor:
    """The same for a convolution, of x and g of shape (batch, channels, height, width)."""
    axes = (height, width)
    return grad.conv2d_weight(
        pad(x, border(height, width)).contiguous(),
        pattern.shape,
        g.contiguous(),
        stride=[axis.stride for axis in axes],
        dilation=[axis.dilation for axis in axes],
        groups=pattern.groups,
    )


def border(height: Axis, width: Axis) -> tuple[int, int, int, int]:
    """What is read beyond the image (a negative number: what is not read of it), as ``pad`` asks.

    >>> border(Axis(8, 3, 1, 1, 1, 8), Axis(8, 3, 2, 1, 1, 4))
    (1, 0, 1, 1)
    """
    before_and_after = [
        (
            a.padding,
            (a.output - 1) * a.stride + (a.kernel - 1) * a.dilation + 1 - a.padding - a.input,
        )
        for a in (width, height)
    ]
    (left, right), (top, bottom) = before_and_after
    return left, max(right, 0), top, max(bottom, 0)
