"""The sum that makes a curve's points, in few passes over all weights: they are what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Mix(torch.autograd.Function):
    """Σ_k c_k·θ_k, cut into one piece for every parameter; differentiable in the inner θ_k.

    Autograd's own way through the sum takes a new tensor as large as all weights for every term,
    there and back. The bits are the same.
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
        mix = torch.tensor(inner, dtype=ends.dtype, device=ends.device)
        flat = first * ends[0]
        term = last * ends[1]
        flat += term
        if inner:
            torch.mv(control.T, mix, out=term)
            flat += term if openings is None else term.mul_(openings)
        ctx.mix, ctx.openings, ctx.along = mix, openings, along
        return flat.split(list(sizes))

    @staticmethod
    def backward(ctx: Any, *pieces: Tensor) -> tuple[Tensor | None, ...]:
        flat = torch.cat(pieces)
        if ctx.along is not None:
            flat = flat - (flat @ ctx.along) * ctx.along
        if ctx.openings is not None:
            flat = flat * ctx.openings
        return torch.outer(ctx.mix, flat), None, None, None, None, None
