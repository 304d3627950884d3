"""Eigenvalues of a symmetric matrix that can only be multiplied by, by the method of Lanczos.

Every new vector is orthogonalized against all before it, twice (Parlett 1998, *The Symmetric
Eigenvalue Problem*, section 6.9: "twice is enough"), since in rounded numbers the three-term
recurrence alone loses orthogonality and finds eigenvalues several times over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Matrix = Callable[[Tensor], Tensor]
"""From v to A·v, for flat vectors."""

Array = npt.NDArray[np.float64]

MEMORY = 2**30
"""Bytes that a basis may take; with more of them it is restarted."""


@dataclass(frozen=True)
class Eigenpair:
    """An approximate eigenvalue θ and its vector x, of length 1."""

    value: float
    bound: float
    """‖A·x − θ·x‖, and what rounding adds to it: A has an eigenvalue within this of θ (Parlett
    1998, theorem 4.5.1)."""
    vector: Tensor


@dataclass(frozen=True)
class Extremes:
    """Both ends of a spectrum."""

    smallest: Eigenpair
    largest: Eigenpair
    products: int
    """Products with the matrix."""
    converged: bool
    """Whether both are as accurate as was asked for."""

    @property
    def scale(self) -> float:
        """The larger absolute value: the norm of the matrix."""
        return max(abs(self.smallest.value), abs(self.largest.value))


def extreme_eigenvalues(
    matrix: Matrix,
    start: Tensor,
    *,
    tol: float = 1e-5,
    ends: tuple[str, ...] = ("smallest", "largest"),
    max_products: int = 300,
    memory: int = MEMORY,
) -> Extremes:
    """Smallest and largest eigenvalue by Lanczos with full reorthogonalization.

    Of a symmetric matrix A and a Krylov space with orthonormal basis V, the extreme eigenvalues θ
    of VᵀAV, with residual r = ‖A·x − θ·x‖ read off VᵀAV. It goes on until the errors, estimated
    as the smaller of r and r²/gap to the other eigenvalues of VᵀAV (Parlett 1998, theorem 11.7.1),
    are at most ``tol`` times the largest absolute eigenvalue. Where the basis would take more than
    ``memory`` bytes it is restarted from the best vectors at both ends (Wu & Simon 2000,
    *Thick-Restart Lanczos*).

    Args:
        matrix: v ↦ A·v.
        start: any vector but one that is orthogonal to an extreme eigenvector; draw it.
        tol: error that is asked for, as a share of ‖A‖.
        ends: which ends have to be that accurate.
        max_products: give up after so many products.
        memory: bytes that the basis may take.

    >>> diagonal = torch.linspace(-1, 2, 50, dtype=torch.float64)
    >>> found = extreme_eigenvalues(lambda v: diagonal * v, torch.ones(50, dtype=torch.float64))
    >>> round(found.smallest.value, 4), round(found.largest.value, 4), found.converged
    (-1.0, 2.0, True)
    """
    basis = Krylov(start, _room(start, max_products, memory))
    products = 0
    while True:
        basis.extend(matrix)
        products += 1
        last = basis.is_exhausted or basis.size == start.numel() or products >= max_products
        if last or basis.is_due:
            ritz = basis.ritz()
            asked = max(tol * ritz.scale, basis.rounding)
            close = all(ritz.error(end) <= asked for end in ends)
            if close or last:
                return Extremes(
                    ritz.pair("smallest"), ritz.pair("largest"), products, converged=close
                )
        if basis.is_full:
            basis.restart()


def krylov(matrix: Matrix, start: Tensor, steps: int) -> Krylov:
    """The Krylov space of so many steps from a start; fewer where it is exhausted."""
    space = Krylov(start, min(steps, start.numel()))
    while not space.is_full:
        space.extend(matrix)
        if space.is_exhausted:
            break
    return space


class Krylov:
    """An orthonormal basis V of a Krylov space, VᵀAV, and the next vector with its length.

    Args:
        start: the first vector, of any length.
        room: how many vectors it may have.
    """

    def __init__(self, start: Tensor, room: int):
        self.room = room
        self.size = 0
        self.projected = np.zeros((room, room))
        self.vectors = start.new_empty(room, start.numel())
        self._next, self._beta = start / start.norm(), 1.0

    def extend(self, matrix: Matrix) -> None:
        """Take the next vector into the basis, and find the one after it."""
        vectors = self.vectors[: self.size + 1]
        vectors[-1] = self._next
        image = matrix(vectors[-1])
        along = vectors @ image
        rest = image - along @ vectors
        again = vectors @ rest
        rest -= again @ vectors
        self.projected[: self.size + 1, self.size] = (along + again).double().cpu().numpy()
        self.projected[self.size, : self.size] = self.projected[: self.size, self.size]
        self.size += 1
        self._beta = float(rest.norm())
        self._next = rest / self._beta if self._beta else rest

    @property
    def is_full(self) -> bool:
        return self.size == self.room

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing but rounding is left outside the space."""
        return self._beta <= self.rounding

    @property
    def is_due(self) -> bool:
        """Whether to look at the eigenvalues, which costs more in larger spaces."""
        return self.size % max(1, self.size // 16) == 0 or self.is_full

    @property
    def rounding(self) -> float:
        """What rounding alone leaves of a product: the unit roundoff times ‖VᵀAV‖."""
        norm = float(np.abs(self.projected[: self.size, : self.size]).sum(1).max())
        return torch.finfo(self.vectors.dtype).eps * norm * math.sqrt(self.size)

    def ritz(self) -> Ritz:
        values, turned = self.eigen()
        return Ritz(values, turned, np.abs(self._beta * turned[-1]) + self.rounding, self)

    def restart(self) -> None:
        """Keep the best third of the vectors, half of them at either end."""
        ritz = self.ritz()
        each = max(1, self.room // 6)
        chosen = [*range(each), *range(self.size - each, self.size)]
        kept = self.rotate(ritz.turned[:, chosen])
        self.size = len(chosen)
        self.vectors[: self.size] = kept
        self.projected[:] = 0
        self.projected[range(self.size), range(self.size)] = ritz.values[chosen]

    def eigen(self) -> tuple[Array, Array]:
        """Eigenvalues of VᵀAV in ascending order, and its eigenvectors in V's coordinates."""
        return np.linalg.eigh(self.projected[: self.size, : self.size])

    def rotate(self, turned: Array) -> Tensor:
        """From vectors in V's coordinates, as columns, to vectors, as rows."""
        mix = torch.from_numpy(np.ascontiguousarray(turned.T)).to(self.vectors)
        return mix @ self.vectors[: self.size]


@dataclass(frozen=True)
class Ritz:
    """The eigenvalues of VᵀAV in ascending order, their vectors and their residuals."""

    values: Array
    turned: Array
    residuals: Array
    basis: Krylov

    @property
    def scale(self) -> float:
        return float(np.abs(self.values).max())

    def error(self, end: str) -> float:
        """Estimate of the eigenvalue's error."""
        place = 0 if end == "smallest" else len(self.values) - 1
        residual = float(self.residuals[place])
        if len(self.values) < 3:
            return residual
        beside = 1 if end == "smallest" else place - 1
        gap = abs(self.values[beside] - self.values[place]) - residual
        gap -= float(self.residuals[beside])  # the neighbour may be that much nearer
        return residual * min(1.0, residual / gap) if gap > 0 else residual

    def pair(self, end: str) -> Eigenpair:
        place = 0 if end == "smallest" else len(self.values) - 1
        vector = self.basis.rotate(self.turned[:, place : place + 1])[0]
        return Eigenpair(float(self.values[place]), float(self.residuals[place]), vector)


def _room(start: Tensor, max_products: int, memory: int) -> int:
    """How many vectors the basis may have: as many as there is memory for, at least 24."""
    affordable = memory // (start.numel() * start.element_size())
    return min(start.numel(), max_products, max(24, affordable))
