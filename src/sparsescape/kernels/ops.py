"""A sparse layer's product as a differentiable function of its values, its input and its bias.

The product y = S(v, x) is linear in the values v and in the input x. Its two gradients,
dx = T(v, g) and dv = P(x, g), are again linear in each argument, and their gradients are S, T and P
once more: so the three are functions whose backward passes call each other, differentiable as often
as one likes (Hessian-vector products), by the same kernels.

Whatever adds to the gradient of the layer's values is P of a pair (x, g), or several; the gradient
over all positions, held or not, is the sum of the same pairs' outer products. Who wants that says
so in the forward pass, and is told each pair in the backward pass, as a function that makes its
term: nothing of the dense weight's size is made until it is called.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from ..compilation import works
from ..errors import InputError
from .geometry import Axis
from .layout import batch_innermost
from .pattern import Pattern
from .transforms import one_by_one

Term: TypeAlias = Callable[[], Tensor]
"""Makes a term of the gradient over all positions, in the shape of the dense weight."""
Told: TypeAlias = Callable[[Term], None]
Watch: TypeAlias = Callable[[], Told | None]

_COMPUTED = (torch.float32, torch.float64)  # other precisions in the first


class Operations(Protocol):
    """What a layer computes; activations and gradients have the batch innermost."""

    def sums(self, values: Tensor, bias: Tensor | None, x: Tensor) -> Tensor: ...

    def sums_back(self, values: Tensor, g: Tensor) -> Tensor: ...

    def products(self, x: Tensor, g: Tensor) -> Tensor: ...

    def both(self, values: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]: ...

    def everywhere(self, x: Tensor, g: Tensor) -> Tensor: ...


def sparse_linear(
    pattern: Pattern, values: Tensor, bias: Tensor | None, x: Tensor, watch: Watch | None = None
) -> Tensor:
    """x Wᵀ + b for x of shape (batch, inputs); W has the values at the pattern's positions."""
    if _compiles(values):
        from .compiled import CompiledLinear

        return _apply(CompiledLinear(pattern), values, bias, x, watch)
    from .fallback import TorchLinear

    return _apply(TorchLinear(pattern), values, bias, x, watch)


def sparse_conv2d(
    pattern: Pattern,
    values: Tensor,
    bias: Tensor | None,
    x: Tensor,
    height: Axis,
    width: Axis,
    watch: Watch | None = None,
) -> Tensor:
    """The convolution of x, of shape (batch, channels, height, width)."""
    if _compiles(values):
        from .compiled import CompiledConv

        return _apply(CompiledConv(pattern, height, width), values, bias, x, watch)
    from .fallback import TorchConv

    return _apply(TorchConv(pattern, height, width), values, bias, x, watch)


def _apply(
    layer: Operations, values: Tensor, bias: Tensor | None, x: Tensor, watch: Watch | None
) -> Tensor:
    """All that a small layer computes takes as long as a few calls: none without a need."""
    dtype = values.dtype
    if dtype not in _COMPUTED:
        values = values.float()
    if bias is not None and bias.dtype != values.dtype:
        bias = bias.to(values.dtype)
    if x.dtype != values.dtype:
        if not x.is_floating_point():  # of complex numbers, a half would be lost
            raise InputError(f"The input of a sparse layer is of real numbers, not {x.dtype}.")
        x = x.to(values.dtype)
    source = batch_innermost(x)
    if x.ndim == 4 and x.grad_fn is not None:
        # What a shortcut adds may lie in the other order, and torch's elementwise operations are
        # ten times slower where orders mix: the sum goes on in that of x.
        as_it_is = source is x and not x.is_contiguous()
        x.register_hook(batch_innermost if as_it_is else Tensor.contiguous)
    out = _Sums.apply(values, bias, source, layer, None if watch is None else watch())
    return out if out.dtype == dtype else out.to(dtype)


def _compiles(values: Tensor) -> bool:
    return values.device.type == "cpu" and numba_is_there()


def numba_is_there() -> bool:
    """Whether numba is there and compiles; says so once where it does not."""
    if not _numba:
        _numba.append(works())
        if not _numba[0]:
            why = "is not installed"
            if find_spec("numba") is not None:
                why = "does not work here (it is switched off, or does not fit the numpy there is)"
            warnings.warn(
                f"numba {why}: sparse layers run on torch.sparse, which is slower "
                "(pip install numba).",
                stacklevel=2,
            )
    return _numba[0]


_numba: list[bool] = []  # empty until somebody has asked


class _Sums(Function):
    """S(v, x) + b."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, bias: Tensor | None, x: Tensor, layer: Operations, told: Any
    ) -> Tensor:
        ctx.save_for_backward(values, x)
        ctx.layer, ctx.told = layer, told
        return layer.sums(values, bias, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        one_by_one(g)
        values, x = ctx.saved_tensors
        of_values, of_bias, of_x, *_ = ctx.needs_input_grad
        g = batch_innermost(g)
        bias = _summed(g) if of_bias else None
        if of_values:
            _tell(ctx, x, g)
        if of_values and of_x:
            if torch.is_grad_enabled():
                dx, dv = _Both.apply(values, x, g, ctx.layer, ctx.told)
            else:  # nobody differentiates again
                dx, dv = ctx.layer.both(values, x, g)
            return dv, bias, dx, None, None
        if of_values:
            return _Products.apply(x, g, ctx.layer), bias, None, None, None
        dx = _SumsBack.apply(values, g, ctx.layer, ctx.told) if of_x else None
        return None, bias, dx, None, None


class _SumsBack(Function):
    """T(v, g), the gradient to the input."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, g: Tensor, layer: Operations, told: Any) -> Tensor:
        ctx.save_for_backward(values, g)
        ctx.layer, ctx.told = layer, told
        return layer.sums_back(values, g)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        one_by_one(ddx)
        values, g = ctx.saved_tensors
        of_values, of_g, *_ = ctx.needs_input_grad
        ddx = batch_innermost(ddx)
        if of_values:
            _tell(ctx, ddx, g)
        dv = _Products.apply(ddx, g, ctx.layer) if of_values else None
        dg = _Sums.apply(values, None, ddx, ctx.layer, ctx.told) if of_g else None
        return dv, dg, None, None


class _Products(Function):
    """P(x, g), the gradient to the values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, layer: Operations) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.layer = layer
        return layer.products(x, g)

    @staticmethod
    def backward(ctx: Any, ddv: Tensor) -> Any:
        one_by_one(ddv)
        # What takes the place of the values here is not the layer's weight: nobody is told.
        x, g = ctx.saved_tensors
        dx = _SumsBack.apply(ddv, g, ctx.layer, None) if ctx.needs_input_grad[0] else None
        dg = _Sums.apply(ddv, None, x, ctx.layer, None) if ctx.needs_input_grad[1] else None
        return dx, dg, None


class _Both(Function):
    """T(v, g) and P(x, g) in one pass."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, g: Tensor, layer: Operations, told: Any
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(values, x, g)
        ctx.layer, ctx.told = layer, told
        return layer.both(values, x, g)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor, ddv: Tensor) -> Any:
        one_by_one(ddx, ddv)
        values, x, g = ctx.saved_tensors
        ddx = batch_innermost(ddx)
        _tell(ctx, ddx, g)
        dx, dv = _Both.apply(ddv, ddx, g, ctx.layer, None)
        dg = _Sums.apply(values, None, ddx, ctx.layer, ctx.told)
        dg = dg + _Sums.apply(ddv, None, x, ctx.layer, None)
        return dv, dx, dg, None, None


def _tell(ctx: Any, x: Tensor, g: Tensor) -> None:
    if ctx.told is not None:
        ctx.told(partial(ctx.layer.everywhere, x.detach(), g.detach()))


def _summed(g: Tensor) -> Tensor:
    """Over all dimensions but the second; of a row in memory at a time."""
    return g.sum([0, *range(2, g.ndim)])
