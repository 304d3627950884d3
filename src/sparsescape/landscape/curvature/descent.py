"""How far down a short, honest attempt gets: steps that are tried out on the whole data set.

A gradient's norm has no meaning of its own: it changes with the units of the weights and says
nothing of how far it holds. What it is worth is the loss after the step that it suggests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...masks import Mask
from ...objective import Objective
from ...points import Point, PointLike, as_point
from .coordinates import Coordinates, Restricted
from .lanczos import Eigenpair, krylov

STEPS = 3
"""Newton steps in a row."""

AWAY = 20
"""And at most so many from beside a saddle or a plateau, where the slope is slight at first."""

_LITTLE = 3e-5
"""Share of the loss that a step has to win for another to be taken."""

_KRYLOV = 10
"""Dimension of the Krylov space that each is taken in."""

_DAMPING = 1e-3
"""Curvatures below this share of the largest count as this, or flat directions would take all."""

_LENGTHS = (1.0, 0.25, 4.0, 0.0625, 1 / 64, 1 / 256)
"""Tried along a Newton step, which the quadratic model may have made too long or too short."""

_GAINS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Along negative curvature: by which shares of the loss the quadratic model should fall."""


@dataclass(frozen=True)
class Descent:
    """The best of the points that were tried, the start among them."""

    point: Point
    loss: float
    start: float
    """The loss before."""

    @property
    def decrease(self) -> float:
        return self.start - self.loss


def newton_descent(
    objective: Objective, point: PointLike, mask: Mask | None, loss: float, steps: int = STEPS
) -> Descent:
    """So many saddle-free Newton steps inside the mask, each by its best length.

    A step is p = −V·|VᵀHV|⁻¹·Vᵀg with V a basis of the Krylov space of H and g, of dimension 10
    (Dauphin et al. 2014, *Identifying and Attacking the Saddle Point Problem*, section 5 and
    algorithm 1): about what ten steps of conjugate gradients get. It ends where a step lowers the
    loss by next to nothing, whatever its length.
    """
    here = Descent(as_point(point), loss, loss)
    for _ in range(steps):
        below = _newton_step(objective, here, mask)
        here = Descent(below.point, below.loss, loss)
        if below.decrease <= _LITTLE * abs(loss):
            break
    return here


def _newton_step(objective: Objective, here: Descent, mask: Mask | None) -> Descent:
    gradient = objective.gradient(here.point)
    coordinates = Coordinates(gradient, mask)
    slope = coordinates.flatten(gradient)
    norm = float(slope.norm())
    if not norm:
        return Descent(here.point, here.loss, here.loss)
    with objective.hessian(here.point) as hessian:
        space = krylov(Restricted(hessian, coordinates), slope, _KRYLOV)
    values, turned = space.eigen()
    sizes = np.abs(values)
    floor = _DAMPING * sizes.max() or 1.0
    newton = turned @ (turned[0] * norm / np.maximum(sizes, floor))
    step = -space.rotate(newton[:, None])[0]
    steps = (length * step for length in _LENGTHS)
    return _best(objective, here.point, coordinates, steps, here.loss)


def curvature_descent(
    objective: Objective,
    point: PointLike,
    mask: Mask | None,
    down: Eigenpair,
    loss: float,
    scale: float,
) -> Descent:
    """The best step along a direction of negative curvature λ, and Newton steps from there.

    Both ways are tried, with lengths √(2·q·scale/|λ|), for which the quadratic model falls by the
    shares q of ``scale``.
    """
    point = as_point(point)
    if not down.value < 0:
        return Descent(point, loss, loss)
    lengths = [math.sqrt(2 * gain * scale / -down.value) for gain in _GAINS]
    steps = (sign * length * down.vector for length in lengths for sign in (1, -1))
    aside = _best(objective, point, Coordinates(objective.gradient(point), mask), steps, loss)
    if not aside.decrease > 0:
        return aside
    below = newton_descent(objective, aside.point, mask, aside.loss)
    return Descent(below.point, below.loss, loss)


def _best(
    objective: Objective,
    point: PointLike,
    coordinates: Coordinates,
    steps: Iterable[Tensor],
    loss: float,
) -> Descent:
    point = as_point(point)
    best = Descent(point, loss, loss)
    for step in steps:
        moved = point | {n: point[n] + d for n, d in coordinates.point(step).items()}
        reached = objective(moved)
        if math.isfinite(reached) and reached < best.loss:
            best = Descent(moved, reached, loss)
    return best
