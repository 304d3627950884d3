"""The loss along a curve, over the whole data set, and its measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import InputError, is_whole
from ...evaluation import Evaluation
from ...objective import Objective, check_objective
from ...training.ranks import ALONE, Alone
from ..curves.curve import Curve
from . import measures
from .combinations import evaluate_combinations


@dataclass(frozen=True)
class Profile:
    """L(t) on a grid, and what it says of the path. Measures look at t in [0, 1] only."""

    t: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float | None, ...] = ()
    count: int = 0
    """Number of examples each loss is the mean over."""
    run_sparse: tuple[str, ...] = ()
    """Weights of the layers that were run sparse (:mod:`sparsescape.kernels.execution`)."""

    def __repr__(self) -> str:
        """What it says; the numbers it is made of would take a page."""
        return f"Profile({len(self.t)} points, climb {self.climb:.4g}, barrier {self.barrier:.4g})"

    @property
    def barrier(self) -> float:
        """Largest excess over the straight line between the end losses, at least 0."""
        inside = self._inside()
        return measures.barrier([t for t, _ in inside], [loss for _, loss in inside])

    @property
    def climb(self) -> float:
        """How far one has to go uphill from the worse end to the better one, at least 0."""
        return measures.climb([loss for _, loss in self._inside()])

    @property
    def tolerance(self) -> float:
        """The climb that still counts as none: the larger of 1e-3 and 1 % of |L(0) − L(1)|."""
        return measures.tolerance([loss for _, loss in self._inside()])

    @property
    def evaluations(self) -> dict[float, Evaluation]:
        """t → what was seen there; a later profile of the curve need not look there again."""
        hits = self.accuracy or (None,) * len(self.t)
        seen = zip(self.t, self.loss, hits, strict=True)
        return {t: Evaluation(loss, hit, self.count) for t, loss, hit in seen}

    def monotone(self, tol: float | None = None) -> bool:
        """Whether climb ≤ tol; by default :attr:`tolerance`."""
        return self.climb <= (self.tolerance if tol is None else tol)

    def _inside(self) -> list[tuple[float, float]]:
        return [(t, x) for t, x in zip(self.t, self.loss, strict=True) if -1e-9 <= t <= 1 + 1e-9]


def check_points(points: object) -> None:
    """Raise :class:`InputError` unless a profile can have so many points."""
    if not is_whole(points, 2):
        raise InputError(f"A profile needs at least 2 points, not {points}.")


def profile(
    curve: Curve,
    objective: Objective,
    points: int = 61,
    *,
    t: Sequence[float] | None = None,
    known: Mapping[float, Evaluation] | None = None,
    ranks: Alone = ALONE,
) -> Profile:
    """Evaluate the objective along the curve.

    Args:
        curve: any curve.
        objective: evaluated on all of its data at every point.
        points: number of evenly spaced points from 0 to 1, both included.
        t: the points themselves, instead; in ascending order, 0 and 1 among them.
        known: t → what the objective says there, where that is known: it is not asked again.
        ranks: the processes that do it together, each some of the points.

    Raises:
        InputError: fewer than two points, or a t without 0 and 1.

    >>> import torch
    >>> from torch.nn.functional import mse_loss
    >>> from sparsescape import Line, Objective
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> line = Line({"weight": torch.ones(1, 1)}, {"weight": -torch.ones(1, 1)})
    >>> profile(line, objective, points=3)
    Profile(3 points, climb 0, barrier 0)
    >>> profile(line, objective, points=3).loss
    (1.0, 0.0, 1.0)
    """
    check_objective(objective)
    if not isinstance(curve, Curve):
        raise InputError(f"A profile is of a curve, not of a {type(curve).__name__}.")
    if t is None:
        check_points(points)
        t = [i / (points - 1) for i in range(points)]
    elif any(map(math.isnan, t)) or sorted(t) != list(t) or 0 not in t or 1 not in t:
        raise InputError("The t of a profile ascend and have 0 and 1 among them.")
    corners = [curve.start, *curve.control_points(), curve.end]
    seen = dict(known or {})
    unseen = [s for s in t if s not in seen]
    mine = [unseen[number] for number in ranks.mine(len(unseen))]
    mixes = [curve.coefficients(s) for s in mine]
    done, layers = evaluate_combinations(objective, corners, mixes, lambda i: curve.point(mine[i]))
    seen |= zip(unseen, ranks.together(done), strict=True)
    found = [seen[s] for s in t]
    return Profile(
        t=tuple(t),
        loss=tuple(e.loss for e in found),
        accuracy=tuple(e.accuracy for e in found),
        count=found[0].count,
        run_sparse=layers,
    )
