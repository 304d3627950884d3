"""The sum that makes a curve's points, in few passes over all weights: they are what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Mix(torch.autograd.Function):
    """Σ_k c_k·θ_k, cut into one piece for every parameter; differentiable in the inner θ_k.

    Autograd's own way through the sum takes a new tensor as large as all weights for every term,
    there and back; here matrix-vector products add up all terms in one pass each.
    """

    @staticmethod
    def forward(
        ctx: Any,
        control: Tensor,
        ends: Tensor,
        openings: Tensor | None,
        coefficients: Sequence[float],
        sizes: Sequence[int],
        along: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """The pieces, flat.

        Args:
            control: the inner points, one in each row.
            ends: θ_0 and θ_n.
            openings: 1 where the inner points may differ from the ends, else 0; None is all 1.
            coefficients: c_0 … c_n.
            sizes: of the pieces.
            along: what is left out of the gradient, a direction of length 1, if any.
        """
        first, *inner, last = coefficients
        outer, mix = ends.new_tensor([first, last]), ends.new_tensor(inner)
        flat = torch.mv(control.T, mix)
        if openings is not None:
            flat.mul_(openings)
        flat.addmv_(ends.T, outer)
        ctx.mix, ctx.openings, ctx.along = mix, openings, along
        return flat.split(list(sizes))

    @staticmethod
    def backward(ctx: Any, *pieces: Tensor) -> tuple[Tensor | None, ...]:
        slopes = ctx.mix.new_empty(len(ctx.mix), sum(len(piece) for piece in pieces))
        flat, *others = slopes
        torch.cat(pieces, out=flat)
        if ctx.along is not None:
            flat.sub_((flat @ ctx.along) * ctx.along)
        if ctx.openings is not None:
            flat.mul_(ctx.openings)
        own, *weights = ctx.mix
        for weight, other in zip(weights, others, strict=True):
            torch.mul(flat, weight, out=other)
        flat.mul_(own)
        return slopes, None, None, None, None, None
