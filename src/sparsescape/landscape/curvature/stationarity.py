"""Slope and curvature at a point, inside a subspace and in all of weight space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import InputError, is_real, is_whole
from ...masks import Mask, check_mask
from ...objective import Objective, check_objective
from ...points import PointLike
from ...seeds import generator
from .coordinates import Coordinates, Restricted
from .lanczos import Extremes, extreme_eigenvalues
from .signals import Signal, signals


@dataclass(frozen=True)
class Stationarity:
    """How far a point is from stationary, and what it is where it is.

    *Inside* are the coordinates of the mask: the weights it leaves active and every parameter
    that it does not name. *Outside* are the weights it closes. *Dense* is all of weight space.
    """

    loss: float
    """L at the point, the weight decay's term included."""
    gradient_inside: float
    """Norm of ∇L inside."""
    gradient_outside: float
    """Norm of ∇L outside."""
    rms_inside: float
    """Root mean square of ∇L per coordinate inside; 0 where there is none."""
    rms_outside: float
    """Root mean square of ∇L per coordinate outside; 0 where there is none."""
    coordinates_inside: int
    coordinates_outside: int
    smallest_inside: float
    """Smallest eigenvalue of ∇²L restricted to the inside; 0 where there is no coordinate."""
    largest_inside: float
    smallest_dense: float
    """Smallest eigenvalue of the whole ∇²L."""
    largest_dense: float
    bounds: Mapping[str, float]
    """For each of these four: ‖H·x − λ·x‖, within which H has an eigenvalue."""
    converged: bool
    """Whether all four are as accurate as was asked for."""
    products: int
    """Hessian-vector products that they took, each over the whole data set."""
    signals: tuple[Signal, ...]
    """Signal variance and dead units, layer by layer."""
    examples: int

    @property
    def dead(self) -> dict[str, float]:
        """Layer → share of its units that carry nothing."""
        return {signal.layer: signal.dead for signal in self.signals}

    @property
    def variance(self) -> dict[str, float]:
        """Layer → variance of its outputs over the data."""
        return {signal.layer: signal.variance for signal in self.signals}


def stationarity(
    objective: Objective,
    point: PointLike,
    mask: Mask | None = None,
    *,
    tol: float = 1e-5,
    max_products: int = 300,
    seed: int = 0,
) -> Stationarity:
    """Gradient norms, extreme Hessian eigenvalues and signals at a point, over the whole data set.

    Give the objective the weight decay that the run was trained with: without it an optimum looks
    like a slope. BatchNorm's statistics are held at what they are at the point, as in
    :meth:`Objective.gradient`; the loss depends on the weights through them too, and that part of
    the derivatives is left out.

    Args:
        mask: what is inside; None is all of weight space.
        tol: error of the eigenvalues, as a share of the largest absolute one; an estimate. The
            bounds that are given with them are sure, but an eigenvalue that the start happens
            to be orthogonal to would be missed; the start is drawn at random.
        max_products: at most so many Hessian-vector products inside, and as many in the dense
            space.
        seed: decides the starts.

    Raises:
        InputError: the point or the mask does not fit the model, the loss is not finite, or
            ``tol`` or ``max_products`` makes no sense.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0], [1.0]])
    >>> objective = Objective(model, data, loss=torch.nn.functional.mse_loss)
    >>> mask = Mask({"weight": torch.tensor([[True, False]])})
    >>> s = stationarity(objective, {"weight": torch.zeros(1, 2)}, mask)
    >>> s.gradient_inside, s.gradient_outside, round(s.largest_inside, 4), round(s.largest_dense, 4)
    (0.0, 4.0, 4.0, 16.0)
    """
    if not (is_real(tol) and tol >= 0 and is_whole(max_products, 1)):
        raise InputError(
            f"Eigenvalues take a tolerance of 0 or more and 1 product at least, not {tol!r:.60} "
            f"and {max_products!r:.60}."
        )
    ends = eigenvalues(objective, point, mask, tol=tol, max_products=max_products, seed=seed)
    return with_slopes(objective, point, mask, ends)


@dataclass(frozen=True)
class Ends:
    """Both ends of the spectrum inside the mask and in the dense space, with their vectors."""

    inside: Extremes
    dense: Extremes

    @property
    def products(self) -> int:
        return self.inside.products + (self.dense.products if self.dense is not self.inside else 0)


def eigenvalues(
    objective: Objective,
    point: PointLike,
    mask: Mask | None,
    *,
    tol: float,
    max_products: int,
    seed: int,
) -> Ends:
    """Both ends of the spectrum, inside and dense, from one graph over the data."""
    check_objective(objective)
    check_mask(mask)
    if mask is not None:
        mask.check(point)
    loss = objective(point)
    if not math.isfinite(loss):
        raise InputError(f"The loss at the point is not finite: {loss}.")
    with objective.hessian(point) as hessian:

        def ends(coordinates: Coordinates) -> Extremes:
            start = coordinates.draw(generator(seed, "lanczos"))
            matrix = Restricted(hessian, coordinates)
            return extreme_eigenvalues(matrix, start, tol=tol, max_products=max_products)

        inside = Coordinates(hessian.parameters, mask)
        dense = Coordinates(hessian.parameters)
        found = ends(inside)
        return Ends(found, found if inside.count == dense.count else ends(dense))


def with_slopes(
    objective: Objective, point: PointLike, mask: Mask | None, ends: Ends
) -> Stationarity:
    """The eigenvalues, and beside them the gradient and the signals."""
    found = objective.evaluate(point)
    gradient = objective.gradient(point)
    inside = Coordinates(gradient, mask)
    norm = float(inside.flatten(gradient).double().norm())
    outside = _outside(gradient, inside)
    closed = sum(g.numel() for g in gradient.values()) - inside.count
    four = {
        "smallest_inside": ends.inside.smallest,
        "largest_inside": ends.inside.largest,
        "smallest_dense": ends.dense.smallest,
        "largest_dense": ends.dense.largest,
    }
    return Stationarity(
        loss=found.loss,
        gradient_inside=norm,
        gradient_outside=outside,
        rms_inside=norm / math.sqrt(inside.count),
        rms_outside=outside / math.sqrt(max(1, closed)),
        coordinates_inside=inside.count,
        coordinates_outside=closed,
        **{name: pair.value for name, pair in four.items()},
        bounds={name: pair.bound for name, pair in four.items()},
        converged=ends.inside.converged and ends.dense.converged,
        products=ends.products,
        signals=signals(objective, point),
        examples=found.count,
    )


def _outside(gradient: Mapping[str, Tensor], inside: Coordinates) -> float:
    """The norm of what is left of the gradient when its part inside is taken away."""
    within = inside.point(inside.flatten(gradient))
    squares = [(g - within[n]).double().square().sum().item() for n, g in gradient.items()]
    return math.sqrt(sum(squares))
