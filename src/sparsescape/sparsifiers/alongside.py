"""Numbers that a method trains beside the weights, as the optimizer of the weights would."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer

from .fresh import twin_over
from .owners import Owners


class Alongside:
    """Moves one number for each weight at every step of the weight's optimizer.

    That optimizer is left as it is. With the numbers in its groups it would save them too, and a
    run that is resumed has none yet when its optimizer is loaded; they would stay in it when the
    method is done; and one that moves matrices (Muon) would fail. So each of its groups with a
    weight in it has a twin for the numbers.
    """

    def __init__(self, owners: Owners, numbers: Mapping[str, nn.Parameter]):
        self._twins: list[list[_Twin]] = []
        for index, optimizer in enumerate(owners.optimizers):
            places: dict[int, dict[str, nn.Parameter]] = {}
            for name in owners.names(index):
                group = owners.group(name)
                place = next(i for i, g in enumerate(optimizer.param_groups) if g is group)
                places.setdefault(place, {})[name] = numbers[name]
            self._twins.append([_Twin(optimizer, i, mine) for i, mine in places.items()])

    def begin(self, index: int) -> None:
        """Before a step of an optimizer, which gradients of the numbers are to be set for."""
        for twin in self._twins[index]:
            twin.begin()

    def step(self, index: int) -> None:
        """After it: move the numbers that have got a gradient."""
        for twin in self._twins[index]:
            twin.step()

    def state(self) -> dict[str, dict[str, Any]]:
        """Name → what is remembered of the number."""
        return {name: state for own in self._twins for t in own for name, state in t.state()}

    def load(self, state: Mapping[str, dict[str, Any]]) -> None:
        """Go on from :meth:`state`."""
        for twins in self._twins:
            for twin in twins:
                twin.load(state)


class _Twin:
    """An optimizer of the numbers that belong to the weights in one group of another.

    It is of the same class where that moves single numbers, and plain gradient descent where it
    does not. Its settings are those that the group has at each step.
    """

    def __init__(self, original: Optimizer, place: int, numbers: Mapping[str, nn.Parameter]):
        self._original, self._place = original, place  # loading a state replaces the groups
        self._names, self._numbers = list(numbers), list(numbers.values())
        same = twin_over(original, self._group, list(self._numbers))
        self._settings = dict if same is not None else _of_descent
        self._optimizer = SGD(self._numbers, lr=0.0) if same is None else same

    @property
    def _group(self) -> dict[str, Any]:
        return self._original.param_groups[self._place]

    def begin(self) -> None:
        self._forget_gradients()
        settings = self._settings({k: v for k, v in self._group.items() if k != "params"})
        self._optimizer.param_groups[0].update(copy.deepcopy(settings))

    def step(self) -> None:
        self._optimizer.step()
        self._forget_gradients()

    def _forget_gradients(self) -> None:
        for number in self._numbers:
            number.grad = None

    def state(self) -> list[tuple[str, dict[str, Any]]]:
        kept = (self._optimizer.state.get(number, {}) for number in self._numbers)
        return [(n, copy.deepcopy(dict(s))) for n, s in zip(self._names, kept, strict=True)]

    def load(self, state: Mapping[str, dict[str, Any]]) -> None:
        kept = {i: state[name] for i, name in enumerate(self._names) if state[name]}
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})


def _of_descent(group: dict[str, Any]) -> dict[str, Any]:
    """Those of a group's settings that gradient descent has too.

    The momentum is an average, as that of Muon is: it must not multiply the learning rate.
    """
    known = {"lr", "momentum", "weight_decay", "maximize"}
    settings = {key: value for key, value in group.items() if key in known}
    return {**settings, "dampening": settings.get("momentum", 0.0)}
