"""How a problem is trained: numbers only, so that every one of them can be part of a key."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of SGD training; all counts are optimizer steps.

    The learning rate is ``lr``, warmed up over ``warmup`` steps and taken to 0 along a cosine
    (Loshchilov & Hutter 2017), or constant. Pruning methods prune from ``prune_begin`` to
    ``prune_end``.

    >>> Recipe(steps=2000).prune_begin, Recipe(steps=2000).prune_end
    (500, 1500)

    Raises:
        InputError: a number that makes no sense.
    """

    steps: int = 2000
    batch_size: int = 100
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: str = "cosine"
    """``"cosine"`` or ``"constant"``."""
    prune_begin: int = -1
    """First step at which weights are pruned; a quarter of all steps unless given."""
    prune_end: int = -1
    """Last step at which weights are pruned; three quarters of all steps unless given."""
    prune_every: int = 50

    def __post_init__(self) -> None:
        if self.prune_begin < 0:
            object.__setattr__(self, "prune_begin", self.steps // 4)
        if self.prune_end < 0:
            object.__setattr__(self, "prune_end", self.steps * 3 // 4)
        for name in ("steps", "batch_size", "prune_every"):
            if getattr(self, name) < 1:
                raise InputError(f"A recipe's {name} is at least 1, not {getattr(self, name)}.")
        if not self.lr > 0:
            raise InputError(f"A recipe's lr is above 0, not {self.lr}.")
        if self.schedule not in ("cosine", "constant"):
            raise InputError(f"A recipe's schedule is cosine or constant, not {self.schedule!r}.")
        if not self.prune_begin <= self.prune_end <= self.steps:
            raise InputError(
                f"Pruning from step {self.prune_begin} to {self.prune_end} does not fit "
                f"into {self.steps} steps."
            )
