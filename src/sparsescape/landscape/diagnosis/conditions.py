"""What the rules of a diagnosis ask: one measured number each, against its limit.

How sure a condition is: whether the number is past a second limit, farther out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeGuard

from .facts import Facts

SLOPE = 0.05
"""Share of the loss that Newton steps have to win for the gradient not to be small."""

NEGATIVE = 1e-3
"""How negative the smallest eigenvalue must be, as a share of the largest absolute one."""

CONSTANT = 1 - SLOPE
"""Share of the best constant answer's loss that no step gets below where nothing was learned."""

NEAR_CONSTANT = 1.1
"""And up to which it counts as giving such an answer."""

STEEPER = 3.0
"""How many times as much as inside the mask a step must win outside for it to be steep there."""


@dataclass(frozen=True)
class Condition:
    """One number against its limit."""

    what: str
    value: float
    sign: Literal["≤", "≥"]
    limit: float
    sure: float
    """The limit beyond which the condition holds beyond doubt."""

    @property
    def holds(self) -> bool:
        return self._past(self.limit)

    @property
    def is_sure(self) -> bool:
        return self._past(self.sure)

    def _past(self, limit: float) -> bool:
        return self.value <= limit if self.sign == "≤" else self.value >= limit

    def __str__(self) -> str:
        sign = self.sign if self.holds else f"not {self.sign}"
        return f"{self.what}: {self.value:.4g} {sign} {self.limit:.4g}"


def par(loss: float, constant: float | None) -> tuple[float, float]:
    """The loss up to which a point is on par with one of this loss, and is so beyond doubt."""
    slack = 0.005 * abs(constant or 0.0)
    return loss + 0.1 * abs(loss) + slack, loss + 0.02 * abs(loss) + slack


def emptied(facts: Facts) -> Condition:
    names = ", ".join(facts.emptied) or "none"
    return Condition(
        f"weights that the mask closes altogether ({names})", len(facts.emptied), "≥", 1, 1
    )


def in_the_way(facts: Facts) -> Condition:
    """An emptied layer with a way around it, in a residual network, need not matter."""
    if not facts.answers_vary:
        return Condition("the answers are the same for all examples", 1, "≥", 1, 1)
    if facts.reference is None:
        return Condition("a signal finds its way around", 1, "≥", 1, 2)
    limit, _ = par(facts.reference_loss, facts.constant)
    return Condition("loss, against being on par with the reference", facts.loss, "≥", limit, limit)


def on_par(facts: Facts) -> Condition | None:
    if facts.reference is None:
        return None
    decay = ", weight decay included" if facts.objective.weight_decay else ""
    what = f"loss{decay}, against {facts.reference_loss:.4g} of the reference"
    return Condition(what, facts.loss, "≤", *par(facts.reference_loss, facts.constant))


def _tells(constant: float | None) -> TypeGuard[float]:
    """Whether shares of it mean anything: a loss of densities may be 0 or below."""
    return constant is not None and constant > 0


def learned_nothing(facts: Facts) -> Condition:
    what = "lowest loss that any step reaches, as a share of the best constant answer's"
    share = facts.lowest / facts.constant if _tells(facts.constant) else float("-inf")
    return Condition(what, share, "≥", CONSTANT, 1 - SLOPE / 3)


def answers_constantly(facts: Facts) -> Condition:
    if facts.silent:
        what = f"layers all of whose units are dead ({', '.join(facts.silent)})"
        return Condition(what, len(facts.silent), "≥", 1, 1)
    loss = facts.loss - facts.objective.penalty(facts.point)
    share = loss / facts.constant if _tells(facts.constant) else float("inf")
    what = "loss, as a share of the best constant answer's"
    return Condition(what, share, "≤", NEAR_CONSTANT, 1.01)


def slopes_inside(facts: Facts) -> Condition:
    what = "share of the loss that Newton steps inside the mask win"
    return Condition(what, facts.inside.decrease / facts.scale, "≥", SLOPE, 3 * SLOPE)


def stationary_inside(facts: Facts) -> Condition:
    what = "share of the loss that Newton steps inside the mask win"
    return Condition(what, facts.inside.decrease / facts.scale, "≤", SLOPE, SLOPE / 3)


def negative_inside(facts: Facts) -> Condition:
    s = facts.stationarity
    norm = max(abs(s.smallest_inside), abs(s.largest_inside)) or 1.0
    what = "smallest eigenvalue inside the mask, its bound added, as a share of the largest"
    share = (s.smallest_inside + s.bounds["smallest_inside"]) / norm
    return Condition(what, share, "≤", -NEGATIVE, -10 * NEGATIVE)


def falls_along_it(facts: Facts) -> Condition:
    what = "share of the loss that a step along its vector, and Newton steps from there, win"
    return Condition(what, facts.away.decrease / facts.scale, "≥", SLOPE, 3 * SLOPE)


def steep_outside(facts: Facts) -> Condition:
    limit = max(SLOPE, STEEPER * facts.inside.decrease / facts.scale)
    what = "share of the loss that Newton steps in the dense space win"
    return Condition(what, facts.dense.decrease / facts.scale, "≥", limit, 3 * limit)


def climbs_inside(facts: Facts) -> Condition | None:
    if facts.reference is None:
        return None
    found = facts.sparse_path
    if found is None:
        what = "climb to the reference, which lies outside the mask: there is no path"
        return Condition(what, float("inf"), "≥", 0.0, float("nan"))
    tolerance = found.profile.tolerance
    what = f"climb of the best path inside the mask ({found.passes} passes)"
    return Condition(what, found.profile.climb, "≥", tolerance, 3 * tolerance)
