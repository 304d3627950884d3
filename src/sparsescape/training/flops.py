"""Floating-point operations of training, by torch's own counter, scaled by density."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
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

    What a module does itself belongs to its weights, shared by their sizes where it has several.

    >>> from torch.nn.functional import mse_loss
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> step_flops(model, (torch.ones(5, 4), torch.ones(5, 2)), mse_loss)
    StepFlops(by_weight={'0.weight': 48, '1.weight': 36}, rest=0)
    """
    model = copy.deepcopy(model)
    counts, total = _counts(model, batch, loss)
    weights = named_weights(model)
    siblings: dict[str, int] = {}
    for name, weight in weights.items():
        owner = name.rpartition(".")[0]
        siblings[owner] = siblings.get(owner, 0) + weight.numel()
    examples = len(batch[0])
    by_weight = {}
    for name, weight in weights.items():
        owner = name.rpartition(".")[0]
        by_weight[name] = counts[owner] * weight.numel() // siblings[owner] // examples
    return StepFlops(by_weight, total // examples - sum(by_weight.values()))


def _counts(model: nn.Module, batch: Batch, loss: Loss) -> tuple[dict[str, int], int]:
    """What each module does itself, its children apart, by its name; and all together."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs, targets = batch
    with torch.random.fork_rng(devices=()), FlopCounterMode(display=False) as counter:
        loss(model(inputs), targets).backward()
    counted = counter.get_flop_counts()
    root = type(model).__name__

    def inclusive(name: str) -> int:
        return sum(counted.get(f"{root}.{name}" if name else root, {}).values())

    own = {}
    for name, module in model.named_modules():
        children = [f"{name}.{child}" if name else child for child, _ in module.named_children()]
        own[name] = inclusive(name) - sum(inclusive(child) for child in children)
    return own, counter.get_total_flops()
