"""Layers that hold their nonzero weights and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, compiler, nn
from torch.nn.functional import linear, pad

from ..errors import InputError, is_whole
from ..seeds import derived_seed
from .geometry import Axis
from .layer import Sparse
from .ops import sparse_conv2d, sparse_linear
from .pattern import Pattern, check_shape
from .positions import random_positions
from .transforms import by_torch_alone

_ATTRIBUTES = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
    "padding_mode", "_reversed_padding_repeated_twice", "transposed", "output_padding",
)  # fmt: skip


_LEAST = {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0}


class SparseLinear(Sparse):
    """y = x Wᵀ + b, where W is held at the given positions only.

    Time and memory of training and inference follow the number of positions; no dense weight,
    gradient or mask is made. Starts from N(0, 2/k), k the held inputs of an output (He et al. 2015
    for sparse units: Evci et al. 2020, *Gradient Flow in Sparse Neural Networks*, section 3.1).

    Args:
        in_features, out_features, bias: as for ``torch.nn.Linear``.
        positions: sorted flat indices into a weight of shape (out_features, in_features).
        seed: of the values.

    Raises:
        InputError: a position is outside the weight, they are not sorted, or a size is no whole
            number.

    >>> layer = SparseLinear(4, 2, positions=torch.tensor([0, 3, 5]))
    >>> layer(torch.ones(10, 7, 4)).shape, layer.weight.shape
    (torch.Size([10, 7, 2]), torch.Size([3]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        positions: Tensor,
        seed: int = 0,
    ):
        super().__init__()
        check_shape((out_features, in_features))
        self.in_features, self.out_features = in_features, out_features
        pattern = Pattern.of(positions, self.dense_shape)
        self.hold(pattern, nn.Parameter(torch.empty(pattern.count)))
        self._start(bias, seed)

    @classmethod
    def random(
        cls,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        sparsity: float,
        seed: int = 0,
    ) -> SparseLinear:
        """One with random positions, exactly as many as the sparsity leaves.

        >>> SparseLinear.random(100_000, 100_000, sparsity=0.99999).weight.shape
        torch.Size([100000])
        """
        found = random_positions((out_features, in_features), sparsity, seed=seed)
        seed = derived_seed(seed, "values")
        return cls(in_features, out_features, bias, positions=found, seed=seed)

    @property
    def dense_shape(self) -> torch.Size:
        return torch.Size((self.out_features, self.in_features))

    @compiler.disable  # what numba compiles is nothing to trace: compiled models end a graph here
    def forward(self, input: Tensor) -> Tensor:  # torch's name: some models call it by that
        if not input.ndim or input.shape[-1] != self.in_features:
            raise InputError(
                f"The input is (…, {self.in_features}), the last its features, not "
                f"{tuple(input.shape)}."
            )
        if by_torch_alone():
            return linear(input.to(self.weight.dtype), self.dense_weight(), self.bias)
        rows = input.reshape(input.shape[:-1].numel(), self.in_features)
        out = sparse_linear(self.pattern, self.weight, self.bias, rows, self.watch)
        return out if input.ndim == 2 else out.reshape(*input.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, nonzeros={self.weight.numel()}"
        )


class SparseConv2d(Sparse):
    """A 2-D convolution whose weight is held at the given positions only.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode: as for ``torch.nn.Conv2d``.
        positions: sorted flat indices into a weight of shape (out_channels, in_channels / groups,
            height, width).
        seed: of the values, drawn as for :class:`SparseLinear`.

    Raises:
        InputError: a position is outside the weight, they are not sorted, or there is no such
            convolution.

    >>> layer = SparseConv2d(8, 16, 3, padding=1, positions=torch.arange(0, 16 * 8 * 9, 50))
    >>> layer(torch.ones(5, 8, 12, 10)).shape
    torch.Size([5, 16, 12, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Any = "zeros",
        *,
        positions: Tensor,
        seed: int = 0,
    ):
        super().__init__()
        plain = _plain(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, False,
            padding_mode,
        )  # fmt: skip
        for name in _ATTRIBUTES:
            setattr(self, name, getattr(plain, name))
        pattern = Pattern.of(positions, self.dense_shape, groups)
        self.hold(pattern, nn.Parameter(torch.empty(pattern.count)))
        self._start(bias, seed)

    @classmethod
    def random(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *arguments: Any,
        sparsity: float,
        seed: int = 0,
        **named: Any,
    ) -> SparseConv2d:
        """One with random positions; other arguments as for the class."""
        plain = _plain(in_channels, out_channels, kernel_size, *arguments, **named)
        found = random_positions(plain.weight.shape, sparsity, seed=seed)
        seed = derived_seed(seed, "values")
        return cls(
            in_channels, out_channels, kernel_size, *arguments, positions=found, seed=seed, **named
        )

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    padding_mode: str
    _reversed_padding_repeated_twice: list[int]

    @property
    def dense_shape(self) -> torch.Size:
        return torch.Size((self.out_channels, self.in_channels // self.groups, *self.kernel_size))

    @compiler.disable
    def forward(self, input: Tensor) -> Tensor:
        x = input
        if x.ndim == 3:
            return self(x[None])[0]
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise InputError(
                f"The input is (batch, {self.in_channels}, height, width), not {tuple(x.shape)}."
            )
        if by_torch_alone():
            dense: Any = nn.Conv2d._conv_forward  # which asks for what this layer has too
            return dense(self, x.to(self.weight.dtype), self.dense_weight(), self.bias)
        before_and_after = self._padding()
        if self.padding_mode != "zeros":
            border = [side for pair in reversed(before_and_after) for side in pair]
            x = pad(x, border, mode=self.padding_mode)
            before_and_after = ((0, 0), (0, 0))
        height, width = (self._axis(i, x.shape[2 + i], before_and_after[i]) for i in range(2))
        pointwise = self.kernel_size == self.stride == (1, 1) and self.groups == 1
        if pointwise and before_and_after == ((0, 0), (0, 0)):
            return self._as_linear(x)
        return sparse_conv2d(self.pattern, self.weight, self.bias, x, height, width, self.watch)

    def _as_linear(self, x: Tensor) -> Tensor:
        """A 1×1 convolution: every position is a sample of a matrix product."""
        batch, _, height, width = x.shape
        samples = x.permute(2, 3, 0, 1).reshape(-1, self.in_channels)
        out = sparse_linear(self.pattern, self.weight, self.bias, samples, self.watch)
        return out.reshape(height, width, batch, self.out_channels).permute(2, 3, 0, 1)

    def _padding(self) -> Sequence[tuple[int, int]]:
        left, right, top, bottom = self._reversed_padding_repeated_twice
        return (top, bottom), (left, right)

    def _axis(self, i: int, size: int, padding: tuple[int, int]) -> Axis:
        span = self.dilation[i] * (self.kernel_size[i] - 1) + 1
        room = size + sum(padding) - span
        if room < 0:
            raise InputError(f"A kernel that spans {span} does not fit an input of {size}.")
        output = room // self.stride[i] + 1
        return Axis(size, self.kernel_size[i], self.stride[i], padding[0], self.dilation[i], output)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}, nonzeros={self.weight.numel()}"
        )


def _plain(*arguments: Any, **named: Any) -> Any:
    """All of torch's checks of the arguments, and its attributes, without its weight.

    Raises:
        InputError: there is no such convolution.
    """
    try:
        plain = nn.Conv2d(*arguments, **{**named, "device": "meta"})
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"There is no such convolution: {str(error).rstrip('.')}.") from error
    for name, least in _LEAST.items():  # which torch looks at when it is called
        given = getattr(plain, name)
        if not isinstance(given, str) and not (
            len(given) == 2 and all(is_whole(number, least) for number in given)
        ):
            raise InputError(
                f"The {name} of a convolution is a whole number from {least} on, or two of them, "
                f"not {given}."
            )
    return plain
