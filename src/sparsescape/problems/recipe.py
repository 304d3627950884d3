"""How a problem is trained: numbers only, so that every one of them can be part of a key."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError

_CHOICES = {
    "schedule": ("step", "cosine", "constant"),
    "optimizer": ("sgd", "adamw"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training; all counts are optimizer steps.

    The learning rate is ``lr``, warmed up over ``warmup`` steps and taken to ``final_lr`` along a
    cosine (Loshchilov & Hutter 2017), or multiplied by ``decay_factor`` at each of ``decay_at``,
    or constant. Pruning methods prune from ``prune_begin`` to ``prune_end``.

    >>> recipe = Recipe(steps=2000)
    >>> recipe.prune_begin, recipe.prune_end, recipe.prune_every
    (500, 1500, 50)

    Raises:
        InputError: a number that makes no sense.
    """

    steps: int = 2000
    batch_size: int = 100
    lr: float = 0.1
    momentum: float = 0.9
    """Of SGD; of AdamW the decay of the mean of the gradients, β₁."""
    nesterov: bool = False
    weight_decay: float = 0.0
    """Of SGD: λ of the regularizer (λ/2)·‖θ‖². Of AdamW: decoupled, times the learning rate, and
    of parameters with two dimensions or more alone (Loshchilov & Hutter 2019)."""
    warmup: int = 0
    schedule: str = "cosine"
    """``"cosine"``, ``"step"`` or ``"constant"``."""
    decay_at: tuple[int, ...] = ()
    decay_factor: float = 0.1
    final_lr: float = 0.0
    optimizer: str = "sgd"
    """``"sgd"`` or ``"adamw"``."""
    beta2: float = 0.999
    """Of AdamW: the decay of the mean of the squared gradients."""
    clip: float = 0.0
    """Norm to which the gradient is cut down where it is larger; 0 for never."""
    label_smoothing: float = 0.0
    """Of cross entropy (Szegedy et al. 2016, section 7): a part of the loss, wherever it is
    evaluated."""
    precision: str = "float32"
    """``"bfloat16"``: the forward pass in mixed precision (``torch.autocast``), the parameters,
    the optimizer and every evaluation in 32 bits."""
    compile: bool = False
    """Whether ``torch.compile`` makes the training step, on a GPU; on a CPU it never does."""
    prune_begin: int = -1
    """First step at which weights are pruned; a quarter of all steps unless given."""
    prune_end: int = -1
    """Last step at which weights are pruned; three quarters of all steps unless given."""
    prune_every: int = -1
    """Steps between two updates of a mask; a twentieth of all steps unless given, 50 at most."""

    def __post_init__(self) -> None:
        if self.prune_begin < 0:
            object.__setattr__(self, "prune_begin", self.steps // 4)
        if self.prune_end < 0:
            object.__setattr__(self, "prune_end", self.steps * 3 // 4)
        object.__setattr__(self, "decay_at", tuple(self.decay_at))
        if self.prune_every < 0:
            object.__setattr__(self, "prune_every", max(1, min(50, self.steps // 20)))
        for name in ("steps", "batch_size", "prune_every"):
            if getattr(self, name) < 1:
                raise InputError(f"A recipe's {name} is at least 1, not {getattr(self, name)}.")
        if not self.lr > 0:
            raise InputError(f"A recipe's lr is above 0, not {self.lr}.")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"A recipe's label_smoothing is from 0 to below 1, not {self.label_smoothing}."
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise InputError(f"A recipe's {name} is {listed}, not {getattr(self, name)!r}.")
        if not self.prune_begin <= self.prune_end <= self.steps:
            raise InputError(
                f"Pruning from step {self.prune_begin} to {self.prune_end} does not fit "
                f"into {self.steps} steps."
            )

    @property
    def regularizer(self) -> float:
        """λ of the regularizer (λ/2)·‖θ‖² that training adds to the loss. AdamW's weight decay
        is decoupled from the loss, and no regularizer."""
        return self.weight_decay if self.optimizer == "sgd" else 0.0


def scaled(recipe: Recipe, steps: int) -> Recipe:
    """The recipe over another number of steps: warm-up, decays and pruning at the same shares.

    >>> scaled(Recipe(steps=2000), 400).prune_end
    300
    """
    factor = steps / recipe.steps

    def at(step: int) -> int:
        return round(step * factor)

    return replace(
        recipe,
        steps=steps,
        warmup=at(recipe.warmup),
        decay_at=tuple(at(step) for step in recipe.decay_at),
        prune_begin=at(recipe.prune_begin),
        prune_end=at(recipe.prune_end),
        prune_every=max(1, at(recipe.prune_every)),
    )
