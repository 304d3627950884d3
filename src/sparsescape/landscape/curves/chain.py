"""Polygonal chains: straight pieces from bend to bend."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ...errors import InputError, is_whole
from ...masks import Mask
from ...points import PointLike
from .curve import Curve


def check_bends(bends: int) -> None:
    """
    Raises:
        InputError: a polygonal chain has no such number of bends.
    """
    if not is_whole(bends, 0):
        raise InputError(f"A polygonal chain has 0 bends or more, and whole, not {bends}.")


class PolygonalChain(Curve):
    """Straight pieces from bend to bend, equally long in t (Garipov et al. 2018, section 3.2).

    Args:
        start, end: points or models; copied.
        bends: number of free control points.
        subspace: the mask that the curve stays in; None is all of weight space.
        names: of the parameters; those of the ends unless given.

    >>> import torch
    >>> chain = PolygonalChain({"w": torch.zeros(1, 1)}, {"w": torch.ones(1, 1)}, bends=1)
    >>> [float(c) for c in chain.coefficients(0.75)]
    [0.0, 0.5, 0.5]
    """

    def __init__(
        self,
        start: PointLike,
        end: PointLike,
        *,
        bends: int = 1,
        subspace: Mask | None = None,
        names: Collection[str] | None = None,
    ):
        check_bends(bends)
        self.bends = bends
        super().__init__(start, end, bends=bends, subspace=subspace, names=names)

    def coefficients(self, t: float) -> Sequence[float]:
        pieces = self.bends + 1
        return [max(0.0, 1 - abs(t * pieces - k)) for k in range(pieces + 1)]

    def slopes(self, t: float) -> Sequence[float]:
        """Of the piece that t lies in; at a bend, of the one that begins there."""
        pieces = self.bends + 1
        here = min(max(math.floor(t * pieces), 0), pieces - 1)
        return [float(pieces * ((k == here + 1) - (k == here))) for k in range(pieces + 1)]
