"""The search over counts: bisection, from all closed weights down."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...masks import Mask
from ...objective import Objective
from ...points import Point
from ...seeds import derived_seed
from ...training.checkpoints import Checkpoint
from ..curves.curve import Curve
from ..search.fit import Search
from ..search.paths import FoundPath, find_path
from ..search.trials import Method, Trial
from .openings import Order


@dataclass
class Ground:
    """What is known of every count so far."""

    start: Point
    end: Point
    objective: Objective
    mask: Mask
    trials: tuple[Method, ...]
    points: int
    tol: float
    seed: int
    checkpoint: Checkpoint | None
    known: Mapping[int, Curve]
    """Count → the best path of a search that was made there before."""
    order: Order | None = None
    found: dict[int, FoundPath] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def is_open(self, count: int) -> bool:
        """Search with so many weights open; whether there is a path.

        Where a path is known with fewer open there is one, and nothing is searched for; nor where
        that was done before.
        """
        if any(k <= count for k in self.open):
            return True
        if count in self.found:
            return False
        return self._try(count, self._trials(count), derived_seed(self.seed, "opened", count))

    def is_open_from_above(self, count: int) -> bool:
        """Search once more where no path was found: now from what is known with more open."""
        trials = (*self._from_above(count), *self._search(count))
        return self._try(count, trials, derived_seed(self.seed, "opened again", count))

    def _try(self, count: int, trials: Sequence[Method], seed: int) -> bool:
        found = find_path(
            self.start,
            self.end,
            self.objective,
            subspace=self.mask if self.order is None else self.mask | self.order.first(count),
            trials=trials,
            points=self.points,
            tol=self.tol,
            seed=seed,
            # Its own, or one that is taken up again would begin with the state of a later search.
            checkpoint=self.checkpoint and self.checkpoint.part(len(self.found)),
        )
        before = self.found.get(count)
        if before is not None:
            best = min(before, found, key=lambda path: path.profile.climb)
            found = replace(best, attempts=(*before.attempts, *found.attempts))
        self.found[count] = found
        if found.profile.monotone(self.tol):
            self.open.add(count)
        return count in self.open

    def _trials(self, count: int) -> Sequence[Method]:
        """What is known of this count, or else the path known from above and then a search."""
        if count in self.known:
            return [Known(count, self.known[count])]
        return (*self._from_above(count), *self._search(count))

    def _search(self, count: int) -> tuple[Method, ...]:
        """The straight line is the same at every count. With all weights open the trials are made
        twice: should they fail there, no other count is tried."""
        if not count:
            return self.trials
        trials = tuple(t for t in self.trials if not is_line(t)) or self.trials
        return restarted(trials, 2) if self.order and count == len(self.order) else trials

    def _from_above(self, count: int) -> list[Method]:
        """The path of the nearest count above. Not one that climbs with fewer open: whatever it is
        stuck at it would be stuck at here, too, and :meth:`best` has it anyway."""
        above = [k for k in self.open if k > count]
        return [Known(k, self.found[k].curve) for k in above if k == min(above)]

    def best(self) -> dict[int, FoundPath]:
        """Count → the best path known, found with as many weights open or with fewer."""

        def better(one: FoundPath, other: FoundPath) -> FoundPath:
            return other if other.profile.climb < one.profile.climb else one

        counts = sorted(self.found)
        best = itertools.accumulate((self.found[k] for k in counts), better)
        return dict(zip(counts, best, strict=True))


def smallest(ground: Ground, most: int, precision: float) -> int | None:
    """The smallest count that is open, by bisection between none and all.

    From the top, as a path found there leads on: with half of its weights closed again it is the
    beginning of the next search. So what fails has been tried from the path nearest above; none at
    all, which was tried first, is tried again where a single one is left.
    """
    if ground.is_open(0):
        return 0
    if not most or not ground.is_open(most):
        return None
    failed, count = 0, most
    while count - failed > max(1, precision * count):
        middle = (failed + count) // 2
        if ground.is_open(middle):
            count = middle
        else:
            failed = middle
    return 0 if count == 1 and ground.is_open_from_above(0) else count


# ---------------------------------------------------------------------------- what is tried


def restarted(trials: Sequence[Method], restarts: int) -> tuple[Method, ...]:
    """The trials, and again so many times; the first of those again, and all that are fresh, then
    from curves that start off the straight line."""
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
