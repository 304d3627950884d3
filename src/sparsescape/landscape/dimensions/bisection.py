"""The search over counts: doubling until a path is found, then bisection."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...masks import Mask
from ...objective import Objective
from ...points import Point
from ...seeds import derived_seed
from ...training.checkpoints import Checkpoint
from ..curves.pacing import paced
from ..profiles.profile import profile
from ..search.paths import Attempt, FoundPath, Method, find_path
from .openings import Order
from .trials import Known, is_line


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
    order: Order | None = None
    found: dict[int, FoundPath] = field(default_factory=dict)
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    searches: int = 0

    def is_open(self, count: int) -> bool:
        """Search with so many weights open; whether there is a path.

        Asked again, it begins at the best paths known by then and makes the last trial only. A path
        that only seemed to have no climb, as it hurried past something between two points of the
        grid, does not end the search: the trials that are left are made.
        """
        tried = self.attempts.setdefault(count, [])
        trials = self.trials if not count else tuple(t for t in self.trials if not is_line(t))
        fresh = trials if not tried else trials[-1:]
        left: tuple[Method, ...] = (*self._known(count), *fresh)
        while left and count not in self.open:
            found = self._search(count, left, len(tried))
            tried.extend(found.attempts)
            left = left[len(found.attempts) :] if found.profile.monotone(self.tol) else ()
            found = self._looked_at(found)
            if count not in self.found or found.profile.climb < self.found[count].profile.climb:
                self.found[count] = found
            if found.profile.monotone(self.tol):
                self.open.add(count)
        return count in self.open

    def _search(self, count: int, trials: Sequence[Method], number: int) -> FoundPath:
        return find_path(
            self.start,
            self.end,
            self.objective,
            subspace=self.mask if self.order is None else self.mask | self.order.first(count),
            trials=trials,
            points=self.points,
            tol=self.tol,
            seed=derived_seed(self.seed, "opened", count, number),
            checkpoint=self._next_part(),
        )

    def _next_part(self) -> Checkpoint | None:
        """The checkpoint of the next search: every search has its own, or one that is taken up
        again would begin with the state of a later one."""
        self.searches += 1
        return self.checkpoint and self.checkpoint.part(self.searches)

    def _looked_at(self, found: FoundPath) -> FoundPath:
        """A path without climb on the even grid, with its profile at an even stride."""
        if not found.profile.monotone(self.tol):
            return found
        t = paced(found.curve, self.points)
        return replace(found, profile=profile(found.curve, self.objective, t=t))

    def _known(self, count: int) -> list[Method]:
        """The path known here or of the nearest count below, and that of the nearest above."""
        below = [k for k in self.found if k <= count]
        above = [k for k in self.open if k > count]
        near = ([max(below)] if below else []) + ([min(above)] if above else [])
        return [Known(k, self.found[k].curve) for k in near]

    def best(self) -> dict[int, FoundPath]:
        """Count → the best path known, found with as many weights open or with fewer."""

        def better(one: FoundPath, other: FoundPath) -> FoundPath:
            return other if other.profile.climb < one.profile.climb else one

        counts = sorted(self.found)
        best = itertools.accumulate((self.found[k] for k in counts), better)
        return dict(zip(counts, best, strict=True))


def smallest(ground: Ground, most: int, precision: float) -> int | None:
    """The smallest count that is open, by doubling and then by bisection."""
    if 0 in ground.open:
        return 0
    failed, count = 0, min(1, most)
    while count and not ground.is_open(count):
        if count == most:
            return None
        failed, count = count, min(2 * count, most)
    if not count:
        return None
    squeezed = failed  # what failed before there was a path above to begin with
    while True:
        while count - failed > max(1, precision * count):
            middle = (failed + count) // 2
            if ground.is_open(middle):
                count = middle
            else:
                failed = middle
        if failed != squeezed or not ground.is_open(failed):
            return count
        below = [k for k in ground.found if k < failed]
        if not below:
            return failed
        count, failed = failed, max(below)
        squeezed = failed
