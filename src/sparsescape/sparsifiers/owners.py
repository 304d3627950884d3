"""Which optimizer moves which weight, and what it remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from ..errors import InputError
from .fresh import fresh_values
from .shards import local


class Owners:
    """The optimizers of a model, asked by the name of a weight.

    Raises:
        InputError: none of the optimizers holds a weight.
    """

    def __init__(self, weights: Mapping[str, Tensor], optimizers: list[Optimizer]):
        self.optimizers = optimizers
        self._weights = weights
        self._index = {name: self._find(name) for name in weights}
        self._names = [[n for n in weights if self._index[n] == i] for i in range(len(optimizers))]

    def _find(self, name: str) -> int:
        for index, optimizer in enumerate(self.optimizers):
            if _group_with(optimizer, self._weights[name]) is not None:
                return index
        raise InputError(f"The optimizer does not hold the weight {name!r}.")

    def index(self, name: str) -> int:
        return self._index[name]

    def names(self, index: int) -> list[str]:
        """The weights of one optimizer."""
        return self._names[index]

    def of(self, name: str) -> Optimizer:
        return self.optimizers[self._index[name]]

    def group(self, name: str) -> dict[str, Any]:
        """The parameter group that the weight is in."""
        group = _group_with(self.of(name), self._weights[name])
        assert group is not None
        return group

    def state(self, name: str) -> dict[str, Tensor]:
        """The state tensors that have one element for each of the weight."""
        weight = self._weights[name]
        state = self.of(name).state.get(weight, {})
        shape = weight.shape
        return {k: v for k, v in state.items() if isinstance(v, Tensor) and v.shape == shape}

    def everything_held(self) -> list[Tensor]:
        """This rank's parts of all weights and of their state."""
        names = list(self._weights)
        held = [self._weights[n] for n in names] + [
            v for n in names for v in self.state(n).values()
        ]
        return [local(tensor).detach() for tensor in held]

    def fresh(self) -> dict[str, dict[str, float]]:
        """Weight name → what :func:`fresh_values` finds for it."""
        found: dict[tuple[int, int], dict[str, float]] = {}
        fresh = {}
        for name, weight in self._weights.items():
            group = self.group(name)
            kind = (id(group), weight.ndim)
            if kind not in found:
                found[kind] = fresh_values(self.of(name), group, weight)
            fresh[name] = found[kind]
        return fresh

    def forget_mixed_state(self) -> None:
        """Clear a state that holds vectors over all parameters (LBFGS): they leave the mask."""
        for optimizer in self.optimizers:
            size = (sum(p.numel() for p in parameters(optimizer)),)
            for parameter, state in optimizer.state.items():
                flat = any(isinstance(v, Tensor) and v.shape == size for v in state.values())
                if flat and parameter.shape != size:
                    state.clear()


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def unwrapped(optimizer: Any) -> Optimizer:
    """The optimizer that steps, inside those of Accelerate and Lightning."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def _group_with(optimizer: Optimizer, weight: Tensor) -> dict[str, Any] | None:
    groups = optimizer.param_groups
    return next((g for g in groups if any(p is weight for p in g["params"])), None)
