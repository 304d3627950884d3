"""The one training loop: for networks, and for the curves between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..schedules import Schedule
from ..sparsifiers.base import Sparsifier
from ..sparsifiers.shards import local
from .checkpoints import Checkpoint, ShardedCheckpoint
from .ranks import ALONE, Alone

Observer = Callable[[int, float], None]


@dataclass(frozen=True)
class Outcome:
    """How a training run ended."""

    steps: int
    """Optimizer steps taken."""
    diverged: bool
    """Whether it was given up, at a loss or a weight that is not finite."""
    cost: float = 0.0
    """The sum of what the steps cost."""


@dataclass
class Run:
    """A training run: a module, its loss, an optimizer, and perhaps a sparsifier.

    Args:
        module: what is trained.
        loss: from the step to the loss of that step's batch, as a scalar tensor.
        optimizer: over the module's parameters; its learning rate is set at every step.
        learning_rate: from the step to the learning rate.
        steps: the step it ends before; how many there are, of a run that begins at 0.
        sparsifier: attached already.
        cost: what the next step costs, in whatever is counted (FLOPs, say); added up.
        first: the step it begins with, of a run that is a part of a longer one.
        transform: called between the gradients and the step, to change the gradients in place:
            what a step follows need not be the gradient of a loss.

    A run is the same bits however often it is interrupted: :meth:`train` with a checkpoint goes
    on from the last one.
    """

    module: nn.Module
    loss: Callable[[int], Tensor]
    optimizer: torch.optim.Optimizer
    learning_rate: Schedule
    steps: int
    sparsifier: Sparsifier | None = None
    cost: Callable[[], float] = lambda: 0.0
    spent: float = 0.0
    first: int = 0
    transform: Callable[[], None] = lambda: None
    enough: Callable[[float], bool] = lambda loss: False
    ranks: Alone = ALONE
    """Who trains together; the loss is then the weighted one of this rank's part of the batch."""

    def train(
        self,
        checkpoint: Checkpoint | ShardedCheckpoint | None = None,
        observe: Observer | None = None,
    ) -> Outcome:
        """Take all steps that have not been taken yet.

        Args:
            checkpoint: where to go on from, and where to leave the state now and then.
            observe: called after every step with the step's number and its loss.
        """
        for step in range(self._resume(checkpoint), self.steps):
            loss = self.take(step)
            if observe is not None:
                observe(step, loss)
            if not math.isfinite(loss):
                return Outcome(step - self.first, diverged=True, cost=self.spent)
            if self.enough(loss):
                return Outcome(step + 1 - self.first, not self._is_finite(), self.spent)
            if checkpoint is not None and checkpoint.due:
                checkpoint.save(self.state(step + 1))
        return Outcome(self.steps - self.first, not self._is_finite(), self.spent)

    def take(self, step: int) -> float:
        """One optimizer step; returns the loss before it. Nothing moves on a loss not finite."""
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(step)
        value = self.ranks.value(loss)
        if math.isfinite(value):
            self.spent += self.cost()
            loss.backward()
            self.transform()
            self.optimizer.step()
        return value

    def _is_finite(self) -> bool:
        finite = all(bool(local(p).isfinite().all()) for p in self.module.parameters())
        return not self.ranks.any(not finite)

    def state(self, step: int) -> dict[str, object]:
        """Everything that a step changes."""
        return {
            "step": step,
            "random": torch.get_rng_state(),  # of dropout, say
            "random_gpu": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
            "spent": self.spent,
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "sparsifier": self.sparsifier and self.sparsifier.state_dict(),
        }

    def _resume(self, checkpoint: Checkpoint | ShardedCheckpoint | None) -> int:
        state = checkpoint.load() if checkpoint is not None else None
        if state is None:
            return self.first
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.sparsifier is not None:
            self.sparsifier.load_state_dict(state["sparsifier"])
        torch.set_rng_state(state["random"])
        if state["random_gpu"] is not None:
            torch.cuda.set_rng_state(state["random_gpu"])
        self.spent = state["spent"]
        return state["step"]
