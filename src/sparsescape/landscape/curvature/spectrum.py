"""The density of the Hessian's eigenvalues, inside a subspace."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import InputError, is_real, is_whole
from ...masks import Mask, check_mask
from ...objective import Objective, check_objective
from ...points import PointLike
from ...seeds import generator
from .coordinates import Coordinates, Restricted
from .lanczos import Array, krylov


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The density φ of n eigenvalues, ∫φ = 1: Gauss quadratures, and a smooth curve of them."""

    nodes: Array
    """Of shape (probes, steps): where each probe's quadrature has its weights."""
    weights: Array
    """Of shape (probes, steps): shares of the eigenvalues, 1 in total for every probe."""
    count: int
    """n, the number of coordinates."""
    grid: Array
    density: Array
    """φ on the grid: the mean over the probes, every node widened to a normal distribution."""
    width: float
    """Standard deviation of that distribution."""

    def moment(self, power: int) -> float:
        """∫λᵏφ(λ)dλ, an estimate of the mean of the eigenvalues' k-th power."""
        return float((self.weights * self.nodes**power).sum(1).mean())

    def share(self, low: float, high: float) -> float:
        """The share of the eigenvalues from ``low`` to ``high``."""
        inside = (self.nodes >= low) & (self.nodes <= high)
        return float((self.weights * inside).sum(1).mean())

    @property
    def trace(self) -> float:
        """n times the first moment."""
        return self.count * self.moment(1)


def spectrum(
    objective: Objective,
    point: PointLike,
    mask: Mask | None = None,
    *,
    steps: int = 80,
    probes: int = 4,
    points: int = 400,
    width: float = 0.005,
    seed: int = 0,
) -> Spectrum:
    """Density of the eigenvalues of ∇²L by stochastic Lanczos quadrature.

    For a random direction v, m steps of Lanczos give the m-point Gauss quadrature of the measure
    Σ_i (vᵀu_i)²·δ(λ − λ_i): exact for polynomials up to degree 2m − 1. Its mean over v is the
    density of the eigenvalues (Ghorbani et al. 2019, *An Investigation into Neural Net
    Optimization via Hessian Eigenvalue Density*, section 2; Papyan 2020, *Traces of Class/Cross-
    Class Structure Pervade Deep Learning Spectra*, appendix).

    Args:
        mask: the subspace whose block of the Hessian is meant. None: all of weight space;
            ``~mask``: the weights the mask closes. Parameters that it does not name belong to both.
        steps: m.
        probes: number of directions v.
        points: of the grid, which holds the nodes and 5 widths beyond.
        width: of the normal distributions on the grid, as a share of the range of the nodes.
        seed: decides the directions.

    Raises:
        InputError: the mask or the point does not fit, or a number that makes no sense.

    >>> model = torch.nn.Linear(3, 1, bias=False)
    >>> data = torch.diag(torch.tensor([3.0, 6.0, 9.0])).sqrt(), torch.zeros(3, 1)
    >>> objective = Objective(model, data, loss=torch.nn.functional.mse_loss)
    >>> found = spectrum(objective, model)  # of eigenvalues 2, 4 and 6
    >>> found.nodes[0].round(3).tolist(), found.count
    ([2.0, 4.0, 6.0], 3)
    """
    whole = is_whole(steps, 1) and is_whole(probes, 1) and is_whole(points, 2)
    if not whole or not (is_real(width) and 0 < width < math.inf):
        raise InputError(
            "A spectrum takes whole numbers of steps, probes and points, at least 1, 1 and 2, and "
            "a finite width above 0."
        )
    check_objective(objective)
    check_mask(mask)
    if mask is not None:
        mask.check(point)
    with objective.hessian(point) as hessian:
        coordinates = Coordinates(hessian.parameters, mask)
        matrix = Restricted(hessian, coordinates)
        quadratures = [
            _quadrature(matrix, coordinates.draw(generator(seed, "spectrum", probe)), steps)
            for probe in range(probes)
        ]
    return _density(quadratures, coordinates.count, points, width)


def _quadrature(matrix: Restricted, start: torch.Tensor, steps: int) -> tuple[Array, Array]:
    nodes, turned = krylov(matrix, start, steps).eigen()
    return nodes, turned[0] ** 2


def _density(
    quadratures: list[tuple[Array, Array]], count: int, points: int, width: float
) -> Spectrum:
    # A Krylov space that was exhausted early has fewer nodes; those lacking have no weight.
    longest = max(len(nodes) for nodes, _ in quadratures)
    nodes = np.stack([np.pad(n, (0, longest - len(n)), mode="edge") for n, _ in quadratures])
    weights = np.stack([np.pad(w, (0, longest - len(w))) for _, w in quadratures])
    low, high = nodes.min(), nodes.max()
    wide = width * (high - low or abs(high) or 1.0)
    grid = np.linspace(low - 5 * wide, high + 5 * wide, points)
    bells = np.exp(-((grid[:, None, None] - nodes) ** 2) / (2 * wide**2)) / np.sqrt(2 * np.pi)
    density = (bells / wide * weights).sum(2).mean(1)
    return Spectrum(nodes, weights, count, grid, density, float(wide))
