"""What the numba loops compute, on tensors with the batch innermost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from . import drivers, moments
from .everywhere import conv_everywhere, linear_everywhere
from .geometry import Axis, backward_regions, forward_regions
from .pattern import Pattern

# Starting threads takes about as long as this many multiply-adds.
_WORTH_A_THREAD = 200_000
_NO_GROUPS = (1, 0)  # rows per group, channels per group: places count from the first channel


@dataclass
class CompiledLinear:
    """y = W x + b. Activations are (batch, features) tensors with the batch innermost."""

    pattern: Pattern

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        """W x + b."""
        batch, rows = x.shape[0], self.pattern.shape[0]
        out = x.new_empty(rows, batch)
        drivers.linear_sums(
            _parts(self.pattern.arrays[0], batch), *self.pattern.arrays, _array(values),
            _bias(bias, rows, x), batch, _rows(x), _array(out),
        )  # fmt: skip
        return out.t()

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        """Wᵀ g."""
        order, batch = self.pattern.transposed, g.shape[0]
        out = g.new_empty(self.pattern.channels, batch)
        drivers.linear_sums(
            _parts(order.arrays[0], batch), *order.arrays[:2],
            _array(values[order.order]), _bias(None, self.pattern.channels, g), batch,
            _rows(g), _array(out),
        )  # fmt: skip
        return out.t()

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        """⟨g[row], x[column]⟩ of every held position."""
        batch, gradient = x.shape[0], x.new_zeros(self.pattern.count)
        drivers.linear_products(
            _parts(self.pattern.arrays[0], batch), *self.pattern.arrays, batch, _rows(x),
            _rows(g), _array(gradient),
        )  # fmt: skip
        return gradient

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`sums_back` and :meth:`products` in one pass."""
        order, batch = self.pattern.transposed, x.shape[0]
        out = x.new_empty(self.pattern.channels, batch)
        gradient = x.new_zeros(self.pattern.count)
        drivers.linear_both(
            _parts(order.arrays[0], batch), *order.arrays, _array(values), batch, _rows(g),
            _rows(x), _array(out), _array(gradient),
        )  # fmt: skip
        return out.t(), gradient

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
        batch, rows = x.shape[0], self.pattern.shape[0]
        out = x.new_empty(rows, self.height.output, self.width.output, batch)
        regions = forward_regions(self.height, self.width)
        drivers.conv_sums(
            _parts(self.pattern.arrays[0], self._outputs * batch), *self.pattern.arrays,
            _array(values), _bias(bias, rows, x),
            *regions, (self._inputs, self._outputs), self._groups, batch,
            _planes(x), _array(out),
        )  # fmt: skip
        return out.permute(3, 0, 1, 2)

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        """The transposed convolution of g."""
        order, batch, rows = self.pattern.transposed, g.shape[0], self.pattern.channels
        out = g.new_empty(rows, self.height.input, self.width.input, batch)
        regions = backward_regions(self.height, self.width)
        drivers.conv_sums(
            _parts(order.arrays[0], self._outputs * batch), *order.arrays[:2],
            _array(values[order.order]), _bias(None, rows, g),
            *regions, (self._outputs, self._inputs), _NO_GROUPS, batch,
            _planes(g), _array(out),
        )  # fmt: skip
        return out.permute(3, 0, 1, 2)

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        """The gradient of every held value."""
        batch, gradient = x.shape[0], x.new_zeros(self.pattern.count)
        regions = forward_regions(self.height, self.width)
        drivers.conv_products(
            _parts(self.pattern.arrays[0], self._outputs * batch), *self.pattern.arrays, *regions,
            (self._inputs, self._outputs), self._groups,
            batch, _planes(x), _planes(g), _array(gradient),
        )  # fmt: skip
        return gradient

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`sums_back` and :meth:`products` in one pass."""
        order, batch, rows = self.pattern.transposed, g.shape[0], self.pattern.channels
        gradient = x.new_zeros(self.pattern.count)
        out = x.new_empty(rows, self.height.input, self.width.input, batch)
        regions = backward_regions(self.height, self.width)
        drivers.conv_both(
            _parts(order.arrays[0], self._outputs * batch), *order.arrays, _array(values),
            *regions, (self._outputs, self._inputs), _NO_GROUPS, batch,
            _planes(g), _planes(x), _array(out), _array(gradient),
        )  # fmt: skip
        return out.permute(3, 0, 1, 2), gradient

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor:
        """The gradient of every position, held or not."""
        return conv_everywhere(self.pattern, self.height, self.width, x, g)

    @property
    def _inputs(self) -> int:
        return self.height.input * self.width.input

    @property
    def _outputs(self) -> int:
        return self.height.output * self.width.output

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
        _shares(x), x.numel() // channels, eps, _scale(weight, x), _bias(bias, channels, x),
        _planes(x), _planes(out), _array(mean), _array(variance),
    )  # fmt: skip
    return out, mean, variance


def normalize_back(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, the weight and the bias; ``inverse`` is 1 / √(variance + eps)."""
    channels = x.shape[1]
    out, of_weight, of_bias = torch.empty_like(x), x.new_empty(channels), x.new_empty(channels)
    moments.normalize_back(
        _shares(x), x.numel() // channels, _scale(weight, x), _array(mean), _array(inverse),
        _planes(g), _planes(x), _planes(out), _array(of_weight), _array(of_bias),
    )  # fmt: skip
    return out, of_weight, of_bias


# A view costs about as much as all that a small layer computes, and numpy's a tenth of torch's.


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """The numbers of a contiguous tensor, flat."""
    return tensor.detach().numpy().reshape(-1)


def _rows(x: Tensor) -> npt.NDArray[Any]:
    """The numbers of (batch, features) with the batch innermost, flat."""
    return x.detach().numpy().T.reshape(-1)


def _planes(x: Tensor) -> npt.NDArray[Any]:
    """The numbers of (batch, channels, height, width) with the batch innermost, flat."""
    return x.detach().numpy().transpose(1, 2, 3, 0).reshape(-1)


def _scale(weight: Tensor | None, x: Tensor) -> npt.NDArray[Any]:
    return _array(x.new_ones(x.shape[1]) if weight is None else weight)


def _shares(x: Tensor) -> npt.NDArray[np.int64]:
    """The channels that each thread takes."""
    channels = x.shape[1]
    return _parts(np.arange(channels + 1), x.numel() // channels)


def _bias(bias: Tensor | None, rows: int, like: Tensor) -> npt.NDArray[Any]:
    return _array(like.new_zeros(rows) if bias is None else bias)


def _parts(pointers: npt.NDArray[Any], positions: int) -> npt.NDArray[np.int64]:
    """The rows that each thread takes, so that each has as many nonzeros."""
    rows, count = len(pointers) - 1, int(pointers[-1])
    threads = min(torch.get_num_threads(), 1 + count * positions // _WORTH_A_THREAD)
    if threads == 1:
        return np.array([0, rows])
    threads = min(threads, _most_threads())
    numba.set_num_threads(threads)
    shares = np.arange(1, threads) * count / threads
    return np.array([0, *np.searchsorted(pointers, shares), rows])


@lru_cache(maxsize=1)
def _most_threads() -> int:
    """How many threads numba has. Asked first, it starts them, and may set torch's number to it."""
    before = torch.get_num_threads()
    found = int(numba.get_num_threads())
    torch.set_num_threads(before)
    return found
