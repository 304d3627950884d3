"""Which kind of stuck: the rules, in the order in which they are asked.

Every rule is a list of conditions that must all hold; the first rule that holds is the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .conditions import (
    Condition,
    answers_constantly,
    climbs_inside,
    emptied,
    falls_along_it,
    in_the_way,
    learned_nothing,
    negative_inside,
    on_par,
    slopes_inside,
    stationary_inside,
    steep_outside,
)
from .facts import Facts


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
    makes_mask: bool = False
    """Whether its command trains with a mask that the run's method makes, which for a run that was
    given its mask is another one."""


@dataclass(frozen=True)
class Rule:
    """A verdict, when it is given, and what follows from it."""

    verdict: str
    meaning: str
    conditions: tuple[Callable[[Facts], Condition | None], ...]
    """Asked in order, up to the first that does not hold: later ones may be costly. None: it
    cannot be said without a reference."""
    remedies: tuple[Remedy, ...]


_TRAIN = "sparsescape train --problem {problem} --sparsity {sparsity} --seed {seed}{execution}"

RULES = (
    Rule(
        "collapsed layer",
        "The mask closes all weights of a layer: nothing that is learned before it arrives.",
        (emptied, in_the_way),
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
        (on_par,),
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
        (learned_nothing, answers_constantly),
        (
            Remedy(
                "start again from weights drawn at the scale of the sparse fan-in",
                "ss.init.sparse_fan_in(model, mask, seed=0)",
                "sparsescape study difficulty --problem {problem} --sparsity {sparsity}{execution}",
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
        (slopes_inside,),
        (
            Remedy(
                "train on, or longer",
                "model.load_state_dict({**model.state_dict(), **diagnosis.better})",
                f"{_TRAIN} --method {{method}} --steps {{more_steps}}",
                makes_mask=True,
            ),
        ),
    ),
    Rule(
        "saddle",
        "Stationary inside the mask, but not at a minimum: the loss falls along a direction of "
        "negative curvature, which the gradient does not see.",
        (stationary_inside, negative_inside, falls_along_it),
        (
            Remedy(
                "go on from the lower point that was found along that direction",
                "model.load_state_dict({**model.state_dict(), **diagnosis.better})",
            ),
            Remedy(
                "or start again elsewhere",
                "ss.init.sparse_fan_in(model, mask, seed=1)",
                "sparsescape train --problem {problem} --sparsity {sparsity} --method {method} "
                "--seed {other_seed}{execution}",
                makes_mask=True,
            ),
        ),
    ),
    Rule(
        "walled in",
        "A minimum inside the mask, a slope outside it, and no way to the reference inside without "
        "a climb: what is missing is dimensions.",
        (stationary_inside, steep_outside, climbs_inside),
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
