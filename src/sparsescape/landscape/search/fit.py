"""Finding a path: training the free control points of a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import InputError, is_real, is_whole, shown, unknown
from ...kernels.execution import Compressed, compressed
from ...objective import Batch, Objective, check_objective
from ...schedules import cosine
from ...seeds import generator
from ...training.batches import Batches
from ...training.checkpoints import Checkpoint, ShardedCheckpoint
from ...training.ranks import ALONE, Alone
from ...training.trainer import Observer, Run
from ..curves.curve import Curve
from .batched import Losses
from .goals import Goal, find_goal
from .sampling import SAMPLINGS, Evenly, WhereHigh


@dataclass(frozen=True)
class Search:
    """How hard was searched for a path."""

    steps: int
    """Optimizer steps."""
    passes: int
    """Forward and backward passes over a batch: points on the curve looked at, over all steps."""
    examples: int
    """Training examples seen, over all passes."""
    diverged: bool
    """Whether it was given up at a loss that is not finite."""
    run_sparse: tuple[str, ...] = ()
    """Weights of the layers that were run sparse (:mod:`sparsescape.kernels.execution`)."""


OPTIMIZERS: dict[str, Callable[[Iterable[Tensor], float, float], torch.optim.Optimizer]] = {
    "sgd": lambda p, lr, momentum: torch.optim.SGD(p, lr=lr, momentum=momentum, fused=True),
    "adam": lambda p, lr, momentum: torch.optim.Adam(p, lr=lr, betas=(momentum, 0.999), fused=True),
}
"""Name → from parameters, learning rate and momentum to the optimizer of a search."""


def check_search(
    goal: str | Goal, optimizer: str, sampling: str, lr: float, steps: int, batch_size: int
) -> None:
    """Whether a search can be made with these settings.

    Raises:
        InputError: no goal, optimizer or sampling of that name, or a number that makes no sense.
    """
    find_goal(goal)
    for kind, name, known in (
        ("optimizer", optimizer, OPTIMIZERS),
        ("sampling", sampling, SAMPLINGS),
    ):
        if not isinstance(name, str) or name not in known:
            raise unknown(kind, str(name), known)
    if not (is_real(lr) and 0 < lr < math.inf):
        raise InputError(f"The learning rate is above 0 and finite, not {lr!r:.60}.")
    if not is_whole(steps, 0) or not is_whole(batch_size, 1):
        raise InputError(
            f"Steps are 0 or more, a batch 1 or more, and whole, not {steps} and {batch_size}."
        )


def check_enough(enough: float | None) -> None:
    """
    Raises:
        InputError: it is no number.
    """
    if enough is not None and not is_real(enough):
        raise InputError(f"A goal that is low enough is a number, not {enough!r:.60}.")


def fit_curve(
    curve: Curve,
    objective: Objective,
    *,
    goal: str | Goal = "mean",
    steps: int = 3000,
    lr: float = 0.05,
    batch_size: int = 100,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    sampling: str = "even",
    enough: float | None = None,
    seed: int = 0,
    checkpoint: Checkpoint | ShardedCheckpoint | None = None,
    observe: Observer | None = None,
    ranks: Alone = ALONE,
) -> Search:
    """Train the curve until a goal is low along it, in place; by default the mean loss.

    Every step draws one batch and as many t as the goal looks at, one in each of as many equal
    parts of [0, 1], and takes a step of the optimizer down the gradient of the goal of that
    batch's losses at θ(t); the learning rate goes to 0 along a cosine. With the mean, one t and SGD
    with momentum it is the search of Garipov et al. 2018, section 3.1. A curve without free control
    points is left as it is.

    Args:
        curve: trained in place.
        objective: where its data are tensors, batches are drawn from them.
        goal: ``"mean"``, ``"worst"``, ``"uphill"`` (see :mod:`sparsescape.landscape.search.goals`),
            or a goal of one's own.
        steps, lr, batch_size: of the search.
        optimizer: ``"sgd"`` or ``"adam"``.
        momentum: of SGD; Adam's first β.
        sampling: where t are drawn: ``"even"``, or ``"high"``: more often where the loss is high
            (see :mod:`sparsescape.landscape.search.sampling`).
        enough: the search ends once the goal has not been above this for 15 steps in a row.
        seed: decides every t and every batch, the same for the sparse and the dense case.
        checkpoint, observe: as in :class:`sparsescape.training.trainer.Run`.
        ranks: the processes that search together, each with its part of every batch.

    Raises:
        InputError: no goal, optimizer or sampling of that name, a curve between points of another
            model, or a number that makes no sense.

    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> from sparsescape import Bezier
    >>> ends = {"weight": torch.ones(1, 1)}, {"weight": -torch.ones(1, 1)}
    >>> fit_curve(Bezier(*ends, degree=2), objective, steps=5, batch_size=4)
    Search(steps=5, passes=5, examples=20, diverged=False, run_sparse=())
    """
    if not isinstance(curve, Curve):
        raise InputError(f"What is fitted is a curve, not {shown(curve)}.")
    check_objective(objective)
    objective.check(curve.start)
    objective.check(curve.end)
    goal = find_goal(goal)
    check_search(goal, optimizer, sampling, lr, steps, batch_size)
    if not (is_real(momentum) and 0 <= momentum < 1):
        raise InputError(f"The momentum is from 0 to below 1, not {momentum!r:.60}.")
    check_enough(enough)
    batches = Batches(objective.examples(), batch_size=batch_size, seed=seed)
    if not curve.control.numel():
        return Search(0, 0, 0, diverged=False)
    form = _sparse_form(curve, objective, goal)
    trained, seen = curve, objective
    if form is not None:
        trained, seen = curve.carried(form.into, form.rest(curve.subspace)), form.objective
    drawn = torch.rand(steps, goal.drawn, generator=generator(seed, "t along the curve"))
    parts = (torch.arange(goal.drawn) + drawn) / goal.drawn
    where = SAMPLINGS[sampling]()
    walk = _Walk(trained, where, goal, seen, enough, ranks)
    run = Run(
        module=walk,
        loss=lambda step: walk(parts[step], batches(step)),
        optimizer=OPTIMIZERS[optimizer](trained.parameters(), lr, momentum),
        learning_rate=cosine(lr, end=steps),
        steps=steps,
        enough=walk.is_enough,
        transform=lambda: ranks.average(trained.parameters()),
        ranks=ranks,
    )
    outcome = run.train(checkpoint, observe)
    if form is not None:
        curve.set_control_points([form.back(point) for point in trained.control_points()])
    passes = outcome.steps * goal.points
    examples, layers = passes * batches.batch_size, tuple(form.mask if form is not None else ())
    return Search(outcome.steps, passes, examples, outcome.diverged, layers)


def _sparse_form(curve: Curve, objective: Objective, goal: Goal) -> Compressed | None:
    """The network of a search inside a mask, run sparse where that is faster.

    Not where a step looks at several points: a small network sees them in one vectorized pass,
    which sparse layers have none of.
    """
    if curve.subspace is None or goal.points > 1:
        return None
    return compressed(objective, curve.subspace)


_IN_A_ROW = 15
"""Steps of a search for which a goal is low before it is believed: each looks elsewhere."""


class _Walk(nn.Module):
    """A curve and where to look on it: all of a search that its steps change."""

    low: Tensor

    def __init__(
        self,
        curve: Curve,
        where: Evenly | WhereHigh,
        goal: Goal,
        objective: Objective,
        enough: float | None,
        ranks: Alone,
    ):
        super().__init__()
        self.curve, self.where, self.ranks = curve, where, ranks
        self.goal, self.objective, self.enough = goal, objective, enough
        self.losses = Losses(objective)
        self.register_buffer("low", torch.zeros((), dtype=torch.int64))

    def forward(self, parts: Tensor, batch: Batch) -> Tensor:
        """The goal on one batch."""
        t, weights = self.where(parts)
        batch, share = self.ranks.part(batch)
        found = self._one(t, batch) if self.goal.points == 1 else self._several(t, batch)
        losses = self.ranks.mean(found * share)
        self.where.saw(t, losses.detach()[1:-1] if self.goal.ends else losses.detach())
        return self.goal.of(losses, weights.to(losses))

    def _one(self, t: Tensor, batch: Batch) -> Tensor:
        point = self.curve.crossing if self.goal.across else self.curve
        return self.objective.batch_loss(point(t.item()), batch).reshape(1)

    def _several(self, t: Tensor, batch: Batch) -> Tensor:
        """The losses at the drawn t, between those at the ends where the goal wants them."""
        at = [0.0, *t.tolist(), 1.0] if self.goal.ends else t.tolist()
        return self.losses(self.curve.several(at, crossing=self.goal.across), batch)

    def is_enough(self, value: float) -> bool:
        """Whether the goal has been low for long; what it counts is part of the state."""
        if self.enough is None:
            return False
        self.low.copy_(self.low + 1 if value <= self.enough else 0 * self.low)
        return int(self.low) >= _IN_A_ROW
