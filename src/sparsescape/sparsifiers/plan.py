"""What the methods that can be named are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..masks import Mask


@dataclass(frozen=True)
class Plan:
    """What a method is made from: how sparse, when it may move the mask, and what with.

    A function of a user's own that makes one is given it too (docs/methods.md).
    """

    sparsity: float
    distribution: str
    steps: int
    """Steps of the whole training."""
    begin: int
    """First step at which a method that goes from dense to sparse prunes."""
    end: int
    """Last one; from sparse to sparse the mask moves until 3/4 of the steps, or to the end where
    the authors' does."""
    every: int
    """Steps between two updates of the mask."""
    seed: int = 0
    mask: Mask | None = None
    dense: tuple[str, ...] = ()
    data: Any = None
    """A batch (inputs, targets), for scores that need data."""
    loss: Any = None
