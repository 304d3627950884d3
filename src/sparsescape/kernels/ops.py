"""A sparse layer's product as a differentiable function of its values, its input and its bias.

The product y = S(v, x) is linear in the values v and in the input x. Its two gradients,
dx = T(v, g) and dv = P(x, g), are again linear in each argument, and their gradients are S, T and P
once more: so the three are functions whose backward passes call each other, differentiable as often
as one likes (Hessian-vector products), by the same kernels.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from .geometry import Axis
from .layout import batch_innermost
from .pattern import Pattern


class Operations(Protocol):
    """What a layer computes; activations and gradients have the batch innermost."""

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor: ...

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor: ...

    def products(self, x: Tensor, g: Tensor) -> Tensor: ...

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]: ...


def sparse_linear(pattern: Pattern, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """x Wᵀ + b for x of shape (batch, inputs); W has the values at the pattern's positions."""
    if _compiles(values):
        from .compiled import CompiledLinear

        return _apply(CompiledLinear(pattern), values, bias, x)
    from .fallback import TorchLinear

    return _apply(TorchLinear(pattern), values, bias, x)


def sparse_conv2d(
    pattern: Pattern, values: Tensor, bias: Tensor | None, x: Tensor, height: Axis, width: Axis
) -> Tensor:
    """The convolution of x, of shape (batch, channels, height, width)."""
    if _compiles(values):
        from .compiled import CompiledConv

        return _apply(CompiledConv(pattern, height, width), values, bias, x)
    from .fallback import TorchConv

    return _apply(TorchConv(pattern, height, width), values, bias, x)


def _apply(layer: Operations, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    dtype = values.dtype if values.dtype == torch.float64 else torch.float32
    bias = None if bias is None else bias.to(dtype)
    out = _Sums.apply(values.to(dtype), bias, batch_innermost(x.to(dtype)), layer)
    return out.to(values.dtype)


def _compiles(values: Tensor) -> bool:
    return values.device.type == "cpu" and numba_is_there()


def numba_is_there() -> bool:
    """Whether numba is installed; says so once where it is not."""
    if not _numba:
        _numba.append(find_spec("numba") is not None)
        if not _numba[0]:
            warnings.warn(
                "numba is not installed: sparse layers run on torch.sparse, which is slower "
                "(pip install numba).",
                stacklevel=2,
            )
    return _numba[0]


_numba: list[bool] = []  # empty until somebody has asked


class _Sums(Function):
    """S(v, x) + b."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, bias: Tensor | None, x: Tensor, layer: Operations
    ) -> Tensor:
        ctx.save_for_backward(values, x)
        ctx.layer = layer
        return layer.sums(values, bias, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        values, x = ctx.saved_tensors
        of_values, of_bias, of_x, _ = ctx.needs_input_grad
        g = batch_innermost(g)
        bias = _summed(g) if of_bias else None
        if of_values and of_x:
            dx, dv = _Both.apply(values, x, g, ctx.layer)
            return dv, bias, dx, None
        if of_values:
            return _Products.apply(x, g, ctx.layer), bias, None, None
        return None, bias, _SumsBack.apply(values, g, ctx.layer) if of_x else None, None


class _SumsBack(Function):
    """T(v, g), the gradient to the input."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, g: Tensor, layer: Operations) -> Tensor:
        ctx.save_for_backward(values, g)
        ctx.layer = layer
        return layer.sums_back(values, g)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        values, g = ctx.saved_tensors
        ddx = batch_innermost(ddx)
        dv = _Products.apply(ddx, g, ctx.layer) if ctx.needs_input_grad[0] else None
        dg = _Sums.apply(values, None, ddx, ctx.layer) if ctx.needs_input_grad[1] else None
        return dv, dg, None


class _Products(Function):
    """P(x, g), the gradient to the values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, layer: Operations) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.layer = layer
        return layer.products(x, g)

    @staticmethod
    def backward(ctx: Any, ddv: Tensor) -> Any:
        x, g = ctx.saved_tensors
        dx = _SumsBack.apply(ddv, g, ctx.layer) if ctx.needs_input_grad[0] else None
        dg = _Sums.apply(ddv, None, x, ctx.layer) if ctx.needs_input_grad[1] else None
        return dx, dg, None


class _Both(Function):
    """T(v, g) and P(x, g) in one pass."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, g: Tensor, layer: Operations
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(values, x, g)
        ctx.layer = layer
        return layer.both(values, x, g)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor, ddv: Tensor) -> Any:
        values, x, g = ctx.saved_tensors
        ddx = batch_innermost(ddx)
        dx, dv = _Both.apply(ddv, ddx, g, ctx.layer)
        dg = _Sums.apply(values, None, ddx, ctx.layer) + _Sums.apply(ddv, None, x, ctx.layer)
        return dv, dx, dg, None


def _summed(g: Tensor) -> Tensor:
    """Over all dimensions but the second; of a row in memory at a time."""
    return g.sum([0, *range(2, g.ndim)])
