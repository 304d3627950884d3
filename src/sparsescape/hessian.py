"""The Hessian of a mean loss at one point: products with vectors, the graph kept between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from .points import Point

Losses: TypeAlias = Callable[[], Iterator[tuple[Tensor, int]]]
"""Goes through the data: the loss of every batch, differentiable, and its number of examples."""

Slope: TypeAlias = tuple[tuple[Tensor, ...], int]
"""The gradient of one batch's loss, differentiable once more, and the number of examples."""

KEEP = 2**31
"""Bytes that a kept graph may take."""


class Hessian:
    """∇²L at one point: ``hessian.product(v)`` is ∇²L·v over the whole data set.

    By double backward (Pearlmutter 1994). The graph of the gradient depends on the point and the
    data but not on v, so it is built once and kept for all products, which leaves out a forward
    and a backward pass each time. Where it would take more than ``keep`` bytes it is built anew
    for every batch of every product. The numbers are the same bits either way.

    The memory is given back when the object goes, or at the end of a ``with`` block.

    Made by :meth:`sparsescape.Objective.hessian`.

    >>> from sparsescape import Objective
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 1)
    >>> objective = Objective(model, data, loss=torch.nn.functional.mse_loss)
    >>> with objective.hessian(model) as hessian:
    ...     hessian.product({"weight": torch.tensor([[1.0, 1.0]])})
    {'weight': tensor([[1., 9.]])}
    """

    def __init__(self, free: Point, losses: Losses, weight_decay: float, keep: int = KEEP):
        self.parameters = {name: tensor.detach() for name, tensor in free.items()}
        """The point: what a vector must have the names and shapes of."""
        self.weight_decay = weight_decay
        self._free = list(free.values())
        self._losses = losses
        self._kept = self._keep(keep)

    @property
    def keeps_graph(self) -> bool:
        """Whether the graph over the data is kept between products."""
        return self._kept is not None

    def __enter__(self) -> Hessian:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept = None

    def product(self, vector: Mapping[str, Tensor]) -> Point:
        """∇²L·v, the weight decay's λ·v included: parameter name → tensor of its shape."""
        along = [vector[name] for name in self.parameters]
        total = [torch.zeros_like(p) for p in self._free]
        count = 0
        for (slope, examples), keep in self._slopes():
            for sum_, part in zip(total, self._second(slope, along, keep=keep), strict=True):
                sum_.add_(part, alpha=examples)
            count += examples
        named = zip(self.parameters, total, along, strict=True)
        return {name: t.div_(count).add_(v, alpha=self.weight_decay) for name, t, v in named}

    def _slopes(self) -> Iterator[tuple[Slope, bool]]:
        """The batches' gradients, and whether they are kept."""
        if self._kept is not None:
            yield from ((slope, True) for slope in self._kept)
        else:
            for loss, examples in self._losses():
                yield (self._first(loss), examples), False

    def _keep(self, limit: int) -> list[Slope] | None:
        """The gradients of all batches with their graphs, unless these need too much memory."""
        kept: list[Slope] = []
        held, batches = _Held(self._free), self._losses()
        while held.bytes < limit:
            with held.counting():
                batch = next(batches, None)
                if batch is None:
                    return kept
                loss, examples = batch
                kept.append((self._first(loss), examples))
        return None

    def _first(self, loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            loss, self._free, create_graph=True, allow_unused=True, materialize_grads=True
        )

    def _second(
        self, slope: tuple[Tensor, ...], along: list[Tensor], *, keep: bool
    ) -> tuple[Tensor, ...]:
        curved = [(g, v) for g, v in zip(slope, along, strict=True) if g.requires_grad]
        if not curved:  # the loss is linear here
            return tuple(torch.zeros_like(p) for p in self._free)
        gradients, vectors = zip(*curved, strict=True)
        return torch.autograd.grad(
            gradients,
            self._free,
            grad_outputs=vectors,
            retain_graph=keep,
            allow_unused=True,
            materialize_grads=True,
        )


class _Held:
    """Counts the bytes that graphs built meanwhile hold on to, parameters left out."""

    def __init__(self, parameters: list[Tensor]):
        self.bytes = 0
        self._seen = {p.untyped_storage().data_ptr() for p in parameters}

    def counting(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        # Detached: a graph that held its own outputs would be a cycle, and never be freed.
        return tensor.detach()
