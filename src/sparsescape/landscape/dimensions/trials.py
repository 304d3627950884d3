"""What is tried at every count, and a path that is known from another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...errors import InputError
from ...objective import Objective
from ...points import Point, coordinates
from ...training.checkpoints import Checkpoint
from ..curves.curve import Curve
from ..search.fit import Search
from ..search.goals import GOALS
from ..search.paths import Method, Trial


def default_trials(
    start: Point,
    end: Point,
    steps: int = 120,
    enough: float | None = None,
    names: Collection[str] | None = None,
) -> tuple[Method, ...]:
    """The straight line; then Bézier curves, in turn for the mean loss and against the climb.

    1. a cubic one for the mean, which between real networks gets there with the fewest passes: from
       the path known with more weights open, its others closed again, where there is one;
    2. against what is left of the climb, and against walls that the mean is content to hurry
       through;
    3. anew, against the climb: a path that hurries through a wall is hard to lead around it;
    4. and 5. as 1 and 2 at degree 5, from the best so far;
    6. a cubic one anew for the mean, with a reach ten times as far, and 7. against its climb;
    8. and 9. as 1 and 2 at degree 7, from the best so far.

    All cost the same: a step against the climb looks at 8 points of the curve, a step for the mean
    at one, and of those there are 8 times as many. ``benchmarks/opened_search.py`` measures this
    list beside others.

    Adam, so that the height of the wall does not matter, with learning rates relative to how far
    apart the ends are: the root mean square of their difference over the parameters that differ.
    With 0.05 of it a way around of about that size is found; 0.5 reaches ten times as far. On
    planted walls that was enough for weights that have to be raised by 0.025 to 5 times the
    distance of the ends; for others, or where a cubic curve cannot bend enough, give trials of your
    own.

    Args:
        start, end: of the path.
        steps: at most, of each curve that is trained against the climb.
        enough: the climb below which such a search may end before
            (:func:`sparsescape.fit_curve`).
        names: of the parameters, by which their distance is told; as for curves.

    >>> trials = default_trials({"w": torch.ones(1, 1)}, {"w": torch.zeros(1, 1)})
    >>> [(trial.degree, trial.goal, trial.steps) for trial in trials[1:6]]
    [(3, 'mean', 960), (3, 'uphill', 120), (3, 'uphill', 120), (5, 'mean', 960), (5, 'uphill', 120)]
    >>> [(trial.degree, trial.goal, trial.lr, trial.fresh) for trial in trials[6:8]]
    [(3, 'mean', 0.5, True), (3, 'uphill', 0.05, False)]
    """
    # Without what the ends carry beside: BatchNorm counts its batches, by thousands.
    shared = [n for n in coordinates(start, names) if n in end]
    apart = torch.cat([(end[n] - start[n]).double().reshape(-1) for n in shared])
    moved = apart[apart != 0]
    scale = float(moved.square().mean().sqrt()) if len(moved) else 1.0
    near = 0.05 * scale
    mean = Trial(optimizer="adam", lr=near, goal="mean", steps=steps * GOALS["uphill"].points)
    climb = Trial(optimizer="adam", lr=near, goal="uphill", steps=steps, enough=enough)

    def both(degree: int) -> tuple[Trial, Trial]:
        return replace(mean, degree=degree), replace(climb, degree=degree)

    anew = replace(climb, fresh=True)
    far = replace(mean, lr=10 * near, fresh=True)
    return Trial(degree=1, steps=0), *both(3), anew, *both(5), far, climb, *both(7)


def restarted(trials: Sequence[Method], restarts: int) -> tuple[Method, ...]:
    """The trials, and again so many times; the first of those again, and all that are fresh, then
    from curves that start off the straight line."""
    if not trials:
        raise InputError("A search for a path needs at least one trial.")
    searched = [t for t in trials if not (isinstance(t, Trial) and t.steps == 0)]
    again = [
        replace(t, fresh=True, perturbed=0.5) if isinstance(t, Trial) and (t.fresh or not i) else t
        for i, t in enumerate(searched)
    ]
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
