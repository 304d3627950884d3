"""How the paths of a search are looked at: closely the best, others as far as it takes.

A profile over a large data set costs more than the search for the path. Most paths climb, and that
is seen at two points; only one that may not, and the one that is kept, are looked at in full.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...objective import Objective
from ..curves.curve import Curve
from ..curves.pacing import has_flown_off, paced
from ..profiles.glance import glance
from ..profiles.profile import Profile, profile


@dataclass
class Seen:
    """A path, and what was seen of it."""

    curve: Curve
    climb: float
    """At least, where there is no profile."""
    profile: Profile | None = None
    """Over all data."""
    few: tuple[float, ...] = ()
    """Of a path that was refused, the t at which it was seen to climb."""


@dataclass(frozen=True)
class Look:
    """
    Args:
        objective: over all data.
        part: over some of a large data set; None of a small one, of which all is always looked at.
        points: of a profile, at least.
        tol: the climb that still counts as none; :attr:`Profile.tolerance` unless given.
    """

    objective: Objective
    part: Objective | None
    points: int
    tol: float | None

    def at(self, curve: Curve, lowest: float) -> Seen:
        """Look at it for as long as it may climb less than the best so far, or not at all. What has
        flown off cannot be looked at, and so counts as climbing without end."""
        if has_flown_off(curve):
            return Seen(curve, math.inf)
        if self.part is not None:
            few = glance(curve, self.objective, self.part, self.points)
            if few.monotone(self.tol):
                return self._closely(curve)
            return Seen(curve, few.climb, few=few.t)
        even = profile(curve, self.objective, self.points)
        if even.climb < lowest and len(paced(curve, self.points)) > len(even.t):
            return self._closely(curve)
        return Seen(curve, even.climb, even)

    def best(self, seen: Sequence[Seen]) -> tuple[Curve, Profile]:
        """The path that climbs least, and its profile; what climbs more between a few of its points
        needs no further look.

        One that was refused was looked at closely over a part of the data. Over all of it, it is
        seen on the even grid, and where it climbs.
        """
        even = [i / (self.points - 1) for i in range(self.points)]
        while (best := min(seen, key=lambda path: path.climb)).profile is None:
            t = sorted({*even, *best.few})
            best.profile = profile(best.curve, self.objective, t=t)
            best.climb = best.profile.climb
        return best.curve, best.profile

    def _closely(self, curve: Curve) -> Seen:
        """At a stride in weight space at which it cannot hurry through a wall."""
        found = profile(curve, self.objective, t=paced(curve, self.points))
        return Seen(curve, found.climb, found)
