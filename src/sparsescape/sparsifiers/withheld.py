"""Steps in which an optimizer moves nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from .fresh import steps_without_gradients
from .owners import parameters


class Withheld:
    """Takes an optimizer's gradients away for one step.

    Without gradients optimizers leave a parameter, its state and its decay alone. From one that
    cannot bear that, its parameters are taken away too.
    """

    def __init__(self, optimizer: Optimizer):
        self._optimizer = optimizer
        self._bears_it = steps_without_gradients(optimizer)
        self._gradients: list[tuple[Tensor, Tensor | None]] = []
        self._groups: list[tuple[dict[str, Any], list[Tensor]]] = []

    def take(self) -> None:
        self._gradients = [(p, p.grad) for p in parameters(self._optimizer)]
        for parameter, _ in self._gradients:
            parameter.grad = None
        if not self._bears_it:
            self._groups = [(group, group["params"]) for group in self._optimizer.param_groups]
            for group, _ in self._groups:
                group["params"] = []

    def give_back(self) -> None:
        """What was taken, if anything was."""
        for group, held in self._groups:
            group["params"] = held
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self._groups, self._gradients = [], []
