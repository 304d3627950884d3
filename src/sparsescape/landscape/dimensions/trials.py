"""What is tried at every count, and a path that is known from another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ...errors import InputError
from ...objective import Objective
from ...points import Point
from ...training.checkpoints import Checkpoint
from ..curves.curve import Curve
from ..search.fit import Search
from ..search.paths import Method, Trial


def default_trials(
    start: Point, end: Point, steps: int = 120, enough: float | None = None
) -> tuple[Method, ...]:
    """The straight line; then cubic curves that are trained against every uphill step.

    Adam, so that the height of the wall does not matter, with learning rates relative to how far
    apart the ends are: the root mean square of their difference over the parameters that differ.
    With 0.05 of it a way around of about that size is found; 0.5 reaches ten times as far, and is
    followed by 0.05, which smooths what it found. On planted walls that was enough for weights that
    have to be raised by 0.025 to 5 times the distance of the ends; for others, or where a cubic
    curve cannot bend enough, give trials of your own.

    Args:
        start, end: of the path.
        steps: at most, of each curve.
        enough: the goal below which a search may end before (:func:`sparsescape.fit_curve`).

    >>> trials = default_trials({"w": torch.ones(1, 1)}, {"w": torch.zeros(1, 1)})
    >>> [(trial.lr, trial.fresh) for trial in trials[1:]]
    [(0.05, True), (0.5, True), (0.05, False)]
    """
    apart = torch.cat([(end[n] - start[n]).double().reshape(-1) for n in start if n in end])
    moved = apart[apart != 0]
    scale = float(moved.square().mean().sqrt()) if len(moved) else 1.0

    def cubic(rate: float, *, fresh: bool) -> Trial:
        lr = rate * scale
        return Trial(
            degree=3,
            steps=steps,
            lr=lr,
            goal="uphill",
            optimizer="adam",
            fresh=fresh,
            enough=enough,
        )

    line = Trial(degree=1, steps=0)
    return line, cubic(0.05, fresh=True), cubic(0.5, fresh=True), cubic(0.05, fresh=False)


def restarted(trials: Sequence[Method], restarts: int) -> tuple[Method, ...]:
    """The trials, and again so many times from curves that start off the straight line."""
    if not trials:
        raise InputError("A search for a path needs at least one trial.")
    searched = [t for t in trials if not (isinstance(t, Trial) and t.steps == 0)]
    again = [replace(t, perturbed=0.5) if isinstance(t, Trial) and t.fresh else t for t in searched]
    return (*trials, *(again * (restarts - 1)))


def is_line(trial: Method) -> bool:
    """Whether it is the straight line, which is the same whatever is open."""
    return isinstance(trial, Trial) and trial.bends is None and trial.degree == 1


@dataclass(frozen=True)
class Known:
    """The method of not searching: a path that was found with other weights open.

    The control points' weights that are closed here are set to 0.
    """

    count: int
    """With how many opened weights it was found."""
    curve: Curve = field(repr=False, compare=False)

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """The known path, laid into the subspace of the best one so far."""
        return self.curve.inside(best.subspace), Search(0, 0, 0, diverged=False)
