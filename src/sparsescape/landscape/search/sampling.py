"""Where on a curve a search looks: from a number drawn evenly in [0, 1] to t."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Evenly(nn.Module):
    """t ~ U(0, 1): every t as often as any other."""

    def forward(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """The t of each draw, and 1 / (density of t)."""
        return drawn, torch.ones_like(drawn)

    def saw(self, t: Tensor, losses: Tensor) -> None:
        """What was found there."""


class WhereHigh(nn.Module):
    """More often where the loss is high: a histogram over t that follows the losses seen.

    Half of the density is even, so that no part of the curve is ever out of sight and weights stay
    below 2; the other half is in proportion to a running mean of the losses seen in each bin, above
    the lowest bin's. A bin that was never looked into counts as the highest.

    It comes with 1 / density. A goal that uses it (``mean``) stays unbiased: the same minimum,
    seen with another noise. A goal that does not gets a reweighted curve: what is high counts more.

    Args:
        bins: equally long pieces of [0, 1].
        rate: of the running mean.
    """

    heights: Tensor

    def __init__(self, bins: int = 20, rate: float = 0.1):
        super().__init__()
        self.rate = rate
        self.register_buffer("heights", torch.full((bins,), torch.inf, dtype=torch.float64))

    def density(self) -> Tensor:
        """The density of t in every bin; its mean is 1."""
        seen = self.heights.isfinite()
        if not seen.any():
            return torch.ones_like(self.heights)
        highest = self.heights[seen].max()
        above = self.heights.clamp(max=highest) - self.heights.min()
        if not above.sum() > 0:
            return torch.ones_like(self.heights)
        return 0.5 + 0.5 * above / above.mean()

    def forward(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """The t of each draw, by the inverse of the distribution, and 1 / (density of t)."""
        density, bins = self.density(), len(self.heights)
        reached = torch.cat([density.new_zeros(1), density.cumsum(0) / bins])
        bin_ = (torch.searchsorted(reached, drawn.double(), right=True) - 1).clamp(0, bins - 1)
        t = bin_.double() / bins + (drawn.double() - reached[bin_]) / density[bin_]
        return t.clamp(0, 1), 1 / density[bin_]

    def saw(self, t: Tensor, losses: Tensor) -> None:
        bins = (t * len(self.heights)).long().clamp(max=len(self.heights) - 1)
        for bin_, loss in zip(bins.tolist(), losses.double().tolist(), strict=True):
            before = self.heights[bin_]
            first = not before.isfinite()
            self.heights[bin_] = loss if first else before + self.rate * (loss - before)


SAMPLINGS: dict[str, Callable[[], Evenly | WhereHigh]] = {"even": Evenly, "high": WhereHigh}
"""Name → where a search looks."""
