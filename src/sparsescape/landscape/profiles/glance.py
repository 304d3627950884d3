"""A look at a path that is enough to refuse it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...evaluation import Evaluation
from ...objective import Objective
from ...positions import distinct
from ...seeds import Draw, generator
from ..curves.curve import Curve
from ..curves.pacing import paced
from .measures import uphill
from .profile import Profile, profile

PART = 1024
"""So many examples say where to look."""
WORTH = 8
"""So many times as many examples as that are looked at only where a part of them says."""
TIMES = 8
"""So often, at most, the part is asked where to look next."""


def part_of(objective: Objective, seed: int) -> Objective | None:
    """Of a large data set, the objective over some of its examples, drawn at random."""
    examples = objective.examples()
    if len(examples) < WORTH * PART:
        return None
    chosen = distinct(len(examples), PART, generator(seed, "some examples"))
    return objective.rebuilt(data=examples.draw(chosen, Draw(seed, 0)))


def glance(
    curve: Curve,
    objective: Objective,
    part: Objective,
    points: int,
    ends: Mapping[float, Evaluation],
    tol: float | None = None,
) -> Profile:
    """A profile over all data, of the ends and of the points between which the path seems to climb.

    Where it seems to, a part of the data says: it sees the whole path, and what all data say at
    some of its points tells how far it is off there, and so about how far between them. While that
    is not enough to refuse the path it is asked again, at most :data:`TIMES` times; where all that
    it names has been looked at, next comes the middle of what has not.

    On some of its points a path climbs no more than on all of them. So what it climbs here it
    climbs at least, whatever the part was; and where that is more than is tolerated, it costs a
    few points to know.

    Args:
        points: of the profile over the part, at least, at an even stride in weight space.
        ends: what the objective says at t = 0 and t = 1, which are those of every path.
        tol: the climb that still counts as none; :attr:`Profile.tolerance` unless given.
    """
    t = paced(curve, points)
    seen = profile(curve, part, t=t)
    if broken := [s for s, loss in zip(t, seen.loss, strict=True) if not math.isfinite(loss)]:
        return profile(curve, objective, t=sorted({0.0, broken[0], 1.0}), known=ends)
    found = profile(curve, objective, t=(0.0, 1.0), known=ends)
    for _ in range(TIMES):
        guess = _corrected(seen, found)
        there = {t[i] for i in uphill(guess)} - set(found.t) or {_between(t, found.t)}
        found = profile(curve, objective, t=sorted({*found.t, *there}), known=found.evaluations)
        if not found.monotone(tol):
            break
    return found


def _corrected(part: Profile, found: Profile) -> list[float]:
    """What the part says at all of its t, moved to what is found at some of them."""
    said = dict(zip(part.t, part.loss, strict=True))
    off = [loss - said[t] for t, loss in zip(found.t, found.loss, strict=True)]
    return list(np.asarray(part.loss) + np.interp(part.t, found.t, off))


def _between(t: Sequence[float], seen: Sequence[float]) -> float:
    """The middle of the longest stretch of t without one that was seen."""
    at = [number for number, s in enumerate(t) if s in seen]
    first, last = max(itertools.pairwise(at), key=lambda stretch: stretch[1] - stretch[0])
    return t[(first + last) // 2]
