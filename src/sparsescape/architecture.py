"""What can be known of a network from its modules, to run it faster."""

from __future__ import annotations

from torch import nn

from .points import named_parameters

_KEEP_INPUTS = (nn.Flatten, nn.Identity, nn.Dropout)  # linear, and without parameters, in eval mode


def split_first_layer(model: nn.Module) -> tuple[nn.Sequential, nn.Sequential] | None:
    """The network up to its first layer, and the rest of it, if that layer is linear in its inputs.

    It is where the network is an ``nn.Sequential`` that begins with an ``nn.Linear`` on its inputs,
    flattened or not. Both parts are in evaluation mode if the model is, and have the names of
    parameters that it has. None of any other network: a subclass may do anything in its forward, a
    hook or a parametrization too, and a layer that comes twice is in both parts.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> [[name for name, _ in part.named_parameters()] for part in split_first_layer(model)]
    [['1.weight', '1.bias'], ['3.weight', '3.bias']]
    """
    if type(model) is not nn.Sequential or _is_hooked(model) or _is_tied(model):
        return None
    for index, module in enumerate(model):
        if type(module) is nn.Linear:
            return model[: index + 1], model[index + 1 :]
        if type(module) not in _KEEP_INPUTS:
            break
    return None


def convolutions(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of all two-dimensional convolutions, by name.

    >>> list(convolutions(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv1d(1, 4, 3))))
    ['0.weight']
    """
    owned = {id(m._parameters.get("weight")) for m in model.modules() if isinstance(m, nn.Conv2d)}
    return {n: p for n, p in named_parameters(model).items() if id(p) in owned}


def _is_hooked(model: nn.Module) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def _is_tied(model: nn.Module) -> bool:
    every = list(model.named_parameters(remove_duplicate=False))
    return len(every) > len(list(model.parameters()))
