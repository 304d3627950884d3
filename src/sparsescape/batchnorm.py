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


def statistics(model: nn.Module) -> list[str]:
    """The names of these layers' running statistics. Other layers may have some too, as
    InstanceNorm, which are none of a whole batch: those stay what they are.

    >>> statistics(nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.BatchNorm1d(2)))
    ['1.running_mean', '1.running_var', '1.num_batches_tracked']
    """
    return [
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, _ in module.named_buffers(recurse=False)
        if is_statistic(name)
    ]


@torch.no_grad()
def recompute(
    state: dict[str, Tensor],
    names: Iterable[str],
    norms: Sequence[BatchNorm],
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], object],
) -> None:
    """Replace these statistics in ``state`` by their mean over all examples (Garipov et al. 2018,
    section 3.3).

    Args:
        state: the model's parameters and buffers; the statistics are changed in place.
        names: of the statistics (:func:`statistics`).
        norms: the model's layers; in evaluation mode again afterwards.
        batches: inputs.
        forward: runs the model on inputs, in that state.
    """
    for name in names:
        state[name].fill_(1 if name.endswith("running_var") else 0)
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
