"""Which kind of stuck: the rules, in the order in which they are asked.

Every rule is a list of conditions that must all hold; the first rule that holds is the verdict.
A condition compares one measured number with a limit. How sure it is: whether the number is past
a second limit, farther out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeGuard

from .facts import Facts

SLOPE = 0.05
"""Share of the loss that three Newton steps have to win for the gradient not to be small."""

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


@dataclass(frozen=True)
class Remedy:
    """What to try."""

    why: str
    code: str
    """A line of Python, with ``model``, ``objective``, ``point``, ``mask``, ``reference`` and
    ``diagnosis`` as in the call of :func:`sparsescape.diagnose`."""
    command: str = ""
    """A command line, with the run's settings in braces."""
    finds_reference: bool = False
    """Whether it is for those who gave none."""


@dataclass(frozen=True)
class Rule:
    """A verdict, when it is given, and what follows from it."""

    verdict: str
    meaning: str
    conditions: tuple[Callable[[Facts], Condition | None], ...]
    """Asked in order, up to the first that does not hold: later ones may be costly. None: it
    cannot be said without a reference."""
    remedies: tuple[Remedy, ...]


def par(loss: float, constant: float | None) -> tuple[float, float]:
    """The loss up to which a point is on par with one of this loss, and is so beyond doubt."""
    slack = 0.005 * abs(constant or 0.0)
    return loss + 0.1 * abs(loss) + slack, loss + 0.02 * abs(loss) + slack


# ---------------------------------------------------------------------------- conditions


def _emptied(facts: Facts) -> Condition:
    names = ", ".join(facts.emptied) or "none"
    return Condition(
        f"weights that the mask closes altogether ({names})", len(facts.emptied), "≥", 1, 1
    )


def _in_the_way(facts: Facts) -> Condition:
    """An emptied layer with a way around it, in a residual network, need not matter."""
    if not facts.answers_vary:
        return Condition("the answers are the same for all examples", 1, "≥", 1, 1)
    if facts.reference is None:
        return Condition("a signal finds its way around", 1, "≥", 1, 2)
    limit, _ = par(facts.reference_loss, facts.constant)
    return Condition("loss, against being on par with the reference", facts.loss, "≥", limit, limit)


def _on_par(facts: Facts) -> Condition | None:
    if facts.reference is None:
        return None
    what = f"loss, against {facts.reference_loss:.4g} of the reference"
    return Condition(what, facts.loss, "≤", *par(facts.reference_loss, facts.constant))


def _tells(constant: float | None) -> TypeGuard[float]:
    """Whether shares of it mean anything: a loss of densities may be 0 or below."""
    return constant is not None and constant > 0


def _learned_nothing(facts: Facts) -> Condition:
    what = "lowest loss that any step reaches, as a share of the best constant answer's"
    share = facts.lowest / facts.constant if _tells(facts.constant) else float("-inf")
    return Condition(what, share, "≥", CONSTANT, 1 - SLOPE / 3)


def _answers_constantly(facts: Facts) -> Condition:
    if facts.silent:
        what = f"layers all of whose units are dead ({', '.join(facts.silent)})"
        return Condition(what, len(facts.silent), "≥", 1, 1)
    loss = facts.loss - facts.objective.penalty(facts.point)
    share = loss / facts.constant if _tells(facts.constant) else float("inf")
    what = "loss, as a share of the best constant answer's"
    return Condition(what, share, "≤", NEAR_CONSTANT, 1.01)


def _slopes_inside(facts: Facts) -> Condition:
    what = "share of the loss that Newton steps inside the mask win"
    return Condition(what, facts.inside.decrease / facts.scale, "≥", SLOPE, 3 * SLOPE)


def _stationary_inside(facts: Facts) -> Condition:
    what = "share of the loss that Newton steps inside the mask win"
    return Condition(what, facts.inside.decrease / facts.scale, "≤", SLOPE, SLOPE / 3)


def _negative_inside(facts: Facts) -> Condition:
    s = facts.stationarity
    norm = max(abs(s.smallest_inside), abs(s.largest_inside)) or 1.0
    what = "smallest eigenvalue inside the mask, its bound added, as a share of the largest"
    share = (s.smallest_inside + s.bounds["smallest_inside"]) / norm
    return Condition(what, share, "≤", -NEGATIVE, -10 * NEGATIVE)


def _falls_along_it(facts: Facts) -> Condition:
    what = "share of the loss that a step along its vector, and Newton steps from there, win"
    return Condition(what, facts.downward.decrease / facts.scale, "≥", SLOPE, 3 * SLOPE)


def _steep_outside(facts: Facts) -> Condition:
    limit = max(SLOPE, STEEPER * facts.inside.decrease / facts.scale)
    what = "share of the loss that Newton steps in the dense space win"
    return Condition(what, facts.dense.decrease / facts.scale, "≥", limit, 3 * limit)


def _climbs_inside(facts: Facts) -> Condition | None:
    if facts.reference is None:
        return None
    found = facts.sparse_path
    if found is None:
        what = "climb to the reference, which lies outside the mask: there is no path"
        return Condition(what, float("inf"), "≥", 0.0, float("nan"))
    tolerance = found.profile.tolerance
    what = f"climb of the best path inside the mask ({found.passes} passes)"
    return Condition(what, found.profile.climb, "≥", tolerance, 3 * tolerance)


# ---------------------------------------------------------------------------- the table

_TRAIN = "sparsescape train --problem {problem} --sparsity {sparsity} --seed {seed}"

RULES = (
    Rule(
        "collapsed layer",
        "The mask closes all weights of a layer: nothing that is learned before it arrives.",
        (_emptied, _in_the_way),
        (
            Remedy(
                "choose how many weights each layer keeps, so that every one keeps some",
                "mask = ss.Mask.from_scores(ss.scores.magnitude(model), "
                "densities=ss.distributions.erk(model, sparsity=mask.sparsity))",
                f"{_TRAIN} --method {{method}} --distribution erk",
            ),
            Remedy(
                "or let every layer keep the same share",
                "mask = ss.Mask.from_scores(ss.scores.magnitude(model), "
                "densities=ss.distributions.uniform(model, sparsity=mask.sparsity))",
                f"{_TRAIN} --method {{method}} --distribution uniform",
            ),
        ),
    ),
    Rule(
        "good enough",
        "The loss is on par with the reference's: this run is not stuck.",
        (_on_par,),
        (
            Remedy(
                "see whether the two are one solution, joined without a climb",
                "ss.find_path(point, reference, objective, subspace=mask).profile.climb",
                "sparsescape path {run} {reference} --space sparse{own}",
            ),
        ),
    ),
    Rule(
        "plateau / dead signal",
        "The network answers the same whatever it is shown, and no step changes that: the signal "
        "dies on its way.",
        (_learned_nothing, _answers_constantly),
        (
            Remedy(
                "start again from weights drawn at the scale of the sparse fan-in",
                "ss.init.sparse_fan_in(model, mask, seed=0)",
                "sparsescape study difficulty --problem {problem} --sparsity {sparsity}",
            ),
            Remedy(
                "or train dense, where the signal passes, and prune on the way",
                "ss.GradualMagnitude(sparsity=mask.sparsity).attach(model, optimizer)",
                f"{_TRAIN} --method gradual-magnitude",
            ),
        ),
    ),
    Rule(
        "under-trained",
        "The gradient inside the mask is not small: there is a way down, and it was not gone.",
        (_slopes_inside,),
        (
            Remedy(
                "train on, or longer",
                "model.load_state_dict({**model.state_dict(), **diagnosis.better})",
                f"{_TRAIN} --method {{method}} --steps {{more_steps}}",
            ),
        ),
    ),
    Rule(
        "saddle",
        "Stationary inside the mask, but not at a minimum: the loss falls along a direction of "
        "negative curvature, which the gradient does not see.",
        (_stationary_inside, _negative_inside, _falls_along_it),
        (
            Remedy(
                "go on from the lower point that was found along that direction",
                "model.load_state_dict({**model.state_dict(), **diagnosis.better})",
            ),
            Remedy(
                "or start again elsewhere",
                "ss.init.sparse_fan_in(model, mask, seed=1)",
                "sparsescape train --problem {problem} --sparsity {sparsity} --method {method} "
                "--seed {other_seed}",
            ),
        ),
    ),
    Rule(
        "walled in",
        "A minimum inside the mask, a slope outside it, and no way to the reference inside without "
        "a climb: what is missing is dimensions.",
        (_stationary_inside, _steep_outside, _climbs_inside),
        (
            Remedy(
                "let the mask move along the gradient",
                "ss.RigL(sparsity=mask.sparsity).attach(model, optimizer)",
                f"{_TRAIN} --method rigl",
            ),
            Remedy(
                "find out how many dimensions it takes",
                'ss.extra_dimensions(point, reference, mask, objective, choose="gradient").count',
                "sparsescape path {run} {reference} --space dense{own}",
            ),
            Remedy(
                "or go through the dense space and prune anew",
                "ss.GradualMagnitude(sparsity=mask.sparsity).attach(model, optimizer)",
                f"{_TRAIN} --method gradual-magnitude",
            ),
        ),
    ),
)

UNDECIDED = Rule(
    "undecided",
    "None of the rules holds.",
    (),
    (
        Remedy(
            "compare it with a better point: a pruned run of the same sparsity, say",
            "ss.diagnose(objective, point, mask, reference=reference)",
            "sparsescape diagnose {run} --reference PRUNED_RUN{own}",
            finds_reference=True,
        ),
        Remedy(
            "see whether a path leads to a better point inside the mask",
            "ss.find_path(point, reference, objective, subspace=mask).profile.climb",
            "sparsescape path {run} {reference} --space sparse{own}",
        ),
    ),
)

VERDICTS: Mapping[str, Rule] = {rule.verdict: rule for rule in (*RULES, UNDECIDED)}
