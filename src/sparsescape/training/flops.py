"""Floating-point operations of training, by torch's own counter, scaled by density."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ..objective import Batch, Loss
from ..points import named_weights


@dataclass(frozen=True)
class StepFlops:
    """Operations of one training example, forward and backward, multiply and add counted apart.

    ``by_weight`` is what scales with the density of a weight; ``rest`` is what does not.
    """

    by_weight: Mapping[str, int]
    rest: int

    def at(self, densities: Mapping[str, float]) -> float:
        """Operations at these densities; a weight that is not named counts as dense."""
        return self.rest + sum(f * densities.get(n, 1.0) for n, f in self.by_weight.items())


def step_flops(model: nn.Module, batch: Batch, loss: Loss) -> StepFlops:
    """Count one training step on a batch, per example.

    >>> from torch.nn.functional import mse_loss
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> step_flops(model, (torch.ones(5, 4), torch.ones(5, 2)), mse_loss)
    StepFlops(by_weight={'0.weight': 48, '1.weight': 36}, rest=0)
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = copy.deepcopy(model)
    inputs, targets = batch
    with FlopCounterMode(display=False) as counter:
        loss(model(inputs), targets).backward()
    counts = {name: sum(by.values()) for name, by in counter.get_flop_counts().items()}
    root = type(model).__name__
    by_weight: dict[str, int] = {}
    for name in named_weights(model):
        owner = name.rpartition(".")[0]
        by_weight[name] = counts.get(f"{root}.{owner}" if owner else root, 0) // len(inputs)
    rest = counter.get_total_flops() // len(inputs) - sum(by_weight.values())
    return StepFlops(by_weight, max(rest, 0))
