"""A look at a path that is enough to refuse it."""

from __future__ import annotations

from collections.abc import Mapping

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
) -> Profile:
    """A profile over all data, of the ends and of the two points between which the path climbs,
    as a part of the data has it.

    On some of its points a path climbs no more than on all of them. So what it climbs here it
    climbs at least, whatever the part was; and where that is more than is tolerated, it costs two
    points to know.

    Args:
        points: of the profile over the part, at least, at an even stride in weight space.
        ends: what the objective says at t = 0 and t = 1, which are those of every path.
    """
    t = paced(curve, points)
    seen = profile(curve, part, t=t)
    few = sorted({0.0, *(t[i] for i in uphill(seen.loss)), 1.0})
    return profile(curve, objective, t=few, known=ends)
