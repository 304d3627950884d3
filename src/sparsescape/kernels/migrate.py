"""An optimizer whose parameters change their shape under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..sparsifiers.owners import inside_out


def check_migratable(optimizer: Optimizer | None, model: nn.Module) -> None:
    """Before anything is converted.

    Raises:
        InputError: the optimizer keeps state of all parameters together (LBFGS) or has some of
            rows and columns (Adafactor), takes matrices only (Muon), or holds none of the model's
            parameters.
    """
    if optimizer is None:
        return
    if not hasattr(optimizer, "param_groups"):
        raise InputError(f"One optimizer can be migrated, not a {type(optimizer).__name__}.")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("LBFGS mixes the state of all weights; make it after the conversion.")
    for inner in inside_out(optimizer):
        if type(inner).__name__ == "Muon":  # torch's, or the one it is made after
            raise InputError(
                "Muon moves matrices only, and a truly sparse layer holds a list of values; give "
                "those to another optimizer."
            )
        if isinstance(inner, torch.optim.Adafactor) and inner.state:
            raise InputError(
                "Adafactor has state of rows and columns, and a truly sparse layer has neither; "
                "make it after the conversion."
            )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(map(id, model.parameters())):
        raise InputError("The optimizer holds no parameter of this model: it cannot be migrated.")


def migrate(
    optimizer: Optimizer,
    replaced: Mapping[nn.Parameter, nn.Parameter],
    convert: Callable[[nn.Parameter, Tensor], Tensor],
) -> None:
    """Let the optimizer hold the new parameters in the places of the old ones.

    State tensors of an old parameter's shape are converted; what else it has (step counts) goes
    over as it is. So does what an optimizer keeps that is wrapped in this one.
    """
    for keeper in inside_out(optimizer):
        for group in keeper.param_groups:
            group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
        for old, new in replaced.items():
            if old in keeper.state:
                keeper.state[new] = _converted(keeper.state.pop(old), old, convert)


def _converted(
    value: Any, old: nn.Parameter, convert: Callable[[nn.Parameter, Tensor], Tensor]
) -> Any:
    """State of the old parameter, in tables and lists, too."""
    if isinstance(value, Mapping):
        return {key: _converted(part, old, convert) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_converted(part, old, convert) for part in value)
    fits = isinstance(value, Tensor) and value.shape == old.shape
    return convert(old, value) if fits else value
