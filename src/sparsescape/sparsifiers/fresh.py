"""What an optimizer knows of an element that it has never moved."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..seeds import global_seed
from .shards import local


class _FirstValues(dict):
    """An optimizer's state of one parameter that notes each entry as it was first set."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Tensor] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Tensor) and key not in self.first:
            self.first[key] = value.detach().clone()
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]


def fresh_values(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], weight: Tensor
) -> dict[str, float]:
    """State entry → the value the optimizer gives a fresh element, where it is not 0.

    It is observed, not looked up: a twin of the optimizer meets a tiny parameter of zeros, takes
    one step with a gradient of zeros, and each entry is read as it was first set. So it is the
    learning rate for Rprop's step sizes, ``initial_accumulator_value`` for Adagrad, and 0 for
    moments. Where no twin can be made, all is taken to be 0.

    >>> weight = torch.nn.Parameter(torch.ones(2, 3))
    >>> optimizer = torch.optim.Rprop([weight], lr=0.25)
    >>> fresh_values(optimizer, optimizer.param_groups[0], weight)
    {'step_size': 0.25}
    """
    found: dict[str, float] = {}
    shape, first = _first_values(optimizer, group, weight)
    for key, value in first.items():
        uniform = value.shape == shape and bool((value == value.flatten()[0]).all())
        if uniform and value.flatten()[0] != 0:
            found[key] = float(value.flatten()[0])
    return found


def of_other_shapes(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], weight: Tensor
) -> frozenset[str]:
    """The state entries that do not have one element for each of the weight.

    Observed as in :func:`fresh_values`. By its shape alone Shampoo's left preconditioner of a
    square weight could not be told from a moment, and to mask it would make it singular. What has
    one element for a row (Adafactor) is not among them: where a row is one weight, it is that's.
    """
    shape, first = _first_values(optimizer, group, weight)
    return frozenset(key for key, value in first.items() if not _fits(value.shape, shape))


def _fits(part: torch.Size, shape: torch.Size) -> bool:
    """Whether each side is that of the shape, or 1.

    >>> _fits(torch.Size((2, 1)), torch.Size((2, 3))), _fits(torch.Size((2, 2)), torch.Size((2, 3)))
    (True, False)
    """
    return len(part) == len(shape) and all(p in (1, n) for p, n in zip(part, shape, strict=True))


def steps_without_gradients(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it passes over parameters that have no gradient, as torch's own optimizers do.

    >>> weight = torch.nn.Parameter(torch.ones(2, 3))
    >>> steps_without_gradients(torch.optim.SGD([weight]))
    True
    """
    group = next(group for group in optimizer.param_groups if group["params"])
    _, first = _twin_state(optimizer, group, group["params"][0], lambda probe: None)
    return first is not None


def twin_over(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], parameters: list[Tensor]
) -> torch.optim.Optimizer | None:
    """Another optimizer of the same class, with that group's settings, over other parameters.

    None where it cannot move such parameters, or not without a closure: it is tried.

    >>> weight, number = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(()))
    >>> optimizer = torch.optim.SGD([weight], lr=0.25)
    >>> twin_over(optimizer, optimizer.param_groups[0], [number]).param_groups[0]["lr"]
    0.25
    >>> optimizer = torch.optim.Muon([weight])
    >>> twin_over(optimizer, optimizer.param_groups[0], [number])
    """
    settings = copy.deepcopy({k: v for k, v in group.items() if k != "params"})
    for twin in (_built, _copied):
        probes: list[Tensor] = [torch.nn.Parameter(torch.zeros_like(p)) for p in parameters]
        for probe in probes:
            probe.grad = torch.zeros_like(probe)
        try:
            with global_seed(0, "a twin"):
                twin(optimizer, settings, probes).step()
                return twin(optimizer, settings, parameters)
        except Exception:  # whatever an optimizer raises that is not made or stepped so
            continue
    return None


def _first_values(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], weight: Tensor
) -> tuple[torch.Size, dict[str, Tensor]]:
    """The shape of a tiny parameter, and its state as it was first set."""
    shape, first = _twin_state(optimizer, group, weight, torch.zeros_like)
    return shape, first or {}


def _twin_state(
    optimizer: torch.optim.Optimizer,
    group: dict[str, Any],
    weight: Tensor,
    gradient: Callable[[Tensor], Tensor | None],
) -> tuple[torch.Size, dict[str, Tensor] | None]:
    """What a step of a twin with that gradient sets; None where no twin can take one.

    No two sides of its parameter are alike: nothing is of the same shape by chance.
    """
    plain = local(weight)
    shape = torch.Size(range(2, 2 + weight.ndim))
    for twin in (_built, _copied):
        probe = torch.nn.Parameter(torch.zeros(shape, dtype=plain.dtype, device=plain.device))
        try:
            with global_seed(0, "fresh state"):
                return shape, _observe(twin(optimizer, group, [probe]), probe, gradient(probe))
        except Exception:  # whatever an optimizer raises that is not made or stepped so
            continue
    return shape, None


def _built(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], parameters: list[Tensor]
) -> torch.optim.Optimizer:
    """An optimizer of the same class and settings, made by its constructor."""
    known = inspect.signature(type(optimizer).__init__).parameters
    settings = {**optimizer.defaults, **group}
    settings = {k: v for k, v in settings.items() if k in known and k != "params"}
    make: Callable[..., torch.optim.Optimizer] = type(optimizer)
    return make(parameters, **settings)


def _copied(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], parameters: list[Tensor]
) -> torch.optim.Optimizer:
    """The optimizer's shallow copy, with its own parameters and no state or hooks."""
    twin = copy.copy(optimizer)
    twin.param_groups = [{**group, "params": parameters}]
    twin.state = defaultdict(dict)
    twin._optimizer_step_pre_hooks = OrderedDict()
    twin._optimizer_step_post_hooks = OrderedDict()
    return twin


def _observe(
    twin: torch.optim.Optimizer, probe: Tensor, gradient: Tensor | None
) -> dict[str, Tensor]:
    state = _FirstValues()
    state.update(twin.state.get(probe, {}) if type(twin.state) is defaultdict else {})
    twin.state = defaultdict(_FirstValues, {probe: state})
    probe.grad = gradient
    twin.step()
    return state.first
