"""BatchNorm by a batch's own statistics, of tensors that have the batch innermost.

Such a tensor's channels are one plane of memory each, which stays in the second-level cache while
its mean, its variance and what comes of them are computed. Torch sums a plane number by number,
which takes several times as long as its memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, compiler
from torch.autograd import Function

from ..compilation import works
from .layout import batch_innermost
from .transforms import by_torch_alone, one_by_one

_COMPUTED = (torch.float32, torch.float64)
_WORTH_A_CALL = 1024  # numbers of a channel: with fewer, torch is as fast


def normalizes(x: Tensor, *others: Tensor | None) -> bool:
    """Whether :func:`normalized` takes x, whose batch is innermost, and what belongs to it."""
    return (
        x.numel() >= _WORTH_A_CALL * x.shape[1] > 0
        and x.device.type == "cpu"
        and x.dtype in _COMPUTED
        and all(other is None or other.dtype == x.dtype for other in others)
        and not compiler.is_compiling()
        and not by_torch_alone()
        and works()
    )


def normalized(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(x − mean) / √(variance + eps) · weight + bias, and each channel's mean and variance.

    Differentiable in x, weight and bias, as often as one likes. Source: Ioffe & Szegedy 2015,
    algorithm 1.

    Args:
        x: (batch, channels, height, width), the batch innermost.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Normalized.apply(x, weight, bias, eps)
    return found


class _Normalized(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        from .compiled import normalize

        out, mean, variance = normalize(x, weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *_: Any) -> Any:
        if g is None:
            return None, None, None, None
        one_by_one(g)
        from .compiled import normalize_back

        x, weight, mean, inverse = ctx.saved_tensors
        g = batch_innermost(g)
        if torch.is_grad_enabled():  # somebody differentiates again
            gradients = _by_torch(g, x, weight, mean, inverse, ctx.eps)
        else:
            gradients = normalize_back(g, x, weight, mean, inverse)
        asked = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(gradient if needed else None for gradient, needed in asked), None


def _by_torch(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by an operation that torch can differentiate."""
    back = torch.ops.aten.native_batch_norm_backward
    sides = (t.movedim(0, -1).flatten(1)[None] for t in (g, x))
    of_x, *of_rest = back(*sides, weight, None, None, mean, inverse, True, eps, [True] * 3)
    of_x = of_x.squeeze(0).unflatten(1, (*x.shape[2:], len(x))).movedim(-1, 0)
    return of_x, *of_rest
