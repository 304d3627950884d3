"""The free coordinates of a subspace as one flat vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import InputError
from ...hessian import Hessian
from ...masks import Mask
from ...points import Point, check_numbers


class Coordinates:
    """Points of a subspace ↔ flat vectors of its free coordinates.

    The coordinates of a mask are the weights it leaves active and all of every parameter that it
    does not name; of None, all of weight space. Closed coordinates take no room in the vector.

    Args:
        like: a point; its names, in their order, its shapes and its numbers' type.
        mask: the subspace.

    Raises:
        InputError: nothing is free in the mask, or the numbers are not real and of one type.

    >>> mask = Mask({"w": torch.tensor([[True, False]])})
    >>> inside = Coordinates({"w": torch.zeros(1, 2), "b": torch.zeros(1)}, mask)
    >>> inside.count, inside.flatten({"w": torch.tensor([[1.0, 2.0]]), "b": torch.ones(1)})
    (2, tensor([1., 1.]))
    >>> inside.point(torch.tensor([5.0, 6.0]))
    {'w': tensor([[5., 0.]]), 'b': tensor([6.])}
    """

    def __init__(self, like: Mapping[str, Tensor], mask: Mask | None = None):
        check_numbers(like)
        self.shapes = {name: tensor.shape for name, tensor in like.items()}
        first = next(iter(like.values()))
        self._zeros = first.detach().new_zeros(())
        self._active: dict[str, Tensor] = {}  # of weights with closed positions: the others
        for name, shape in self.shapes.items():
            indices = mask.indices(name) if mask is not None and name in mask else None
            if indices is not None and len(indices) < shape.numel():
                self._active[name] = indices.to(first.device)
        self.sizes = [
            len(self._active[n]) if n in self._active else shape.numel()
            for n, shape in self.shapes.items()
        ]
        self.count = sum(self.sizes)
        if not self.count:
            raise InputError("The mask leaves no coordinate free.")

    def flatten(self, point: Mapping[str, Tensor]) -> Tensor:
        """The point's free coordinates, one after the other."""
        parts = []
        for name in self.shapes:
            flat = point[name].reshape(-1)
            parts.append(flat[self._active[name]] if name in self._active else flat)
        return torch.cat(parts)

    def point(self, vector: Tensor) -> Point:
        """The point with these free coordinates, 0 in the closed ones."""
        point = {}
        for (name, shape), part in zip(self.shapes.items(), vector.split(self.sizes), strict=True):
            if name in self._active:
                flat = self._zeros.new_zeros(shape.numel(), dtype=vector.dtype)
                part = flat.index_copy_(0, self._active[name], part)
            point[name] = part.view(shape)
        return point

    def draw(self, generator: torch.Generator) -> Tensor:
        """A standard normal vector of as many coordinates."""
        drawn = torch.randn(self.count, generator=generator, dtype=torch.float64)
        return drawn.to(self._zeros)


class Restricted:
    """P∇²L·P for the projection P onto the coordinates, as a matrix that is only multiplied by."""

    def __init__(self, hessian: Hessian, coordinates: Coordinates):
        self.hessian = hessian
        self.coordinates = coordinates
        self.products = 0
        """Products made so far, each over the whole data set."""

    def __call__(self, vector: Tensor) -> Tensor:
        self.products += 1
        product = self.coordinates.flatten(self.hessian.product(self.coordinates.point(vector)))
        # A sum is finite where all terms are, but for an overflow, and takes a tenth of the time.
        if not product.sum().isfinite() and not product.isfinite().all():
            raise InputError("The second derivatives of the loss are not finite at the point.")
        return product
