"""Bézier curves, the straight line among them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from ...errors import InputError, is_whole
from ...masks import Mask
from ...points import PointLike
from .curve import Curve


def check_degree(degree: int) -> None:
    """
    Raises:
        InputError: a Bézier curve has no such degree.
    """
    if not is_whole(degree, 1):
        raise InputError(f"The degree of a Bézier curve is at least 1 and whole, not {degree}.")


class Bezier(Curve):
    """A Bézier curve: c_k(t) = C(n, k)·(1 − t)^(n−k)·t^k (Garipov et al. 2018, section 3.2).

    Args:
        start, end: points or models; copied.
        degree: n, at least 1; the curve has n − 1 free control points.
        subspace: the mask that the curve stays in; None is all of weight space.
        names: of the parameters; those of the ends unless given.

    >>> import torch
    >>> curve = Bezier({"w": torch.zeros(1, 1)}, {"w": torch.ones(1, 1)}, degree=2)
    >>> curve.point(0.25)
    {'w': tensor([[0.2500]])}
    """

    def __init__(
        self,
        start: PointLike,
        end: PointLike,
        *,
        degree: int = 3,
        subspace: Mask | None = None,
        names: Collection[str] | None = None,
    ):
        check_degree(degree)
        self.degree = degree
        super().__init__(start, end, bends=degree - 1, subspace=subspace, names=names)

    def coefficients(self, t: float) -> Sequence[float]:
        n = self.degree
        return [math.comb(n, k) * (1 - t) ** (n - k) * t**k for k in range(n + 1)]

    def slopes(self, t: float) -> Sequence[float]:
        n = self.degree - 1
        lower = [0.0, *(math.comb(n, k) * (1 - t) ** (n - k) * t**k for k in range(n + 1)), 0.0]
        return [(n + 1) * (before - after) for before, after in itertools.pairwise(lower)]


class Line(Bezier):
    """The straight line (1 − t)·start + t·end; t may leave [0, 1].

    >>> import torch
    >>> Line({"w": torch.zeros(1, 1)}, {"w": torch.ones(1, 1)}).point(1.5)
    {'w': tensor([[1.5000]])}
    """

    def __init__(
        self,
        start: PointLike,
        end: PointLike,
        *,
        subspace: Mask | None = None,
        names: Collection[str] | None = None,
    ):
        super().__init__(start, end, degree=1, subspace=subspace, names=names)
