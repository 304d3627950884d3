"""The search over counts: bisection, from all closed weights down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...masks import Mask
from ...objective import Objective
from ...points import Point
from ...seeds import derived_seed
from ...training.checkpoints import Checkpoint
from ..curves.bezier import Line
from ..curves.curve import Curve
from ..search.fit import Search
from ..search.looks import Look
from ..search.paths import Attempt, FoundPath, best_path, path_state, to_path
from ..search.trials import Method, Trial
from .openings import Order


@dataclass
class Ground:
    """What is known of every count so far."""

    start: Point
    end: Point
    mask: Mask
    look: Look
    """How closely paths are looked at."""
    trials: tuple[Method, ...]
    seed: int
    checkpoint: Checkpoint | None
    known: Mapping[int, Curve | FoundPath]
    """Count → the best path of a search that was made there before."""
    order: Order | None = None
    found: dict[int, FoundPath] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    believed: set[int] = field(default_factory=set)
    """Those of the open counts whose path was not looked at in full."""
    searches: int = 0

    def is_open(self, count: int) -> bool:
        """Search with so many weights open; whether there is a path.

        Where a path is known with fewer open there is one, and nothing is searched for; nor where
        that was done before. Between none and all a glance may be enough for now.
        """
        if any(k <= count for k in self.open):
            return True
        if count in self.found:
            return False
        known = self.known.get(count)
        if isinstance(known, FoundPath) and self._holds(count, known.curve):
            return self._taken(count, known)
        bound = self.order is None or count == len(self.order)
        look = self.look if bound else replace(self.look, believing=True)
        return self._try(count, self._trials(count), "opened", look)

    def is_open_from_above(self, count: int) -> bool:
        """Search once more where no path was found: now from what is known with more open."""
        trials = (*self._from_above(count), *self._search(count))
        return self._try(count, trials, "opened again", self.look)

    def is_open_in_full(self, count: int) -> bool:
        """Look in full at a path that was believed, and search on where that shows it to climb."""
        if count not in self.believed:
            return True
        self.believed.discard(count)
        self.open.discard(count)
        before = self.found.pop(count)
        trials = (Known(count, before.curve), *self._search(count))
        is_open = self._try(count, trials, "opened, in full", self.look)
        found = self.found[count]
        self.found[count] = replace(found, attempts=(*before.attempts, *found.attempts))
        return is_open

    def above(self, count: int) -> int:
        """The next count above that is open."""
        return min(k for k in self.open if k > count)

    def _try(self, count: int, trials: Sequence[Method], purpose: str, look: Look) -> bool:
        found = self._searched(count, trials, derived_seed(self.seed, purpose, count), look)
        before = self.found.get(count)
        if before is not None:
            best = min(before, found, key=lambda path: path.profile.climb)
            found = replace(best, attempts=(*before.attempts, *found.attempts))
        self.found[count] = found
        if self._is_none(found):
            self.open.add(count)
            if look.part is not None and look.takes(found.profile):
                self.believed.add(count)
        return count in self.open

    def _taken(self, count: int, known: FoundPath) -> bool:
        """Take a path as it was seen elsewhere."""
        taken = Attempt(Known(count, known.curve), 0, known.profile.climb)
        curve = known.curve.inside(self._subspace(count))
        self.found[count] = FoundPath(curve, known.profile, (taken,))
        if self._is_none(known):
            self.open.add(count)
        return count in self.open

    def _holds(self, count: int, curve: Curve) -> bool:
        """Whether the curve lies in the subspace as it is: with some of its weights closed it is
        another path, of which nothing was seen."""
        held = curve.inside(self._subspace(count))
        return torch.equal(held.control, curve.control * curve.openings)

    def _subspace(self, count: int) -> Mask:
        return self.mask if self.order is None else self.mask | self.order.first(count)

    def _searched(self, count: int, trials: Sequence[Method], seed: int, look: Look) -> FoundPath:
        """The best path of these trials; one that was found before an interruption was kept."""
        names = look.objective.parameters
        line = Line(self.start, self.end, subspace=self._subspace(count), names=names)
        kept = self.checkpoint and self.checkpoint.part(self.searches)
        self.searches += 1
        state = kept.load() if kept is not None else None
        if state is not None:
            return to_path(state, line, trials)
        found = best_path(line, look, trials, seed=seed, checkpoint=kept)
        state = path_state(found, line)
        if kept is not None and state is not None:
            kept.save(state)
        return found

    def _trials(self, count: int) -> Sequence[Method]:
        """What is known of this count, or else the path known from above and then a search."""
        known = self.known.get(count)
        if known is not None:
            return [Known(count, known.curve if isinstance(known, FoundPath) else known)]
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
        """Count → the best path known, found with as many weights open or with fewer.

        What was only believed stands behind a path with fewer open that was looked at in full.
        """

        best: dict[int, FoundPath] = {}
        last: FoundPath | None = None
        for count in sorted(self.found):
            found = self.found[count]
            believed = count in self.believed and last is not None and self._is_none(last)
            if last is None or (found.profile.climb < last.profile.climb and not believed):
                last = found
            best[count] = last
        return best

    def _is_none(self, path: FoundPath) -> bool:
        """Whether its climb counts as none."""
        return path.profile.monotone(self.look.tol)


def smallest(ground: Ground, most: int, precision: float) -> int | None:
    """The smallest count that is open, by bisection between none and all.

    From the top, as a path found there leads on: with half of its weights closed again it is the
    beginning of the next search. So what fails has been tried from the path nearest above; none at
    all, which was tried first, is tried again where a single one is left.

    Over a large data set what is believed on the way costs little. Only the last one is looked at
    in full; should it turn out to climb, the count has failed, and bisection goes on above it.
    """
    if ground.is_open(0):
        return 0
    if not most or not ground.is_open(most):
        return None
    count = _bisected(ground, 0, most, precision)
    while not ground.is_open_in_full(count):
        count = _bisected(ground, count, ground.above(count), precision)
    return 0 if count == 1 and ground.is_open_from_above(0) else count


def _bisected(ground: Ground, failed: int, count: int, precision: float) -> int:
    """A count between one that failed and one that did not, as near to it as is asked for to
    another that failed."""
    while count - failed > max(1, precision * count):
        middle = (failed + count) // 2
        if ground.is_open(middle):
            count = middle
        else:
            failed = middle
    return count


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
