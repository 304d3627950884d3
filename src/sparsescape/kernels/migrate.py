"""An optimizer whose parameters change their shape under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError


def check_migratable(optimizer: Optimizer | None, model: nn.Module) -> None:
    """Before anything is converted.

    Raises:
        InputError: the optimizer keeps state of all parameters together (LBFGS), or holds none of
            the model's.
    """
    if optimizer is None:
        return
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("LBFGS mixes the state of all weights; make it after the conversion.")
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
    over as it is.
    """
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        if old in optimizer.state:
            state: dict[Any, Any] = optimizer.state.pop(old)
            optimizer.state[new] = {
                key: convert(old, value)
                if isinstance(value, Tensor) and value.shape == old.shape
                else value
                for key, value in state.items()
            }
