"""The three operations of a layer by ``torch.sparse``: without numba, and off the CPU."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import fold, pad, unfold

from .everywhere import border, conv_everywhere, linear_everywhere
from .geometry import Axis
from .layout import by_itself
from .pattern import Pattern

_AT_ONCE = 1 << 24  # numbers gathered at a time for the gradient of the values


@dataclass(frozen=True)
class TorchLinear:
    """As :class:`sparsescape.kernels.compiled.CompiledLinear`."""

    pattern: Pattern

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        out = self._matrix(values) @ x.t()
        return by_itself((out if bias is None else out + bias[:, None]).t())

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        return (self._matrix(values).t() @ g.t()).t()

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        rows, columns = self.pattern.rows(), self._columns()
        step = max(1, _AT_ONCE // max(1, x.shape[0]))
        parts = zip(rows.split(step), columns.split(step), strict=True)
        found = [(g.t()[row] * x.t()[column]).sum(1) for row, column in parts]
        return torch.cat(found) if found else x.new_zeros(0)

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return self.sums_back(values, g), self.products(x, g)

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor:
        return linear_everywhere(self.pattern, x, g)

    def _columns(self) -> Tensor:
        taps = self.pattern.taps
        return self.pattern.input_channels() * taps + self.pattern.indices % taps

    def _matrix(self, values: Tensor) -> Tensor:
        size = (self.pattern.shape[0], self.pattern.channels * self.pattern.taps)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                self.pattern.indptr.long(), self._columns(), values, size, check_invariants=False
            )


@dataclass(frozen=True)
class TorchConv:
    """A convolution as :class:`TorchLinear` over unfolded patches."""

    pattern: Pattern
    height: Axis
    width: Axis

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        out = TorchLinear(self.pattern).sums(values, bias, self._patches(x))
        size = (len(x), self.height.output, self.width.output, self.pattern.shape[0])
        return by_itself(out.reshape(size).movedim(3, 1))

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor:
        patches = TorchLinear(self.pattern).sums_back(values, _rows(g))
        positions = self.height.output * self.width.output
        patches = patches.reshape(len(g), positions, patches.shape[1])
        return self._folded(patches.transpose(1, 2))

    def products(self, x: Tensor, g: Tensor) -> Tensor:
        return TorchLinear(self.pattern).products(self._patches(x), _rows(g))

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return self.sums_back(values, g), self.products(x, g)

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor:
        return conv_everywhere(self.pattern, self.height, self.width, x, g)

    def _patches(self, x: Tensor) -> Tensor:
        """(batch · positions, channels · taps)."""
        patches = unfold(pad(x, border(self.height, self.width)), **self._kernel())
        return patches.transpose(1, 2).reshape(-1, patches.shape[1])

    def _folded(self, patches: Tensor) -> Tensor:
        left, right, top, bottom = border(self.height, self.width)
        size = (self.height.input + top + bottom, self.width.input + left + right)
        x = fold(patches, size, **self._kernel())
        return x[:, :, top : size[0] - bottom, left : size[1] - right]

    def _kernel(self) -> dict[str, tuple[int, int]]:
        names = {"kernel_size": "kernel", "stride": "stride", "dilation": "dilation"}
        return {n: (getattr(self.height, a), getattr(self.width, a)) for n, a in names.items()}


def _rows(g: Tensor) -> Tensor:
    return g.movedim(1, 3).reshape(-1, g.shape[1])
