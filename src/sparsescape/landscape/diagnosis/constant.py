"""What can be had without learning anything of the inputs: the best constant answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...objective import Objective
from ...points import PointLike
from ..curvature.lanczos import Array

_STILL = 0.01
"""Of what was won on the way to an answer, if one twice as far wins it, or would by the slope: no
minimum."""


def constant_answer(objective: Objective, point: PointLike) -> float | None:
    """The loss of the best constant answer: min over c of (1/n)·Σ ℓ(c, yᵢ), without regularizer.

    What a network gets that learned nothing of its inputs; the entropy of the classes under cross
    entropy, the variance of the targets under a squared error. Where the network's answers at the
    point are probabilities, or their logarithms, c is of the same kind: no network of this form
    gives another, and a loss as ``nll_loss`` has no least value over all numbers. By L-BFGS from 0;
    None where that leads nowhere finite, or the loss does not take such an answer.

    >>> model, data = torch.nn.Linear(1, 2), (torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]))
    >>> round(constant_answer(Objective(model, data), model), 4)  # log 2
    0.6931
    """
    from scipy.optimize import minimize

    said = list(objective.outputs(point))
    template, count = said[0][0], sum(len(targets) for _, targets in said)
    form = _form([outputs for outputs, _ in said])

    @torch.enable_grad()
    def loss_and_slope(flat: Array) -> tuple[float, Array]:
        free = torch.from_numpy(flat).to(template).view(template.shape[1:]).requires_grad_()
        answer = form(free[None])
        parts = [
            objective.loss(answer.expand_as(outputs), targets) * (len(targets) / count)
            for outputs, targets in said
        ]
        loss = torch.stack(parts).sum() + 0 * free.sum()  # which may not depend on it
        (slope,) = torch.autograd.grad(loss, free, allow_unused=True, materialize_grads=True)
        return loss.item(), slope.double().cpu().numpy().reshape(-1)

    start = np.zeros(template[0].numel())
    try:
        first, _ = loss_and_slope(start)
        found = minimize(
            loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}
        )
    except (RuntimeError, ValueError):  # a loss of probabilities, say, beyond 0 and 1
        return None
    least = float(found.fun)
    try:
        further, _ = loss_and_slope(2 * found.x)
    except (RuntimeError, ValueError):
        further = math.inf
    further = min(further, least - abs(float(found.jac @ found.x)))
    falls_on = least - further > _STILL * max(first - least, 1e-3 * abs(first))
    return None if falls_on or not math.isfinite(least) else least


def _form(said: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """From free numbers to an answer of the kind that the network gives."""
    for dim in (1, -1):
        if all(each.ndim > 1 and each.shape[dim] > 1 for each in said):
            if all(_are_ones(each.exp().sum(dim)) for each in said):
                return partial(torch.log_softmax, dim=dim)
            if all(_are_ones(each.sum(dim)) and bool((each >= 0).all()) for each in said):
                return partial(torch.softmax, dim=dim)
    return lambda free: free


def _are_ones(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() <= 1e-4).all())
