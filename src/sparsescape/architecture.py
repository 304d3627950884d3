"""What can be known of a network from its modules, to run it faster."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .points import named_parameters, plain_name
from .stateless import Stateless

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


def channels_last(weight: Tensor) -> Tensor:
    """A copy of a convolution's weight whose channels lie last in memory."""
    # contiguous() would leave a weight of one channel, whose layout is either, as it is.
    return torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)


@torch.no_grad()
def runs_channels_last(model: nn.Module, inputs: Tensor) -> bool:
    """Whether the network computes with its convolutions' weights so laid out. One that *views*
    what it should reshape does not, which is tried out on the inputs."""
    weights = convolutions(model)
    laid = {n: p for n, p in model.named_parameters() if plain_name(n) in weights}
    state = {n: channels_last(p) for n, p in laid.items()}
    state |= {n: b.clone() for n, b in model.named_buffers()}
    try:
        Stateless(model)(state, inputs)
    except RuntimeError:
        return False
    return True


def _is_hooked(model: nn.Module) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def _is_tied(model: nn.Module) -> bool:
    every = list(model.named_parameters(remove_duplicate=False))
    return len(every) > len(list(model.parameters()))
