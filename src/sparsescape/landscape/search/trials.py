"""What a search for a path is made of: trials, each of which trains one curve for one goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

from ...errors import InputError, is_real
from ...objective import Objective
from ...seeds import generator
from ...training.checkpoints import Checkpoint
from ..curves.bezier import Bezier, check_degree
from ..curves.chain import PolygonalChain, check_bends
from ..curves.curve import Curve
from .fit import Search, check_enough, check_search, fit_curve
from .goals import GOALS, Goal


class Method(Protocol):
    """One way to search for a path: a :class:`Trial`, a :class:`~sparsescape.Band`."""

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """A path between the ends of the best one so far, and how hard was searched for it."""
        ...


def check_trials(trials: object) -> None:
    """
    Raises:
        InputError: there is no trial, or what is given is no list of trials.
    """
    if not isinstance(trials, Sequence) or not trials:
        raise InputError("A search for a path needs at least one trial, in a list.")
    for trial in trials:
        if isinstance(trial, type) or not hasattr(trial, "search"):
            raise InputError(f"A trial is an ss.Trial, ss.Band or alike, not {trial!r:.60}.")


@dataclass(frozen=True)
class Trial:
    """One way to search: which curve, from where, for which goal, and how long it is trained.

    The arguments of :func:`sparsescape.fit_curve` mean what they mean there.

    >>> Trial(degree=1, steps=0)
    Trial(degree=1, steps=0)
    """

    degree: int = 3
    """Of the Bézier curve; 1 is the straight line, which needs no search."""
    steps: int = 1000
    lr: float = 0.05
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
    reach: float | None = None
    """Where given, the learning rate is so many times :attr:`Curve.spread`, instead of ``lr``."""

    def __repr__(self) -> str:
        """What is not as it is unless given."""
        told = [
            f"{f.name}={v!r}" for f in fields(self) if (v := getattr(self, f.name)) != f.default
        ]
        return f"Trial({', '.join(told)})"

    def __post_init__(self) -> None:
        # Here, and not where it is its turn: by then the trials before it have been searched.
        if self.bends is not None:
            check_bends(self.bends)
        check_degree(self.degree)
        lr = self.lr if self.reach is None else self.reach
        check_search(self.goal, self.optimizer, self.sampling, lr, self.steps, self.batch_size)
        check_enough(self.enough)
        if not (is_real(self.perturbed) and 0 <= self.perturbed < math.inf):
            raise InputError(f"Control points are moved by 0 or more, not {self.perturbed!r:.60}.")

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
    are small: with longer strides its path climbs more.
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
