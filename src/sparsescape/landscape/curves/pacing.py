"""Where to look along a curve so that it cannot hurry past anything."""

from __future__ import annotations

import torch

from .curve import Curve

_FINE = 4096  # pieces of t that lengths are added up over; a search moves no weights here
_LONGEST = 100  # times the straight line: a curve that is longer is seen in bigger strides


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
    free = curve.control * curve.openings
    corners = torch.cat([curve.ends[:1], free, curve.ends[1:]]).double()
    corners = corners - corners[:1]  # small numbers, so that their products lose little
    products = corners @ corners.T
    t = [i / _FINE for i in range(_FINE + 1)]
    mixes = torch.tensor([curve.coefficients(s) for s in t], dtype=torch.float64)
    steps = mixes.diff(dim=0)
    lengths = torch.einsum("ij,jk,ik->i", steps, products.cpu(), steps).clamp(min=0).sqrt()
    straight = float((corners[-1] - corners[0]).norm())
    walked = float(lengths.sum())
    if not 0 < walked < float("inf") or straight == 0:
        return even
    stride = max(straight / (points - 1), walked / (_LONGEST * (points - 1)))
    cut = torch.floor(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]) / stride * (1 + 1e-9))
    fresh = (cut.diff() > 0).nonzero().reshape(-1) + 1
    strided = [t[i] for i in fresh.tolist()]
    return sorted({*even, *strided})
