"""Which kind of stuck a sparse solution is, with the evidence, and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ...masks import Mask, check_mask
from ...objective import Objective, check_objective
from ...points import Point, PointLike, snapshot
from ..curvature.stationarity import Stationarity
from ..search.paths import FoundPath
from ..search.trials import TRIALS, Trial, check_trials
from .conditions import Condition
from .facts import Facts
from .rules import RULES, UNDECIDED, VERDICTS, Remedy, Rule

Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Diagnosis:
    """A verdict and all that it rests on."""

    verdict: str
    """collapsed layer, good enough, plateau / dead signal, under-trained, saddle, walled in; or
    undecided."""
    confidence: Confidence
    """high: every condition holds beyond doubt (:attr:`Condition.sure`); medium: all but one;
    low: fewer, or nothing was decided."""
    evidence: tuple[Condition, ...]
    """The conditions of the verdict's rule."""
    ruled_out: dict[str, Condition]
    """Verdict that was asked for before → the condition that did not hold."""
    open: tuple[str, ...]
    """Verdicts that could not be decided without a reference."""
    loss: float
    reference_loss: float | None
    constant_loss: float | None
    """Of the best constant answer: what can be had without learning anything of the inputs."""
    stationarity: Stationarity
    better: Point | None
    """The lower point that the verdict's own step found: inside the mask where the run is
    under-trained or at a saddle, in the dense space where it is walled in."""
    sparse_path: FoundPath | None
    """The best path to the reference inside the mask, where one was searched for."""
    dense_path: FoundPath | None
    """And through all of weight space."""

    @property
    def meaning(self) -> str:
        return VERDICTS[self.verdict].meaning

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """What to try."""
        all_ = VERDICTS[self.verdict].remedies
        given = self.reference_loss is not None
        return tuple(remedy for remedy in all_ if not (given and remedy.finds_reference))

    def __str__(self) -> str:
        lines = [f"{self.verdict} (confidence: {self.confidence})", self.meaning]
        lines += [f"  {condition}" for condition in self.evidence]
        if self.open:
            lines.append(f"open without a reference: {', '.join(self.open)}")
        lines.append("try:")
        lines += [f"  {remedy.code}  # {remedy.why}" for remedy in self.remedies]
        return "\n".join(lines)


def diagnose(
    objective: Objective,
    point: PointLike,
    mask: Mask | None = None,
    reference: PointLike | None = None,
    *,
    trials: Sequence[Trial] = TRIALS,
    seed: int = 0,
) -> Diagnosis:
    """Which kind of stuck a point is. The rules, their order and their limits: docs/diagnosis.md.

    Give the objective the weight decay that the run was trained with.

    Args:
        mask: the subspace that the run was trained in; None is all of weight space.
        reference: a better point, a pruned solution for instance. Without one the verdicts that
            compare with it (good enough, walled in) are left open.
        trials: the search for a path to the reference, made only where the verdict hangs on it.
        seed: decides every draw.

    Raises:
        InputError: a point or the mask does not fit the model, the point lies outside the mask,
            the loss at one is not finite, or there is no trial.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> data = torch.eye(2), torch.ones(2, 1)
    >>> objective = Objective(model, data, loss=torch.nn.functional.mse_loss)
    >>> far = {"weight": torch.full((1, 2), 3.0), "bias": torch.zeros(1)}
    >>> print(diagnose(objective, far).verdict)
    under-trained
    """
    check_objective(objective)
    check_trials(trials)
    check_mask(mask)
    if mask is not None:
        mask.check_contains(point)
    facts = Facts(objective, point, mask, reference, trials, seed)
    rule, evidence, ruled_out, open_ = _decide(facts)
    walled = rule.verdict == "walled in"
    return Diagnosis(
        verdict=rule.verdict,
        confidence=_confidence(rule, evidence),
        evidence=evidence,
        ruled_out=ruled_out,
        open=open_,
        loss=facts.loss,
        reference_loss=None if facts.reference is None else facts.reference_loss,
        constant_loss=facts.constant,
        stationarity=facts.stationarity,
        better=_better(rule.verdict, facts),
        sparse_path=facts.searched,
        dense_path=facts.dense_path if walled else None,
    )


def _decide(
    facts: Facts,
) -> tuple[Rule, tuple[Condition, ...], dict[str, Condition], tuple[str, ...]]:
    """The first rule that holds, what it rests on, and what became of those before it."""
    ruled_out: dict[str, Condition] = {}
    open_: list[str] = []
    for rule in RULES:
        asked = list(_ask(rule, facts))
        failed = [c for c in asked if c is not None and not c.holds]
        if failed:
            ruled_out[rule.verdict] = failed[0]
        elif None in asked:
            open_.append(rule.verdict)
        else:
            return rule, tuple(c for c in asked if c is not None), ruled_out, tuple(open_)
    return UNDECIDED, (), ruled_out, tuple(open_)


def _ask(rule: Rule, facts: Facts) -> Iterator[Condition | None]:
    for ask in rule.conditions:
        condition = ask(facts)
        yield condition
        if condition is not None and not condition.holds:
            return


def _confidence(rule: Rule, evidence: tuple[Condition, ...]) -> Confidence:
    if rule is UNDECIDED:
        return "low"
    doubtful = sum(not condition.is_sure for condition in evidence)
    return "high" if not doubtful else "medium" if doubtful == 1 else "low"


def _better(verdict: str, facts: Facts) -> Point | None:
    found = {"under-trained": "inside", "saddle": "away", "walled in": "dense"}
    # Its buffers are the model's own until they are copied.
    return snapshot(getattr(facts, found[verdict]).point) if verdict in found else None
