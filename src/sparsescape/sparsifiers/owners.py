"""Which optimizer moves which weight, and what it remembers of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from ..errors import InputError
from .fresh import fresh_values, of_other_shapes

Seen = TypeVar("Seen")


class Owners:
    """The optimizers of a model, asked by the name of a weight.

    An optimizer may be wrapped in others (Accelerate's, Lightning's, SAM, Lookahead):
    ``optimizers`` are the innermost, which are stepped however the loop steps, and ``wrappers``
    what is around each, which may move weights and remember things of its own.

    Raises:
        InputError: none of the optimizers holds a weight.
    """

    def __init__(self, weights: Mapping[str, Tensor], optimizers: Iterable[Any]):
        nested = [inside_out(optimizer) for optimizer in optimizers]
        self.optimizers: list[Optimizer] = [innermost for innermost, *_ in nested]
        self.wrappers = [wrappers for _, *wrappers in nested]
        self._weights = weights
        self._index = {name: self._find(name) for name in weights}
        self._names = [
            [n for n in weights if self._index[n] == i] for i in range(len(self.optimizers))
        ]
        self._keepers = [
            [optimizer, *(wrapper for wrapper in wrappers if hasattr(wrapper, "state"))]
            for optimizer, wrappers in zip(self.optimizers, self.wrappers, strict=True)
        ]
        self._in_tables = [False] * len(self.optimizers)
        self._owned = [[weights[n] for n in names] for names in self._names]
        self._other_shapes = self._observed(of_other_shapes)

    def _find(self, name: str) -> int:
        for index, optimizer in enumerate(self.optimizers):
            if _group_with(optimizer, self._weights[name]) is not None:
                return index
        raise InputError(
            f"The optimizer does not hold the weight {name!r}; name it dense to leave it out."
        )

    def index(self, name: str) -> int:
        return self._index[name]

    def names(self, index: int) -> list[str]:
        """The weights of one optimizer."""
        return self._names[index]

    def of(self, name: str) -> Optimizer:
        return self.optimizers[self._index[name]]

    def grad_scale(self, name: str) -> Tensor | None:
        """What the gradients of a step are multiplied with that a GradScaler hands to a fused
        optimizer, which divides by it itself; None where they are as they should be."""
        return getattr(self.of(name), "grad_scale", None)

    def group(self, name: str) -> dict[str, Any]:
        """The parameter group that the weight is in."""
        group = _group_with(self.of(name), self._weights[name])
        assert group is not None
        return group

    def state(self, name: str) -> dict[str, Tensor]:
        """The state tensors that have one element for each of the weight."""
        weight, shape = self._weights[name], self._weights[name].shape
        held = {
            f"{depth * '.'}{key}": value
            for depth, state in enumerate(self._states(self._index[name]))
            for key, value in leaves(state.get(weight, {}))
            if depth or key not in self._other_shapes[name]
        }
        return {k: v for k, v in held.items() if isinstance(v, Tensor) and v.shape == shape}

    def state_tensors(self, index: int) -> list[Tensor]:
        """All tensors, of any shape, that an optimizer and its wrappers keep for its weights."""
        kept = [s.get(w, {}) for s in self._states(index) for w in self._owned[index]]
        self._in_tables[index] = any(len(state) < len([*leaves(state)]) for state in kept)
        return [
            value
            for keeper in self._keepers[index]
            for weight in self._owned[index]
            for _, value in leaves(keeper.state.get(weight, {}))
            if isinstance(value, Tensor)
        ]

    def state_ids(self, index: int) -> list[int]:
        """Which objects an optimizer and its wrappers keep, for all parameters: a fast look."""
        states = [state for keeper in self._keepers[index] for state in keeper.state.values()]
        if self._in_tables[index]:
            return [id(value) for state in states for _, value in leaves(state)]
        return [id(value) for state in states for value in state.values()]

    def _states(self, index: int) -> list[Mapping[Any, Any]]:
        """The state of an optimizer, and those that its wrappers keep beside it."""
        own, *others = [keeper.state for keeper in self._keepers[index]]
        return [own, *(state for state in others if state is not own)]

    def everything_held(self, names: list[str]) -> list[Tensor]:
        """Those weights and their state, sharded or not."""
        return [self._weights[n] for n in names] + [
            v for n in names for v in self.state(n).values()
        ]

    def fresh(self) -> dict[str, dict[str, float]]:
        """Weight name → what :func:`fresh_values` finds for it."""
        return self._observed(fresh_values)

    def _observed(
        self, look: Callable[[Optimizer, dict[str, Any], Tensor], Seen]
    ) -> dict[str, Seen]:
        """Weight name → what is seen, once for each kind of weight in each parameter group."""
        found: dict[tuple[int, int], Seen] = {}
        seen = {}
        for name, weight in self._weights.items():
            group = self.group(name)
            kind = (id(group), weight.ndim)
            if kind not in found:
                found[kind] = look(self.of(name), group, weight)
            seen[name] = found[kind]
        return seen

    def forget_mixed_state(self) -> None:
        """Clear a state that holds vectors over all parameters (LBFGS): they leave the mask."""
        for optimizer in self.optimizers:
            size = (sum(p.numel() for p in parameters(optimizer)),)
            for parameter, state in optimizer.state.items():
                flat = any(isinstance(v, Tensor) and v.shape == size for v in state.values())
                if flat and parameter.shape != size:
                    state.clear()


def leaves(state: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """What an optimizer keeps of a parameter: keys and values, also those one level down, where it
    keeps a table or a list of tensors.

    >>> list(leaves({"step": 1, "buffers": {0.9: 2.0}, "last": [3.0]}))
    [('step', 1), ('buffers.0.9', 2.0), ('last.0', 3.0)]
    """
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{k}", v) for k, v in value.items())
        elif isinstance(value, (list, tuple)):
            yield from ((f"{key}.{k}", v) for k, v in enumerate(value))
        else:
            yield key, value


def same(tensors: list[Tensor], others: list[Tensor]) -> bool:
    """Whether the two lists hold the same objects."""
    return len(tensors) == len(others) and all(map(operator.is_, tensors, others))


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def inside_out(optimizer: Any) -> list[Any]:
    """The optimizer that steps, then what is around it, up to the one given."""
    nested = [optimizer]
    while (inner := _inside(nested[0])) is not None:
        nested.insert(0, inner)
    return nested


def _inside(optimizer: Any) -> Optimizer | None:
    """The optimizer that another one keeps as an attribute, for parameters of its own."""
    mine = set(map(id, parameters(optimizer)))
    for value in vars(optimizer).values():
        if isinstance(value, Optimizer) and not mine.isdisjoint(map(id, parameters(value))):
            return value
    return None


def _group_with(optimizer: Optimizer, weight: Tensor) -> dict[str, Any] | None:
    groups = optimizer.param_groups
    return next((g for g in groups if any(p is weight for p in g["params"])), None)
