"""What is tried at every count, and a path that is known from another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...errors import InputError
from ...objective import Objective
from ...training.checkpoints import Checkpoint
from ..curves.curve import Curve
from ..search.fit import Search
from ..search.paths import Method, Trial


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
