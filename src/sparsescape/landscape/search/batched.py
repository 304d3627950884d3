"""The losses of one batch at several points of weight space, in one pass where the model allows."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.func import vmap

from ...objective import Batch, Objective
from ...points import Point


class Losses:
    """L of a batch at each of several points: parameter name → (points, *shape) to (points,).

    One vectorized pass (``torch.func.vmap``) where the model can be: for a small network, whose
    steps are the time it takes to launch them, that is several times as fast as one after the
    other. A model whose batches change its buffers (BatchNorm's statistics), or with something in
    it that cannot be vectorized, is seen point by point. Which it is decides the first batch.

    >>> objective = Objective(torch.nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2)),
    ...                       lambda outputs, _: outputs.mean())
    >>> losses = Losses(objective)
    >>> losses({"weight": torch.tensor([[[3.0]], [[5.0]]])}, objective.tensors())
    tensor([3., 5.])
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        self._vectorized: bool | None = False if objective.changes_buffers else None

    def __call__(self, points: Point, batch: Batch) -> Tensor:
        if self._vectorized is None:
            self._vectorized = self._can_be(points, batch)
        return self._at_once(points, batch) if self._vectorized else self._in_turn(points, batch)

    def _at_once(self, points: Point, batch: Batch) -> Tensor:
        return vmap(lambda point: self.objective.batch_loss(point, batch))(points)

    def _in_turn(self, points: Point, batch: Batch) -> Tensor:
        count = len(next(iter(points.values())))
        at = ({name: rows[i] for name, rows in points.items()} for i in range(count))
        return torch.stack([self.objective.batch_loss(point, batch) for point in at])

    @torch.no_grad()
    def _can_be(self, points: Point, batch: Batch) -> bool:
        """Whether it works without a warning; an error of the model's own comes up again in turn.

        A warning tells of an operation that vmap itself takes in turn.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self._at_once(points, batch)
        except Exception:  # whatever a user's model raises when it is not given a plain tensor
            return False
        return True
