"""Goals of a search: from the losses of one batch along a curve to the number to make small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError, is_whole, unknown


@dataclass(frozen=True)
class Goal:
    """What a search makes small, and where it has to look for it at every step.

    The losses that it is given are of one batch, at points in ascending order of t.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    """From the losses, and 1 / (density of the draw) at each drawn t, to a scalar."""
    points: int = 1
    """Points on the curve at every step, the ends among them where they are looked at."""
    ends: bool = False
    """Whether the first and the last of the points are the ends of the curve."""
    across: bool = False
    """Whether the curve moves only across itself (:meth:`Curve.crossing`), as an elastic band does:
    what is high can then not be hidden by passing it faster, between two points looked at."""

    def __post_init__(self) -> None:
        if not callable(self.of):
            raise InputError(f"A goal is a function of losses and weights, not {self.of!r:.60}.")
        if not is_whole(self.points, self.least):
            raise InputError(f"A step looks at {self.least} points or more, not {self.points}.")

    @property
    def least(self) -> int:
        return 3 if self.ends else 1

    @property
    def drawn(self) -> int:
        """How many of the points are drawn anew at every step."""
        return self.points - 2 * self.ends


def mean(losses: Tensor, weights: Tensor) -> Tensor:
    """An unbiased estimate of ∫ L(θ(t)) dt: each loss over the density with which t was drawn.

    Garipov et al. 2018, *Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs*,
    equation 2, with one t per step (section 3.1).

    >>> mean(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """
    return (losses * weights).mean()


def worst(losses: Tensor, weights: Tensor) -> Tensor:
    """A smooth maximum: Σ w·L with w = softmax(L/τ), τ a tenth of the losses' own spread.

    The weights are held constant, so the gradient is that of τ·log Σ exp(L/τ). A spread of their
    own makes it blind to the scale of the loss.

    >>> worst(torch.tensor([0.0, 0.0, 1.0]), torch.ones(3))
    tensor(0.9999)
    """
    found = losses.detach()
    spread = (found.max() - found.min()).clamp(min=torch.finfo(found.dtype).tiny)
    shares = torch.softmax((found - found.max()) / (0.1 * spread), 0)
    return (losses * shares).sum()


def uphill(losses: Tensor, weights: Tensor) -> Tensor:
    """All the way up from the worse end to the better one: Σ max(0, ℓ_{i+1} − ℓ_i).

    ℓ = max(L, L at the better end), in the direction in which the losses of the two ends fall.
    Over the same points it is never below the climb
    (:func:`sparsescape.landscape.profiles.measures.climb`), and is 0 just where that is: where the
    path passes below its better end, how it gets back up to it is no matter. A mean can be lowered
    by hurrying through a wall; this cannot.

    >>> uphill(torch.tensor([1.0, 0.5, 0.7, 0.1, 0.2]), torch.ones(3))
    tensor(0.2000)
    """
    down = losses if losses[0] >= losses[-1] else losses.flip(0)
    over = torch.maximum(down, down[-1].detach())
    return over.diff().clamp(min=0).sum()


GOALS = {
    "mean": Goal(mean),
    "worst": Goal(worst, points=8, across=True),
    "uphill": Goal(uphill, points=8, ends=True, across=True),
}
"""Name → what a search can make small."""


def find_goal(goal: str | Goal) -> Goal:
    """The goal of that name, or the one given.

    Raises:
        InputError: there is none of that name.
    """
    if isinstance(goal, Goal):
        return goal
    if not isinstance(goal, str):
        raise InputError(f"A goal is a name or an ss.Goal, not {goal!r:.60}.")
    if goal not in GOALS:
        raise unknown("goal", goal, GOALS)
    return GOALS[goal]
