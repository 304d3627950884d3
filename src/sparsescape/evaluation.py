"""What an objective says of a point, added up batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from .errors import told

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """What an objective says of one point."""

    loss: float
    """Mean loss over all examples, the regularizer included."""
    accuracy: float | None
    """Share of examples whose highest output is the target; None where targets are no classes."""
    count: int
    """Number of examples."""


class Tally:
    """Loss and hits of one point, over the batches seen so far.

    Args:
        loss: ``loss(outputs, targets)``, the mean over a batch.
    """

    def __init__(self, loss: Loss):
        self.loss = loss
        self.total = self.correct = self.count = 0.0
        self.classes = True

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        with taking(targets):
            self.total += float(self.loss(outputs, targets)) * len(targets)
        self.classes = self.classes and _are_classes(outputs, targets)
        if self.classes:
            hits = outputs.argmax(1) == targets
            self.correct += float(hits.sum()) * len(targets) / hits.numel()
        self.count += len(targets)

    def evaluation(self, penalty: float) -> Evaluation:
        """The means, and the regularizer on top of the loss."""
        return Evaluation(
            loss=self.total / self.count + penalty,
            accuracy=self.correct / self.count if self.classes else None,
            count=int(self.count),
        )


def taking(targets: Tensor) -> AbstractContextManager[None]:
    """Where a loss is given targets: what it says against them is an :class:`InputError`."""
    shape = tuple(targets.shape[1:])
    return told(
        f"The loss cannot take targets of type {targets.dtype} and shape {shape} per example"
    )


def _are_classes(outputs: Tensor, targets: Tensor) -> bool:
    return not targets.is_floating_point() and outputs.ndim == targets.ndim + 1
