"""What the numba loops compute, on tensors with the batch innermost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import drivers, moments
from .everywhere import conv_everywhere, linear_everywhere
from .geometry import Axis
from .pattern import Pattern
from .views import array_of, channels_of, parts_of, planes_of, rows_of
from .ways import Way, way_of

_NO_GROUPS = (1, 0)  # rows per group, channels per group: places count from the first channel


@dataclass
class CompiledLinear:
    """y = W x + b. Activations are (batch, features) tensors with the batch innermost."""

    pattern: Pattern

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        """W x + b."""
        batch, rows = x.shape[0], self.pattern.shape[0]
        out = _columns(rows, x)
        drivers.linear_sums(
            parts_of(self.pattern.arrays[0], batch), *self.pattern.arrays, array_of(values),
            _bias(bias, rows, x), batch, rows_of(x), rows_of(out),
        )  # fmt: skip
        return out

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        """Wᵀ g."""
        order, batch = self.pattern.transposed, g.shape[0]
        out = _columns(self.pattern.channels, g)
        drivers.linear_sums(
            parts_of(order.arrays[0], batch), *order.arrays[:2],
            array_of(values[order.order]), _bias(None, self.pattern.channels, g), batch,
            rows_of(g), rows_of(out),
        )  # fmt: skip
        return out

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        """⟨g[row], x[column]⟩ of every held position."""
        batch, gradient = x.shape[0], x.new_zeros(self.pattern.count)
        drivers.linear_products(
            parts_of(self.pattern.arrays[0], batch), *self.pattern.arrays, batch, rows_of(x),
            rows_of(g), array_of(gradient),
        )  # fmt: skip
        return gradient

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`sums_back` and :meth:`products` in one pass."""
        order, batch = self.pattern.transposed, x.shape[0]
        out = _columns(self.pattern.channels, x)
        gradient = x.new_zeros(self.pattern.count)
        drivers.linear_both(
            parts_of(order.arrays[0], batch), *order.arrays, array_of(values), batch, rows_of(g),
            rows_of(x), rows_of(out), array_of(gradient),
        )  # fmt: skip
        return out, gradient

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor:
        """The product of :meth:`products` for every position, held or not."""
        return linear_everywhere(self.pattern, x, g)


@dataclass
class CompiledConv:
    """A convolution. Activations are (batch, channels, height, width), the batch innermost."""

    pattern: Pattern
    height: Axis
    width: Axis

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        """x ∗ W + b."""
        rows, way = self.pattern.shape[0], self._way(x)
        out = self._outputs(rows, x)
        room = way.outputs.room(out)
        drivers.conv_sums(
            self._parts(self.pattern.arrays[0], x), *self.pattern.arrays, array_of(values),
            _bias(bias, rows, x), *way.forward, way.planes, self._groups, x.shape[0],
            way.inputs.numbers(x), room,
        )  # fmt: skip
        way.outputs.put(room, out)
        return out

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        """The transposed convolution of g."""
        order, channels, way = self.pattern.transposed, self.pattern.channels, self._way(g)
        out = self._inputs(channels, g)
        room = way.inputs.room(out)
        drivers.conv_sums(
            self._parts(order.arrays[0], g), *order.arrays[:2], array_of(values[order.order]),
            _bias(None, channels, g), *way.backward, way.planes[::-1], _NO_GROUPS,
            g.shape[0], way.outputs.numbers(g), room,
        )  # fmt: skip
        way.inputs.put(room, out)
        return out

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        """The gradient of every held value."""
        way, gradient = self._way(x), x.new_zeros(self.pattern.count)
        drivers.conv_products(
            self._parts(self.pattern.arrays[0], x), *self.pattern.arrays, *way.forward,
            way.planes, self._groups, x.shape[0], way.inputs.numbers(x),
            way.outputs.numbers(g), array_of(gradient),
        )  # fmt: skip
        return gradient

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`sums_back` and :meth:`products` in one pass."""
        order, way = self.pattern.transposed, self._way(x)
        gradient, out = x.new_zeros(self.pattern.count), self._inputs(self.pattern.channels, x)
        room = way.inputs.room(out)
        drivers.conv_both(
            self._parts(order.arrays[0], x), *order.arrays, array_of(values), *way.backward,
            way.planes[::-1], _NO_GROUPS, x.shape[0], way.outputs.numbers(g),
            way.inputs.numbers(x), room, array_of(gradient),
        )  # fmt: skip
        way.inputs.put(room, out)
        return out, gradient

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor:
        """The gradient of every position, held or not."""
        return conv_everywhere(self.pattern, self.height, self.width, x, g)

    def _way(self, x: Tensor) -> Way:
        channels = self.pattern.channels, self.pattern.shape[0]
        return way_of(self.height, self.width, channels, self.pattern.count, x.shape[0])

    def _inputs(self, channels: int, like: Tensor) -> Tensor:
        return _images(channels, self.height.input, self.width.input, like)

    def _outputs(self, channels: int, like: Tensor) -> Tensor:
        return _images(channels, self.height.output, self.width.output, like)

    def _parts(self, pointers: npt.NDArray[Any], x: Tensor) -> npt.NDArray[np.int64]:
        return parts_of(pointers, self.height.output * self.width.output * x.shape[0])

    @property
    def _groups(self) -> tuple[int, int]:
        return self.pattern.shape[0] // self.pattern.groups, self.pattern.shape[1]


def normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """x with mean 0 and variance 1 in each channel, scaled and moved; and what these were."""
    channels = x.shape[1]
    out, mean, variance = torch.empty_like(x), x.new_empty(channels), x.new_empty(channels)
    moments.normalize(
        channels_of(x), x.numel() // channels, eps, _scale(weight, x), _bias(bias, channels, x),
        planes_of(x), planes_of(out), array_of(mean), array_of(variance),
    )  # fmt: skip
    return out, mean, variance


def normalize_back(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, the weight and the bias; ``inverse`` is 1 / √(variance + eps)."""
    channels = x.shape[1]
    out, of_weight, of_bias = torch.empty_like(x), x.new_empty(channels), x.new_empty(channels)
    moments.normalize_back(
        channels_of(x), x.numel() // channels, _scale(weight, x), array_of(mean), array_of(inverse),
        planes_of(g), planes_of(x), planes_of(out), array_of(of_weight), array_of(of_bias),
    )  # fmt: skip
    return out, of_weight, of_bias


# No views of what has another shape: those autograd lets nobody write into, and they take time.


def _columns(features: int, like: Tensor) -> Tensor:
    """Room for (batch, features), as many examples as ``like``, the batch innermost."""
    batch = like.shape[0]
    return like.new_empty_strided((batch, features), (1, batch))


def _images(channels: int, height: int, width: int, like: Tensor) -> Tensor:
    batch = like.shape[0]
    strides = 1, height * width * batch, width * batch, batch
    return like.new_empty_strided((batch, channels, height, width), strides)


def _scale(weight: Tensor | None, x: Tensor) -> npt.NDArray[Any]:
    return array_of(x.new_ones(x.shape[1]) if weight is None else weight)


def _bias(bias: Tensor | None, rows: int, like: Tensor) -> npt.NDArray[Any]:
    return array_of(like.new_zeros(rows) if bias is None else bias)
