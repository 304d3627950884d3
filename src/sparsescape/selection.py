"""Which weights stay: how many at a sparsity, and those with the highest scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compilation import works
from .errors import InputError
from .positions import count_active


def keep_count(size: int, sparsity: float) -> int:
    """How many of ``size`` weights stay at a sparsity: size − round(sparsity·size).

    >>> keep_count(13584, 0.98), keep_count(10, 1 - 0.9)
    (272, 9)

    Raises:
        InputError: sparsity outside [0, 1].
    """
    if not 0 <= sparsity <= 1:
        raise InputError(f"Sparsity is a number from 0 to 1, not {sparsity}.")
    # Sparsities arrive as 1 − density, whose last bits would turn some halves around.
    return size - round(round(sparsity, 12) * size)


def top(scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """A bool tensor that is ``True`` at the ``count`` highest scores; ties to the lower index.

    With ``among``, a bool tensor of the same shape, only where that is ``True``, and there
    everywhere if it is no more than ``count`` positions.

    >>> top(torch.tensor([1.0, 3.0, 2.0]), 1, among=torch.tensor([True, False, True])).tolist()
    [False, False, True]
    """
    flat = rankable(scores.detach()).reshape(-1).contiguous()
    allowed = torch.ones_like(flat, dtype=torch.bool) if among is None else among.reshape(-1)
    room = len(flat) if among is None else count_active(allowed)
    count = min(count, room)
    if count <= 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    # On a CPU compiled selection is a hundred times as fast as kthvalue.
    compiled = flat.device.type == "cpu" and works()
    active = (_top_compiled if compiled else _top_by_torch)(flat, count, room, allowed)
    return active.reshape(scores.shape)


def rankable(scores: Tensor) -> Tensor:
    """The scores in a precision that is compared everywhere, and that tells apart what theirs does.

    >>> rankable(torch.ones(1).half()).dtype, rankable(torch.ones(1).double()).dtype
    (torch.float32, torch.float64)
    """
    if scores.dtype in (torch.float32, torch.float64):
        return scores
    return scores.float() if scores.is_floating_point() else scores.double()


def has_nan(numbers: Tensor) -> bool:
    """Whether one of them is NaN. A sum tells that none is, in a tenth of the time.

    >>> has_nan(torch.tensor([1.0, torch.nan])), has_nan(torch.tensor([torch.inf, -torch.inf]))
    (True, False)
    """
    return not bool(numbers.sum().isfinite()) and bool(numbers.isnan().any())


def _top_compiled(flat: Tensor, count: int, room: int, allowed: Tensor) -> Tensor:
    from .quickselect import mark_highest

    active = torch.empty_like(allowed)
    marks, bits = (bools.numpy().view(np.uint8) for bools in (active, allowed))
    mark_highest(flat.numpy(), bits, count, room, marks)
    return active


def _top_by_torch(flat: Tensor, count: int, room: int, allowed: Tensor) -> Tensor:
    threshold = torch.where(allowed, flat, -torch.inf).kthvalue(flat.numel() - count + 1).values
    active = (flat > threshold) & allowed
    ties = ((flat == threshold) & allowed).nonzero().reshape(-1)
    active[ties[: count - int(active.sum())]] = True
    return active
