"""Finding a path: training the free control points of a curve."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..objective import Objective
from ..schedules import cosine
from ..seeds import generator
from ..training.batches import Batches
from ..training.checkpoints import Checkpoint
from ..training.trainer import Observer, Run
from .curves import Curve


@dataclass(frozen=True)
class Search:
    """How hard was searched for a path."""

    steps: int
    """Optimizer steps, each one forward and backward pass over a batch at one t."""
    examples: int
    """Training examples seen, over all passes."""
    diverged: bool
    """Whether it was given up at a loss that is not finite."""


def fit_curve(
    curve: Curve,
    objective: Objective,
    *,
    steps: int = 3000,
    lr: float = 0.05,
    batch_size: int = 100,
    momentum: float = 0.9,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    observe: Observer | None = None,
) -> Search:
    """Train the curve for a low mean loss along it, E over t ~ U(0, 1) of L(θ(t)), in place.

    Every step draws one t and one batch, and takes a step of SGD with momentum down the gradient
    of the batch's loss at θ(t); the learning rate goes to 0 along a cosine. Garipov et al. 2018,
    section 3.1. A curve without free control points is left as it is.

    Args:
        curve: trained in place.
        objective: where its data are tensors, batches are drawn from them.
        steps, lr, batch_size, momentum: of the search.
        seed: decides every t and every batch, the same for the sparse and the dense case.
        checkpoint, observe: as in :class:`sparsescape.training.trainer.Run`.

    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> from sparsescape import Bezier
    >>> ends = {"weight": torch.ones(1, 1)}, {"weight": -torch.ones(1, 1)}
    >>> fit_curve(Bezier(*ends, degree=2), objective, steps=5, batch_size=4)
    Search(steps=5, examples=20, diverged=False)
    """
    batches = Batches(objective.tensors(), batch_size=batch_size, seed=seed)
    if not curve.control.numel():
        return Search(0, 0, diverged=False)
    t = torch.rand(steps, generator=generator(seed, "t along the curve")).tolist()
    run = Run(
        module=curve,
        loss=lambda step: objective.batch_loss(curve(t[step]), batches(step)),
        optimizer=torch.optim.SGD(curve.parameters(), lr=lr, momentum=momentum, fused=True),
        learning_rate=cosine(lr, end=steps),
        steps=steps,
    )
    outcome = run.train(checkpoint, observe)
    return Search(outcome.steps, outcome.steps * batches.batch_size, outcome.diverged)
