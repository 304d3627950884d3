"""What a recipe says, in torch's terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import schedules
from ..problems.recipe import Recipe


def learning_rate(recipe: Recipe) -> schedules.Schedule:
    """The recipe's learning rate at every step.

    >>> rate = learning_rate(Recipe(lr=0.5, schedule="step", decay_at=(10, 20)))
    >>> rate(9), rate(10), rate(20)
    (0.5, 0.05, 0.005000000000000001)
    """
    if recipe.schedule == "constant":
        after = schedules.constant(recipe.lr)
    elif recipe.schedule == "step":
        after = schedules.staircase(recipe.lr, recipe.decay_factor, at=recipe.decay_at)
    else:
        after = schedules.cosine(
            recipe.lr, recipe.final_lr, begin=recipe.warmup, end=max(recipe.warmup, recipe.steps)
        )
    return schedules.warmup(after, recipe.warmup)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, over all parameters of the model.

    Fused, which is the same update in one pass: on small models a step is overhead.
    """
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        optimizer.register_step_pre_hook(_begin_late)
        return optimizer
    weights = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (recipe.momentum, recipe.beta2)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=True)


def _begin_late(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Give momentum 0 to what gets its first gradient after others had theirs (of a branch that not
    every batch takes, say): torch's fused SGD takes momentum of all or of none."""
    state, count = optimizer.state, sum(len(g["params"]) for g in optimizer.param_groups)
    if len(state) in (0, count):  # none has begun, or all have
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and "momentum_buffer" not in state[parameter]:
                state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def clipping(model: nn.Module, recipe: Recipe) -> Callable[[], None]:
    """What cuts the gradient down to the recipe's norm, in place, between gradients and step."""
    if not recipe.clip:
        return lambda: None
    parameters = list(model.parameters())

    def cut() -> None:
        nn.utils.clip_grad_norm_(parameters, recipe.clip)

    return cut


def forward_pass(model: nn.Module, recipe: Recipe) -> Callable[..., torch.Tensor]:
    """The model's forward pass as the recipe wants it: compiled on a GPU, in mixed precision, its
    outputs in 32 bits for the loss.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> model.weight.data.fill_(1.001)
    tensor([[1.0010]])
    >>> forward_pass(model, Recipe(precision="bfloat16"))(torch.ones(1, 1)).item()
    1.0
    """
    device = next(model.parameters()).device
    run = torch.compile(model) if recipe.compile and device.type == "cuda" else model
    if recipe.precision == "float32":
        return run

    def mixed(inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return run(inputs).float()

    return mixed
