"""The best path between two points that a stated search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..masks import Mask
from ..objective import Objective
from ..points import PointLike
from ..seeds import derived_seed
from .curves import Bezier, Curve
from .profiles import Profile, profile
from .search import fit_curve


@dataclass(frozen=True)
class Trial:
    """One way to search: which curve, and how long it is trained."""

    degree: int = 3
    """Of the Bézier curve; 1 is the straight line, which needs no search."""
    steps: int = 1000
    lr: float = 0.05
    batch_size: int = 100


@dataclass(frozen=True)
class Attempt:
    """A trial that was made, and what it came to."""

    trial: Trial
    passes: int
    """Forward and backward passes over a batch."""
    climb: float


@dataclass(frozen=True)
class FoundPath:
    """The best path found, and all that was tried for it."""

    curve: Curve
    profile: Profile
    """Of the best path, over all data."""
    attempts: tuple[Attempt, ...]

    @property
    def passes(self) -> int:
        """Forward and backward passes of all attempts together: what a "not found" is worth."""
        return sum(attempt.passes for attempt in self.attempts)


TRIALS = (Trial(degree=1, steps=0), Trial(degree=2), Trial(degree=3))
"""From the straight line to a cubic curve."""


def find_path(
    start: PointLike,
    end: PointLike,
    objective: Objective,
    *,
    subspace: Mask | None = None,
    trials: Sequence[Trial] = TRIALS,
    points: int = 61,
    tol: float | None = None,
    seed: int = 0,
) -> FoundPath:
    """Make the trials in turn until one has no climb; the path with the smallest climb is kept.

    Args:
        start, end: points or models.
        objective: climbs are over all of its data.
        subspace: the mask that paths stay in; None is all of weight space.
        trials: what is tried, the cheapest first.
        points: of the profiles.
        tol: the climb that still counts as none; :attr:`Profile.tolerance` unless given.
        seed: decides every draw; each trial has its own.

    Raises:
        InputError: there is no trial, or an end lies outside the subspace.

    >>> import torch
    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> ends = {"weight": torch.ones(1, 1)}, {"weight": torch.zeros(1, 1)}
    >>> found = find_path(*ends, objective)
    >>> found.profile.climb, len(found.attempts), found.passes
    (0.0, 1, 0)
    """
    if not trials:
        raise InputError("A search for a path needs at least one trial.")
    attempts: list[Attempt] = []
    best: tuple[Curve, Profile] | None = None
    for number, trial in enumerate(trials):
        curve = Bezier(start, end, degree=trial.degree, subspace=subspace)
        search = fit_curve(
            curve,
            objective,
            steps=trial.steps,
            lr=trial.lr,
            batch_size=trial.batch_size,
            seed=derived_seed(seed, "trial", number),
        )
        seen = profile(curve, objective, points)
        attempts.append(Attempt(trial, search.steps, seen.climb))
        if best is None or seen.climb < best[1].climb:
            best = curve, seen
        if seen.monotone(tol):
            break
    assert best is not None
    return FoundPath(*best, tuple(attempts))
