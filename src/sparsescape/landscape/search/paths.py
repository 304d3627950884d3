"""The best path between two points that a stated search finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError, is_real
from ...masks import Mask
from ...objective import Objective, check_objective
from ...points import PointLike
from ...seeds import derived_seed
from ...training.checkpoints import Checkpoint
from ..curves.bezier import Line
from ..curves.curve import Curve
from ..profiles.profile import Profile, check_points
from .fit import Search
from .looks import Look, Seen, first_look
from .progress import State, curve_state, profile_state, seen_state, to_curve, to_profile, to_seen
from .trials import TRIALS, Method, check_trials


@dataclass(frozen=True)
class Attempt:
    """A trial that was made, and what it came to."""

    trial: Method
    """Curve, goal, optimizer and all else that was set."""
    passes: int
    """Forward and backward passes over a batch."""
    climb: float
    """Over all data; of a path that was refused or believed after a look at a few points, what it
    climbs between those, and so at least."""
    seed: int = 0
    """Of this trial's draws."""
    diverged: bool = False
    """Whether it was given up at a loss that is not finite, or ended in a curve over 100 times as
    long as the straight line, of which nothing can be said: it is left out, its climb infinite."""


@dataclass(frozen=True)
class FoundPath:
    """The best path found, and all that was tried for it."""

    curve: Curve
    profile: Profile
    """Of the best path, over all data."""
    attempts: tuple[Attempt, ...]

    def __repr__(self) -> str:
        found = f"{type(self.curve).__name__}, climb {self.profile.climb:.4g}"
        return f"FoundPath({found}, {len(self.attempts)} tried, {self.passes} passes)"

    @property
    def passes(self) -> int:
        """Forward and backward passes of all attempts together: what a "not found" is worth."""
        return sum(attempt.passes for attempt in self.attempts)


def path_state(found: FoundPath, line: Line) -> State | None:
    """What was found, as data; None where the curve cannot be told so."""
    curve = curve_state(found.curve, line)
    if curve is None:
        return None
    attempts = [[a.passes, a.climb, a.seed, a.diverged] for a in found.attempts]
    return {"curve": curve, "profile": profile_state(found.profile), "attempts": attempts}


def to_path(state: State, line: Line, trials: Sequence[Method]) -> FoundPath:
    """What was found by some of these trials, from its data."""
    profile = to_profile(state["profile"])
    attempts = [Attempt(t, *told) for t, told in zip(trials, state["attempts"], strict=False)]
    return FoundPath(to_curve(state["curve"], line), profile, tuple(attempts))


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
    >>> found
    FoundPath(Bezier, climb 0, 1 tried, 0 passes)
    >>> found.profile.climb, len(found.attempts), found.passes
    (0.0, 1, 0)
    """
    check_objective(objective)
    check_trials(trials)
    check_points(points)
    if tol is not None and not is_real(tol):
        raise InputError(f"The climb that counts as none is a number, not {tol!r:.60}.")
    objective.check(start)
    objective.check(end)
    look = first_look(
        start, end, objective, points=points, tol=tol, seed=derived_seed(seed, "part")
    )
    for name, t in (("start", 0.0), ("end", 1.0)):
        loss = look.ends[t].loss
        if not math.isfinite(loss):  # every path climbs without bound then, whatever is tried
            raise InputError(f"The loss at the {name} of the path is not finite: {loss}.")
    line = Line(start, end, subspace=subspace, names=objective.parameters)
    return best_path(line, look, trials, seed=seed, checkpoint=checkpoint)


def best_path(
    line: Line,
    look: Look,
    trials: Sequence[Method],
    *,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> FoundPath:
    """Make the trials in turn until one has no climb, for one who knows how paths are looked at.

    Args:
        line: between the two points, in the subspace.
    """
    straight = Seen(line, math.inf)
    best = straight
    made: list[tuple[Seen, Search, int]] = []
    for number, trial in enumerate(trials):
        own = derived_seed(seed, "trial", number)
        kept = checkpoint and checkpoint.part(number)
        made.append((*_made(trial, best, look, own, kept), own))
        best = min((straight, *(seen for seen, _, _ in made)), key=lambda path: path.climb)
        if best.profile is not None and best.profile.monotone(look.tol):
            break
    if checkpoint is not None:
        checkpoint.discard_parts(len(made))
    curve, shown = look.best((straight, *(seen for seen, _, _ in made)))
    attempts = [
        Attempt(trial, search.passes, seen.climb, own, search.diverged or seen.climb == math.inf)
        for trial, (seen, search, own) in zip(trials, made, strict=False)
    ]
    return FoundPath(curve, shown, tuple(attempts))


def _made(
    trial: Method, best: Seen, look: Look, seed: int, kept: Checkpoint | None
) -> tuple[Seen, Search]:
    """The trial's path and what it cost: from where it was kept, if it was made before an
    interruption."""
    state = kept.load() if kept is not None else None
    if state is not None and _MADE in state:
        return to_seen(state[_MADE], best.curve)
    curve, search = trial.search(best.curve, look.objective, seed=seed, checkpoint=kept)
    seen = look.at(curve, best.climb)
    state = seen_state(seen, search, best.curve)
    if kept is not None and state is not None:
        kept.save({_MADE: state})
    return seen, search


_MADE = "made by a trial"  # told from whatever a method of one's own keeps in the same file
