"""Where to look along a curve so that it cannot hurry past anything."""

from __future__ import annotations

import torch
from torch import Tensor

from .curve import Curve

LONGEST = 100
"""So many times the straight line: a longer curve is seen in bigger strides."""
_FINE, _FINEST = 1 << 12, 1 << 18  # pieces of t that lengths are added up over


@torch.no_grad()
def paced(curve: Curve, points: int) -> list[float]:
    """t from 0 to 1 so that neighbours on the curve are no further apart than on a straight line.

    ``points`` of them, evenly spaced in t and on the straight line between the ends, would be
    ‖end − start‖ / (points − 1) apart in weight space. A curve can cross a wall between two values
    of t of an even grid; here that stride is kept along its whole length, and where the curve is
    slow the even grid stays. So the longer the curve, the more points.

    >>> from .bezier import Bezier
    >>> curve = Bezier({"w": torch.zeros(1, 1)}, {"w": torch.ones(1, 1)}, degree=2)
    >>> paced(curve, 3)
    [0.0, 0.5, 1.0]
    >>> curve.set_control_points([{"w": torch.full((1, 1), 8.0)}])
    >>> len(paced(curve, 3)) > 9
    True
    """
    even = [i / (points - 1) for i in range(points)]
    straight, lengths = _lengths(curve, _FINE)
    walked = float(lengths.sum())
    if not 0 < walked < float("inf") or straight == 0:
        return even
    stride = max(straight, walked / LONGEST) / (points - 1)
    while float(lengths.max()) > stride / 4 and len(lengths) < _FINEST:  # fast somewhere
        _, lengths = _lengths(curve, 4 * len(lengths))
    cut = torch.floor(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]) / stride * (1 + 1e-9))
    fresh = (cut.diff() > 0).nonzero().reshape(-1) + 1
    strided = [i / len(lengths) for i in fresh.tolist()]
    return sorted({*even, *strided})


@torch.no_grad()
def has_flown_off(curve: Curve) -> bool:
    """Whether it is so long that no look at it is a close one.

    A search whose learning rate is too large ends in such curves, of which nothing can be said.
    """
    straight, lengths = _lengths(curve, _FINE)
    return not float(lengths.sum()) <= LONGEST * straight


def _lengths(curve: Curve, pieces: int) -> tuple[float, Tensor]:
    """Of the straight line between the ends, and of even pieces of t along the curve."""
    free = curve.control * curve.openings
    corners = torch.cat([curve.ends[:1], free, curve.ends[1:]]).double()
    corners = corners - corners[:1]  # small numbers, so that their products lose little
    products = corners @ corners.T
    t = [i / pieces for i in range(pieces + 1)]
    mixes = torch.tensor([curve.coefficients(s) for s in t], dtype=torch.float64)
    steps = mixes.diff(dim=0)
    lengths = torch.einsum("ij,jk,ik->i", steps, products.cpu(), steps).clamp(min=0).sqrt()
    return float((corners[-1] - corners[0]).norm()), lengths
