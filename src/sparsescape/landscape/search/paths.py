"""The best path between two points that a stated search finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ...errors import InputError
from ...masks import Mask
from ...objective import Objective
from ...points import PointLike
from ...seeds import derived_seed, generator
from ...training.checkpoints import Checkpoint
from ..curves.bezier import Bezier, Line, check_degree
from ..curves.chain import PolygonalChain, check_bends
from ..curves.curve import Curve
from ..profiles.glance import part_of
from ..profiles.profile import Profile, check_points
from .fit import Search, check_search, fit_curve
from .goals import GOALS, Goal
from .looks import Look, Seen


class Method(Protocol):
    """One way to search for a path: a :class:`Trial`, a :class:`~sparsescape.Band`."""

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """A path between the ends of the best one so far, and how hard was searched for it."""
        ...


@dataclass(frozen=True)
class Trial:
    """One way to search: which curve, from where, for which goal, and how long it is trained.

    The arguments of :func:`sparsescape.fit_curve` mean what they mean there.
    """

    degree: int = 3
    """Of the Bézier curve; 1 is the straight line, which needs no search."""
    steps: int = 1000
    lr: float = 0.05
    reach: float | None = None
    """Where given, the learning rate is so many times :attr:`Curve.spread`, instead of ``lr``."""
    batch_size: int = 100
    goal: str | Goal = "mean"
    optimizer: str = "sgd"
    sampling: str = "even"
    bends: int | None = None
    """Where given, the curve is a polygonal chain with so many bends."""
    fresh: bool = False
    """Whether it starts from the straight line, instead of the best path so far."""
    perturbed: float = 0.0
    """How far each control point is moved at random before, over the distance of the ends."""
    enough: float | None = None
    """A goal that is low enough to end before the last step."""

    def __post_init__(self) -> None:
        # Here, and not where it is its turn: by then the trials before it have been searched.
        if self.bends is not None:
            check_bends(self.bends)
        check_degree(self.degree)
        lr = self.lr if self.reach is None else self.reach
        check_search(self.goal, self.optimizer, self.sampling, lr, self.steps, self.batch_size)
        if not 0 <= self.perturbed < math.inf:
            raise InputError(f"Control points are moved by 0 or more, not {self.perturbed}.")

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """Train such a curve, from the best path so far or from the straight line."""
        curve = self._curve(best)
        if not self.fresh:
            curve.follow_(best)
        if self.perturbed:
            curve.perturb_(self.perturbed, generator(seed, "perturbed"))
        search = fit_curve(
            curve,
            objective,
            goal=self.goal,
            steps=self.steps,
            lr=self.lr if self.reach is None else self.reach * curve.spread,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            sampling=self.sampling,
            enough=self.enough,
            seed=seed,
            checkpoint=checkpoint,
        )
        return curve, search

    def _curve(self, best: Curve) -> Curve:
        ends, names = (best.start, best.end), best.names
        if self.bends is not None:
            return PolygonalChain(*ends, bends=self.bends, subspace=best.subspace, names=names)
        return Bezier(*ends, degree=self.degree, subspace=best.subspace, names=names)


@dataclass(frozen=True)
class Attempt:
    """A trial that was made, and what it came to."""

    trial: Method
    """Curve, goal, optimizer and all else that was set."""
    passes: int
    """Forward and backward passes over a batch."""
    climb: float
    """Over all data; of a path that was refused after a look at a few points, what it climbs
    between those, and so at least."""
    seed: int = 0
    """Of this trial's draws."""
    diverged: bool = False


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


def default_trials(passes: int = 1000) -> tuple[Trial, ...]:
    """The straight line, and ten Bézier curves of so many passes each, trained by Adam.

    1. for the mean loss at degree 3, 5 and 7, each from the best so far, which between real
       networks gets there with the fewest passes; then at degree 5, and a third of the stride;
    2. for the mean anew at degree 7; then with a third of the stride, and against what is left of
       the climb;
    3. anew at degree 3, against the climb alone, with a reach three times and thirty times as far:
       a path that hurries through a wall, as the mean is content to, is hard to lead around it;
       then at degree 7 from the best.

    Learning rates are relative to the distance of the ends (:attr:`Trial.reach`). Those of the mean
    are small: with long strides it ends lower, but on a path that climbs.
    ``benchmarks/opened_search.py`` and ``benchmarks/search_power.py`` measure this list beside
    others.

    >>> [(trial.degree, trial.goal, trial.reach) for trial in default_trials()[1:5]]
    [(3, 'mean', 0.015), (5, 'mean', 0.015), (7, 'mean', 0.015), (5, 'mean', 0.005)]
    >>> [(trial.degree, trial.goal, trial.steps) for trial in default_trials(800)[5:8]]
    [(7, 'mean', 800), (7, 'mean', 800), (7, 'uphill', 100)]
    """

    def mean(degree: int, reach: float = 0.015, *, fresh: bool = False) -> Trial:
        return Trial(degree, passes, reach=reach, optimizer="adam", fresh=fresh)

    def climb(degree: int, reach: float = 0.05, *, fresh: bool = False) -> Trial:
        steps = -(-passes // GOALS["uphill"].points)
        return replace(mean(degree, reach, fresh=fresh), goal="uphill", steps=steps)

    return (
        Trial(degree=1, steps=0),
        *(mean(3), mean(5), mean(7), mean(5, 0.005)),
        *(mean(7, fresh=True), mean(7, 0.005), climb(7, 0.005)),
        *(climb(3, fresh=True), climb(3, 0.5, fresh=True), climb(7)),
    )


TRIALS = default_trials()
"""What is tried where nothing else is asked for."""


def find_path(
    start: PointLike,
    end: PointLike,
    objective: Objective,
    *,
    subspace: Mask | None = None,
    trials: Sequence[Method] = TRIALS,
    points: int = 61,
    tol: float | None = None,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> FoundPath:
    """Make the trials in turn until one has no climb; the path with the smallest climb is kept.

    Each trial starts from the best path so far, laid over the trial's own kind of curve, unless it
    is ``fresh``. What seems to be the best on the even grid is looked at again at the stride in
    weight space that the straight line has on it, so that it cannot hurry through a wall between
    two values of t (:func:`sparsescape.landscape.curves.pacing.paced`). Over a large data set a
    path is refused where a few points of it are enough to see it climb
    (:mod:`sparsescape.landscape.search.looks`); the one that is kept is looked at in full.

    Args:
        start, end: points or models.
        objective: climbs are over all of its data.
        subspace: the mask that paths stay in; None is all of weight space.
        trials: what is tried, the cheapest first.
        points: of the profiles, at least.
        tol: the climb that still counts as none; :attr:`Profile.tolerance` unless given.
        seed: decides every draw; each trial has its own.
        checkpoint: where to go on from, and where to leave the state now and then; each trial has
            its own file beside it until the search is done.

    Raises:
        InputError: there is no trial, or an end does not fit the model, lies outside the
            subspace or has a loss that is not finite.

    >>> import torch
    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> ends = {"weight": torch.ones(1, 1)}, {"weight": torch.zeros(1, 1)}
    >>> found = find_path(*ends, objective)
    >>> found.profile.climb, len(found.attempts), found.passes
    (0.0, 1, 0)
    """
    if not isinstance(trials, Sequence) or not trials:
        raise InputError("A search for a path needs at least one trial, in a list.")
    for trial in trials:
        if not hasattr(trial, "search"):
            raise InputError(f"A trial is an ss.Trial, ss.Band or alike, not {trial!r:.60}.")
    check_points(points)
    if tol is not None and math.isnan(tol):
        raise InputError("The climb that counts as none is a number, not NaN.")
    objective.check(start)
    objective.check(end)
    best = Seen(Line(start, end, subspace=subspace, names=objective.parameters), math.inf)
    look = Look(objective, part_of(objective, derived_seed(seed, "part")), points, tol)
    for name, point in (("start", start), ("end", end)):
        loss = (look.part or objective)(point)
        if not math.isfinite(loss):  # every path climbs without bound then, whatever is tried
            raise InputError(f"The loss at the {name} of the path is not finite: {loss}.")
    made: list[tuple[Method, Search, int]] = []
    seen: list[Seen] = []
    for number, trial in enumerate(trials):
        own = derived_seed(seed, "trial", number)
        kept = checkpoint and checkpoint.part(number)
        curve, search = trial.search(best.curve, objective, seed=own, checkpoint=kept)
        made.append((trial, search, own))
        seen.append(look.at(curve, best.climb))
        best = min(seen, key=lambda path: path.climb)
        if best.profile is not None and best.profile.monotone(tol):
            break
    if checkpoint is not None:
        checkpoint.discard_parts(len(made))
    curve, shown = look.best(seen)
    attempts = [
        Attempt(trial, search.passes, path.climb, own, search.diverged)
        for (trial, search, own), path in zip(made, seen, strict=True)
    ]
    return FoundPath(curve, shown, tuple(attempts))
