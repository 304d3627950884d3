"""Curves: families of points with two fixed ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence, Set

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...masks import Mask, check_mask
from ...points import (
    Point,
    PointLike,
    check_numbers,
    coordinates,
    is_statistic,
    snapshot,
)
from .mixing import Mix


class Curve(nn.Module):
    """A point θ(t) = Σ_k c_k(t)·θ_k for every t in [0, 1], with θ_0 and θ_n the fixed ends.

    The free control points θ_1 … θ_{n−1} start evenly spaced on the straight line between the
    ends and are one parameter, ``control``, so that finding a path is training. With
    ``subspace`` they are held in it: outside the mask every point of the curve is exactly 0.

    Parameters follow the curve. Buffers that the ends carry (BatchNorm's statistics) follow the
    straight line between the ends' buffers; integers stay those of the start.

    Args:
        start, end: points or models; copied.
        bends: number of free control points.
        subspace: the mask that the curve stays in; None is all of weight space.
        names: of the parameters; those of the ends unless given. A point that is a mapping does
            not say which of its tensors are buffers, other than BatchNorm's statistics.

    Raises:
        InputError: the ends have other names or shapes, or lie outside the subspace.
    """

    control: nn.Parameter
    ends: Tensor
    openings: Tensor

    def __init__(
        self,
        start: PointLike,
        end: PointLike,
        *,
        bends: int,
        subspace: Mask | None = None,
        names: Collection[str] | None = None,
    ):
        super().__init__()
        check_mask(subspace)
        shared = set(coordinates(start, names)) & set(coordinates(end, names))
        self._lay(snapshot(start), snapshot(end), shared, bends, subspace)

    def _lay(
        self, start: Point, end: Point, names: Set[str], bends: int, subspace: Mask | None
    ) -> None:
        """Lay it straight between two ends that are the curve's own."""
        self.start, self.end = start, end
        self.subspace = subspace
        self._check_ends()
        self._shapes = {n: p.shape for n, p in self.start.items() if n in names}
        check_numbers({name: self.start[name] for name in self._shapes})
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        ends = torch.stack([self._flatten(self.start), self._flatten(self.end)])
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("openings", self._openings(), persistent=False)
        along = torch.arange(1, bends + 1, dtype=ends.dtype, device=ends.device) / (bends + 1)
        self.control = nn.Parameter((1 - along)[:, None] * ends[0] + along[:, None] * ends[1])

    def extra_repr(self) -> str:
        free, numbers = self.control.shape
        where = "" if self.subspace is None else f", inside {self.subspace}"
        return f"{free} free control point{'s' * (free != 1)} of {numbers} numbers{where}"

    @property
    def names(self) -> Collection[str]:
        """The parameters, which follow the curve."""
        return self._shapes.keys()

    @property
    def spread(self) -> float:
        """How far apart the ends are: the root mean square of their difference, over the
        coordinates that differ; 1 where none does."""
        apart = (self.ends[1] - self.ends[0]).double()
        apart = apart[apart != 0]
        return float(apart.square().mean().sqrt()) if len(apart) else 1.0

    def coefficients(self, t: float) -> Sequence[float]:
        """c_0(t) … c_n(t), the weight of every control point, the ends first and last."""
        raise NotImplementedError

    def slopes(self, t: float) -> Sequence[float]:
        """c_0′(t) … c_n′(t), the derivatives of the coefficients."""
        raise NotImplementedError

    def forward(self, t: float) -> Point:
        """The point at t, differentiable in ``control``: parameter name → tensor."""
        return self._shaped(self._mixed(self.coefficients(t)))

    def crossing(self, t: float) -> Point:
        """The same point, but what is differentiated in ``control`` is a move *across* the curve.

        Of a gradient g at θ(t) only g − (g·τ)·τ goes on to the control points, τ = θ′(t)/|θ′(t)|:
        the rest would change how fast the curve is travelled, and not where it leads.
        """
        with torch.no_grad():
            along = torch.cat(self._mixed(self.slopes(t)))
            along /= along.norm().clamp(min=torch.finfo(along.dtype).tiny)
        return self._shaped(self._mixed(self.coefficients(t), along))

    def several(self, t: Sequence[float], *, crossing: bool = False) -> Point:
        """The points at several t, as rows: parameter name → (t, *shape).

        Args:
            crossing: whether each is differentiated as in :meth:`crossing`.
        """
        flat = self._rows([self.coefficients(s) for s in t])
        if crossing and flat.requires_grad:
            with torch.no_grad():
                along = self._rows([self.slopes(s) for s in t])
                lengths = along.norm(dim=1, keepdim=True)
                along /= lengths.clamp(min=torch.finfo(along.dtype).tiny)
            flat.register_hook(lambda g: g - (g * along).sum(1, keepdim=True) * along)
        parts = flat.split(self._sizes, 1)
        shaped = zip(self._shapes.items(), parts, strict=True)
        return {name: part.view(len(t), *shape) for (name, shape), part in shaped}

    def _rows(self, coefficients: Sequence[Sequence[float]]) -> Tensor:
        """Σ_k c_k·θ_k for each row of coefficients, flat."""
        mix = torch.tensor(coefficients, dtype=self.ends.dtype, device=self.ends.device)
        return mix[:, [0, -1]] @ self.ends + (mix[:, 1:-1] @ self.control) * self.openings

    def _mixed(
        self, coefficients: Sequence[float], along: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Σ_k c_k·θ_k, a flat piece for each parameter; see :class:`Mix`."""
        openings = None if self.subspace is None else self.openings
        return Mix.apply(self.control, self.ends, openings, coefficients, self._sizes, along)

    def _shaped(self, pieces: Sequence[Tensor]) -> Point:
        shaped = zip(self._shapes.items(), pieces, strict=True)
        return {name: piece.view(shape) for (name, shape), piece in shaped}

    @torch.no_grad()
    def point(self, t: float) -> Point:
        """The point at t, buffers included; at t = 0 and t = 1 the ends, to the bit."""
        if t in (0, 1):
            return snapshot(self.end if t else self.start)
        buffers = {
            n: torch.lerp(b, self.end[n], t) if b.is_floating_point() else b.clone()
            for n, b in self.start.items()
            if n not in self._shapes
        }
        return {**self.forward(t), **buffers}

    @torch.no_grad()
    def control_points(self) -> list[Point]:
        """The free control points as points."""
        points = []
        for flat in self.control * self.openings:
            parts = zip(self._shapes.items(), flat.split(self._sizes), strict=True)
            points.append({name: part.reshape(shape).clone() for (name, shape), part in parts})
        return points

    @torch.no_grad()
    def set_control_points(self, points: Sequence[Point]) -> None:
        """Put the free control points where they were (see :meth:`control_points`).

        Raises:
            InputError: there are more or fewer of them than the curve has, or one lacks a parameter
                of the curve or has it in another shape.
        """
        if len(points) != len(self.control):
            raise InputError(
                f"The curve has {len(self.control)} free control points, not {len(points)}."
            )
        for point in points:
            for name, shape in self._shapes.items():
                if name not in point or point[name].shape != shape:
                    raise InputError(f"A control point has no {name!r} of shape {tuple(shape)}.")
        for row, point in zip(self.control, points, strict=True):
            row.copy_(self._flatten(point))

    @torch.no_grad()
    def follow_(self, other: Curve) -> Curve:
        """Lay this curve along another one with the same ends, in place, and return it.

        The control points become those of the least squared distance from the other curve, on a
        grid of t. Where this kind of curve can be the other one they are exact, up to rounding: a
        Bézier curve of a higher degree (degree elevation), a chain with every piece divided into
        equally many. They stay in whatever subspace both curves are in.

        >>> from sparsescape import Bezier
        >>> ends = {"w": torch.zeros(1, 1)}, {"w": torch.ones(1, 1)}
        >>> low = Bezier(*ends, degree=2)
        >>> low.set_control_points([{"w": torch.full((1, 1), 3.0)}])
        >>> high = Bezier(*ends, degree=3).follow_(low)
        >>> [round(float(p["w"]), 4) for p in high.control_points()]
        [2.0, 2.3333]
        """
        if len(self.control):
            along = [i / 840 for i in range(841)]  # 840: divided by every number up to 8
            mine = torch.tensor([self.coefficients(t) for t in along], dtype=torch.float64)
            theirs = torch.tensor([other.coefficients(t) for t in along], dtype=torch.float64)
            inner, outer = mine[:, 1:-1], mine[:, [0, -1]]
            theirs = torch.cat([theirs[:, [0, -1]] - outer, theirs[:, 1:-1]], dim=1)
            mix = torch.linalg.lstsq(inner, theirs, driver="gelsd").solution.to(self.ends)
            self.control.copy_(
                mix[:, :2] @ self.ends + mix[:, 2:] @ (other.control * other.openings)
            )
        return self

    @torch.no_grad()
    def inside(self, subspace: Mask | None) -> Curve:
        """The same curve, held in another subspace: what that closes of the control points is 0.

        Raises:
            InputError: an end lies outside it.
        """
        other = copy.deepcopy(self)
        other.subspace = subspace
        other._check_ends()
        other.openings = other._openings()
        other.control.mul_(other.openings)
        return other

    @torch.no_grad()
    def carried(self, form: Callable[[Point], Point], subspace: Mask | None) -> Curve:
        """The same curve in another form of its points, a linear one of the same names, and what
        its subspace closes there."""
        other = copy.deepcopy(self)
        ends = form(self.start), form(self.end)
        other._lay(*ends, self._shapes.keys(), len(self.control), subspace)
        other.set_control_points([form(point) for point in self.control_points()])
        return other

    @torch.no_grad()
    def perturb_(self, by: float, generator: torch.Generator) -> Curve:
        """Move every free control point at random, in place, and return the curve.

        Each moves by ``by`` times the distance between the ends, in a direction that is uniform
        over those the subspace leaves free.
        """
        noise = torch.randn(self.control.shape, generator=generator).to(self.control)
        noise *= self.openings
        reach = by * (self.ends[1] - self.ends[0]).norm()
        self.control.add_(noise * (reach / noise.norm(dim=1, keepdim=True).clamp(min=1e-30)))
        return self

    def _flatten(self, point: Point) -> Tensor:
        return torch.cat([point[name].reshape(-1) for name in self._shapes])

    def _openings(self) -> Tensor:
        """1 for coordinates that are free, 0 for those the subspace closes; a single 1 for all."""
        if self.subspace is None:
            return self.ends.new_ones(())
        parts = []
        for name, shape in self._shapes.items():
            free = name not in self.subspace
            active = torch.ones(shape) if free else self.subspace[name].float()
            parts.append(active.reshape(-1))
        return torch.cat(parts).to(self.ends)

    def _check_ends(self) -> None:
        for name in self.start.keys() ^ self.end.keys():
            if not is_statistic(name):
                raise InputError(f"Only one end of the curve has a parameter {name!r}.")
        for name, value in self.start.items():
            if name in self.end and self.end[name].shape != value.shape:
                raise InputError(
                    f"{name!r} has shape {tuple(value.shape)} at the start of the curve "
                    f"and {tuple(self.end[name].shape)} at its end."
                )
        shared = self.start.keys() & self.end.keys()
        self.start = {n: p for n, p in self.start.items() if n in shared}
        self.end = {n: p for n, p in self.end.items() if n in shared}
        if self.subspace is not None:
            self.subspace.check_contains(self.start, "The start of the curve")
            self.subspace.check_contains(self.end, "The end of the curve")
