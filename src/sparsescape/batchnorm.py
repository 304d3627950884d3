"""BatchNorm's statistics at a point: means over a data set, of what the point's weights make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from .points import is_statistic

BatchNorm: TypeAlias = nn.modules.batchnorm._BatchNorm

BatchNormMode: TypeAlias = Literal["recompute", "stored", "batch"]
"""Where the statistics come from: a pass over the data, the point's own buffers, or each batch."""


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """The model's layers of that kind.

    >>> [type(norm).__name__ for norm in batch_norms(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(2)))]
    ['BatchNorm1d']
    """
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def recompute(
    state: dict[str, Tensor],
    norms: Sequence[BatchNorm],
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], object],
) -> None:
    """Replace the statistics in ``state`` by their mean over all examples (Garipov et al. 2018,
    section 3.3).

    Args:
        state: the model's parameters and buffers; the statistics are changed in place.
        norms: the model's layers; in evaluation mode again afterwards.
        batches: inputs.
        forward: runs the model on inputs, in that state.
    """
    for name, tensor in state.items():
        if is_statistic(name):
            tensor.fill_(1 if name.endswith("running_var") else 0)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training = True
    seen = 0
    for inputs in batches:
        seen += len(inputs)
        for norm in norms:
            norm.momentum = len(inputs) / seen  # a running mean over examples, not batches
        forward(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.training = False
        norm.momentum = momentum
