"""How the paths of a search are looked at: closely the best, others as far as it takes.

A profile over a large data set costs more than the search for the path. Most paths climb, and that
is seen at a few points; only one that may not, and the one that is kept, are looked at in full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...evaluation import Evaluation
from ...objective import Objective
from ...points import PointLike
from ..curves.bezier import Line
from ..curves.curve import Curve
from ..curves.pacing import has_flown_off, paced
from ..profiles.glance import glance, part_of
from ..profiles.profile import Profile, profile


@dataclass
class Seen:
    """A path, and what was seen of it."""

    curve: Curve
    climb: float
    """At least, where there is no profile."""
    profile: Profile | None = None
    """Over all data."""
    few: Profile | None = None
    """Of a path that was refused, the points that were enough for it."""


@dataclass(frozen=True)
class Look:
    """
    Args:
        objective: over all data.
        part: over some of a large data set; None of a small one, of which all is always looked at.
        points: of a profile, at least.
        tol: the climb that still counts as none; :attr:`Profile.tolerance` unless given.
        ends: t → what all data say at both ends, which all paths have.
        believing: whether a path that climbs by less than half of what is tolerated, as far as a
            glance sees, is one for now; otherwise it is looked at in full.
    """

    objective: Objective
    part: Objective | None
    points: int
    tol: float | None
    ends: Mapping[float, Evaluation] = field(default_factory=dict)
    believing: bool = False

    def at(self, curve: Curve, lowest: float) -> Seen:
        """Look at it for as long as it may climb less than the best so far, or not at all. What has
        flown off cannot be looked at, and so counts as climbing without end."""
        if has_flown_off(curve):
            return Seen(curve, math.inf)
        if self.part is not None:
            few = glance(curve, self.objective, self.part, self.points, self.ends, self.tol)
            if not few.monotone(self.tol):
                return Seen(curve, few.climb, few=few)
            return Seen(curve, few.climb, few) if self.takes(few) else self._closely(curve, few)
        even = profile(curve, self.objective, self.points)
        if even.climb < lowest and len(paced(curve, self.points)) > len(even.t):
            return self._closely(curve)
        return Seen(curve, even.climb, even)

    def takes(self, few: Profile) -> bool:
        """Whether a glance is enough to call it a path."""
        tol = few.tolerance if self.tol is None else self.tol
        return self.believing and few.climb <= tol / 2

    def best(self, seen: Sequence[Seen]) -> tuple[Curve, Profile]:
        """The path that climbs least, and its profile; what climbs more between a few of its points
        needs no further look.

        One that was refused was looked at closely over a part of the data. Over all of it, it is
        seen on the even grid, and where it climbs.
        """
        even = [i / (self.points - 1) for i in range(self.points)]
        while (best := min(seen, key=lambda path: path.climb)).profile is None:
            known = best.few.evaluations if best.few else {}
            t = sorted({*even, *known})
            best.profile = profile(best.curve, self.objective, t=t, known=known)
            best.climb = best.profile.climb
        return best.curve, best.profile

    def _closely(self, curve: Curve, few: Profile | None = None) -> Seen:
        """At a stride in weight space at which it cannot hurry through a wall."""
        known = few.evaluations if few else {}
        t = sorted({*paced(curve, self.points), *known})
        found = profile(curve, self.objective, t=t, known=known)
        return Seen(curve, found.climb, found)


def first_look(
    start: PointLike,
    end: PointLike,
    objective: Objective,
    *,
    points: int,
    tol: float | None,
    seed: int,
) -> Look:
    """How the paths between two points are looked at; the seed says over which part of the data."""
    part = part_of(objective, seed)
    line = Line(start, end, names=objective.parameters)  # no curve has a buffer of one end alone
    ends = {t: objective.evaluate(line.point(t)) for t in (0.0, 1.0)}
    return Look(objective, part, points, tol, ends)
