"""Planes through weight space, and the loss on them: what there is to see around points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from ..masks import Mask, check_mask
from ..objective import Objective
from ..points import Point, PointLike, as_point, coordinates, plain_name, snapshot
from ..seeds import generator

_ON_A_LINE = 1e-6  # of their distance, which single precision cannot tell from rounding


@dataclass(frozen=True)
class Plane:
    """The points origin + x·along + y·across, for all numbers x and y.

    What the origin carries beside its parameters (BatchNorm's statistics) every point of the plane
    carries too; an :class:`Objective` with the default ``batch_norm="recompute"`` does not look at
    it.
    """

    origin: Point = field(repr=False)
    along: Point = field(repr=False)
    """The direction of x: parameter name → tensor."""
    across: Point = field(repr=False)
    """The direction of y."""
    explained: tuple[float, float] | None = None
    """Of a plane of principal components: the share of the variance along each direction."""

    def point(self, x: float, y: float) -> Point:
        """The point with these coordinates."""
        shifted = {n: self.origin[n] + x * d + y * self.across[n] for n, d in self.along.items()}
        return {**self.origin, **shifted}

    def locate(self, point: PointLike) -> tuple[float, float, float]:
        """The coordinates x and y of the plane's nearest point, and the distance to that.

        >>> plane = plane_through(*({"w": torch.eye(3)[i : i + 1]} for i in range(3)))
        >>> [round(number, 4) for number in plane.locate({"w": torch.eye(3)[2:3]})]
        [0.7071, 1.2247, 0.0]

        Raises:
            InputError: the plane's directions are parallel, or one is 0.
        """
        names = list(self.along)
        if missing := [name for name in names if name not in as_point(point)]:
            raise InputError(f"The point has no {missing[0]!r}.")
        away = _flat(as_point(point), names) - _flat(self.origin, names)
        basis = torch.stack([_flat(self.along, names), _flat(self.across, names)])
        products = basis @ basis.T
        if float(torch.linalg.det(products)) <= _ON_A_LINE * float(products.diagonal().prod()):
            raise InputError("The directions of this plane span no plane: parallel, or one is 0.")
        nearest = torch.linalg.solve(products, basis @ away)
        distance = float((away - nearest @ basis).norm())
        return float(nearest[0]), float(nearest[1]), distance


def plane_through(first: PointLike, second: PointLike, third: PointLike) -> Plane:
    """The plane through three points; distances on it are those of weight space.

    The first point is the origin; x runs from it towards the second, and the third lies where
    y > 0 (Garipov et al. 2018, *Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs*,
    appendix A.1: û = (w₂ − w₁)/‖w₂ − w₁‖, v̂ from w₃ − w₁ less its part along û).

    Raises:
        InputError: the points have other names or shapes, or lie on one line.
    """
    names = _shared_coordinates([first, second, third])
    points = [snapshot(point) for point in (first, second, third)]
    flat = [_flat(point, names) for point in points]
    along, across = flat[1] - flat[0], flat[2] - flat[0]
    if float(along.norm()) == 0:
        raise InputError("The first two points of a plane are the same.")
    along = along / along.norm()
    reach = float(across.norm())
    across = across - (across @ along) * along
    if float(across.norm()) <= _ON_A_LINE * reach:
        raise InputError("The three points of a plane lie on one line.")
    across = across / across.norm()
    origin = points[0]
    return Plane(origin, _shaped(along, origin, names), _shaped(across, origin, names))


def random_plane(point: PointLike, *, subspace: Mask | None = None, seed: int = 0) -> Plane:
    """A plane through a point along two random directions, normalized filter by filter.

    Each direction is Gaussian; every filter of it (a slice of a weight along its first dimension:
    the inputs of one unit) is given the norm of the point's own filter, so that a step of 1 means
    the same in a network whose weights are scaled; parameters of one dimension (biases, norms)
    stay as they are (Li et al. 2018, *Visualizing the Loss Landscape of Neural Nets*, section 4).

    Args:
        point: where x = y = 0. Of truly sparse layers a filter is the values of one row; which
            they are only a model can say, no mapping.
        subspace: the mask that the plane lies in; None is all of weight space.
        seed: of the directions.

    Raises:
        InputError: the point lies outside the subspace, or no parameter of it has filters.

    >>> plane = random_plane({"w": torch.tensor([[3.0, 4.0], [0.0, 2.0]])})
    >>> plane.along["w"].norm(dim=1)
    tensor([5., 2.])
    """
    check_mask(subspace)
    origin = snapshot(point)
    if subspace is not None:
        subspace.check_contains(origin, "The point")
    names = _shared_coordinates([point])
    filters = _filters(point, origin, names)
    if not filters:
        raise InputError(
            "No parameter of this point has two dimensions or more: there are no filters to "
            "normalize by. Of truly sparse layers give the model itself."
        )

    def direction(purpose: str) -> Point:
        still = {n: torch.zeros_like(origin[n]) for n in names}
        return still | {
            n: _filterwise(origin[n], n, of, purpose, subspace, seed) for n, of in filters.items()
        }

    return Plane(origin, direction("along"), direction("across"))


def _filters(point: PointLike, origin: Point, names: Sequence[str]) -> dict[str, Tensor]:
    """Weight name → which filter each of its entries belongs to, in their flat order."""
    found = {}
    for name in names:
        if origin[name].ndim >= 2:
            rows, each = len(origin[name]), origin[name][0].numel()
            found[name] = torch.arange(rows).repeat_interleave(each)
    for path, module in point.named_modules() if isinstance(point, torch.nn.Module) else ():
        if getattr(module, "holds_nonzeros_only", False):
            each = module.dense_shape[1:].numel()
            found[plain_name(f"{path}.weight" if path else "weight")] = module.positions() // each
    return found


def _filterwise(
    weight: Tensor, name: str, of: Tensor, purpose: str, subspace: Mask | None, seed: int
) -> Tensor:
    """Noise in which each filter has the norm that it has in the weight."""
    noise = torch.randn(weight.shape, generator=generator(seed, "random plane", purpose, name))
    noise = noise.to(weight)
    if subspace is not None and name in subspace:
        noise = noise * subspace[name].to(noise)
    of = of.to(weight.device)
    none = weight.new_zeros(int(of.max()) + 1 if len(of) else 0)
    own, drawn = (none.index_add(0, of, t.reshape(-1).square()).sqrt() for t in (weight, noise))
    scale = torch.where(drawn > 0, own / drawn.clamp(min=1e-30), 0)
    return noise * scale[of].reshape(weight.shape)


def principal_plane(points: Iterable[PointLike]) -> Plane:
    """The plane that holds most of how points differ: the first two principal components.

    The origin is the last point, as where a run ended. ``explained`` states the share of the
    variance that each direction holds; what the plane does not hold it cannot show (Li et al.
    2018, section 7: without these shares a trajectory's picture says little).

    Args:
        points: three or more, as those that a run went through.

    Raises:
        InputError: fewer than three points, or all of them on one line.

    >>> run = [{"w": torch.tensor([[x, x * x, 0.0]])} for x in (0.0, 1.0, 2.0, 3.0)]
    >>> [round(share, 3) for share in principal_plane(run).explained]
    [0.993, 0.007]
    """
    points = list(points)
    if len(points) < 3:
        raise InputError(f"A plane needs three points or more, not {len(points)}.")
    names = _shared_coordinates(points)
    taken = [snapshot(point) for point in points]
    rows = torch.stack([_flat(point, names) for point in taken])
    rows = rows - rows.mean(0)
    # The points are few and their coordinates many: the small Gram matrix has the same spectrum.
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    order = values.argsort(descending=True)[:2]
    if float(values[order[1]]) <= _ON_A_LINE**2 * float(values[order[0]]):
        raise InputError("The points lie on one line: there is no plane to choose.")
    # An eigenvector has no sign of its own: the first point is given coordinates above 0.
    vectors = vectors[:, order] * (vectors[0, order] - vectors[-1, order]).sign()
    directions = (vectors.T @ rows) / values[order].sqrt()[:, None]
    shares = values[order] / values.clamp(min=0).sum()
    along, across = (_shaped(d, taken[-1], names) for d in directions)
    return Plane(taken[-1], along, across, (float(shares[0]), float(shares[1])))


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy on a grid of a plane; row j, column i belongs to y[j], x[i]."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    loss: tuple[tuple[float, ...], ...]
    accuracy: tuple[tuple[float | None, ...], ...]
    count: int
    """Number of examples each loss is the mean over."""


def survey(plane: Plane, objective: Objective, x: Sequence[float], y: Sequence[float]) -> Surface:
    """Evaluate the objective, over all of its data, on a grid of the plane.

    Args:
        plane: any plane.
        objective: evaluated len(x)·len(y) times.
        x, y: the coordinates of the grid's columns and rows, finite.

    Raises:
        InputError: x or y is empty, or not finite.

    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> objective = Objective(model, (torch.eye(2), torch.zeros(2, 1)), mse_loss)
    >>> corners = [{"weight": torch.tensor([c])} for c in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])]
    >>> survey(plane_through(*corners), objective, x=[0.0, 1.0], y=[0.0, 2.0]).loss
    ((0.0, 0.5), (2.0, 2.5))
    """
    if not isinstance(plane, Plane) or not isinstance(objective, Objective):
        kinds = f"{type(plane).__name__} and {type(objective).__name__}"
        raise InputError(f"A survey is of a plane and an ss.Objective, not of {kinds}.")
    if not (_are_finite(x) and _are_finite(y)):
        raise InputError("The coordinates of a survey are finite numbers, one at least.")
    found = [[objective.evaluate(plane.point(column, row)) for column in x] for row in y]
    return Surface(
        x=tuple(x),
        y=tuple(y),
        loss=tuple(tuple(e.loss for e in row) for row in found),
        accuracy=tuple(tuple(e.accuracy for e in row) for row in found),
        count=found[0][0].count,
    )


def _are_finite(axis: Sequence[float]) -> bool:
    try:
        return len(axis) > 0 and all(map(math.isfinite, axis))
    except TypeError:  # no list, or not of numbers
        return False


def _shared_coordinates(points: Sequence[PointLike]) -> list[str]:
    """The names that span weight space, the same in all points. A mapping may have float buffers
    among them; where one of the points is a model, that says what is a parameter."""
    names = coordinates(points[0])
    for model in points:
        if isinstance(model, torch.nn.Module):
            parameters = set(coordinates(model))
            names = [n for n in names if n in parameters]
    first, *others = found = [as_point(point) for point in points]
    if not all(point[name].isfinite().all() for point in found for name in names if name in point):
        raise InputError("A point of a plane has numbers that are not finite.")
    for point in others:
        for name in names:
            if name not in point or point[name].shape != first[name].shape:
                raise InputError(f"The points of a plane differ in the parameter {name!r}.")
    return names


def _flat(point: Point, names: Sequence[str]) -> Tensor:
    """The coordinates as one vector, in double precision: directions are differences."""
    return torch.cat([point[name].reshape(-1).double() for name in names])


def _shaped(flat: Tensor, like: Point, names: Sequence[str]) -> Point:
    parts = flat.split([like[name].numel() for name in names])
    return {n: p.reshape(like[n].shape).to(like[n]) for n, p in zip(names, parts, strict=True)}
