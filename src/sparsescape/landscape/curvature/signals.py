"""What passes through a network over all of the data: signal variance and dead units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...objective import Objective
from ...points import PointLike


@dataclass(frozen=True)
class Signal:
    """The outputs of one layer over the whole data set, before any activation that follows."""

    layer: str
    """The name of its weight."""
    units: int
    variance: float
    """Over examples (and positions), the mean over the units."""
    dead: float
    """Share of units that carry nothing: their output is the same for every example, or no
    example's loss depends on it (its derivative is exactly 0: they never activate, or nothing
    reads them)."""


def signals(objective: Objective, point: PointLike) -> tuple[Signal, ...]:
    """The signal of every layer that ran, in the order in which they ran.

    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> point = {"0.weight": torch.tensor([[2.0], [2.0]]), "0.bias": torch.tensor([0.0, -9.0]),
    ...          "2.weight": torch.ones(1, 2), "2.bias": torch.zeros(1)}
    >>> data = torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1)
    >>> objective = Objective(model, data, loss=torch.nn.functional.mse_loss)
    >>> [(s.layer, s.variance, s.dead) for s in signals(objective, point)]
    [('0.weight', 4.0, 0.5), ('2.weight', 1.0, 0.0)]
    """
    seen: dict[str, _Moments] = {}
    for loss, outputs in objective.layers(point):
        flat = [tensor for tensors in outputs.values() for tensor in tensors]
        slopes = iter(torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True))
        for name, tensors in outputs.items():
            for tensor in tensors:
                units = tensor.shape[-1]
                moments = seen.setdefault(name, _Moments(units, tensor.device))
                moments.add(tensor.detach().reshape(-1, units), next(slopes).reshape(-1, units))
    return tuple(moments.signal(name) for name, moments in seen.items())


class _Moments:
    """Running mean, variance, range and use of every unit (Chan et al. 1983 for the variance)."""

    def __init__(self, units: int, device: torch.device):
        zeros = torch.zeros(units, dtype=torch.float64, device=device)
        self.rows = 0
        self.mean, self.squares = zeros, zeros
        self.low, self.high = zeros + torch.inf, zeros - torch.inf
        self.used = torch.zeros(units, dtype=torch.bool, device=device)
        self.rounding = 0.0

    def add(self, values: Tensor, slopes: Tensor) -> None:
        self.rounding = 64 * torch.finfo(values.dtype).eps
        values = values.double()
        rows = len(values)
        total = self.rows + rows
        variance, mean = torch.var_mean(values, 0, correction=0)
        shift = mean - self.mean
        self.squares = self.squares + variance * rows + shift**2 * (self.rows * rows / total)
        self.mean = self.mean + shift * (rows / total)
        self.low = torch.minimum(self.low, values.amin(0))
        self.high = torch.maximum(self.high, values.amax(0))
        self.used = self.used | (slopes != 0).any(0)
        self.rows = total

    def signal(self, layer: str) -> Signal:
        # Rows of one product may be rounded differently, so that equal outputs differ a little.
        largest = torch.maximum(self.low.abs(), self.high.abs())
        constant = self.high - self.low <= self.rounding * largest
        return Signal(
            layer=layer,
            units=len(self.mean),
            variance=float((self.squares / self.rows).mean()),
            dead=float((constant | ~self.used).double().mean()),
        )
