"""What the layers of a network put out, watched while it runs.

A layer is a module that has a parameter of two dimensions or more of its own, or a truly sparse
one, which holds the nonzero values of such a one; it goes by that parameter's name. Its outputs are
those before any activation that follows, units last: (examples, …, units). A layer that runs
several times in one pass has several.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from .points import plain_name

Outputs: TypeAlias = dict[str, list[Tensor]]
"""Name of a layer's weight → its outputs in one pass."""

_CHANNELS_FIRST = nn.modules.conv._ConvNd


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model by the names of their weights.

    >>> list(layers(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))))
    ['0.weight', '2.weight']
    """
    found = {}
    for prefix, module in model.named_modules():
        sparse = getattr(module, "holds_nonzeros_only", False)
        parameters = module.named_parameters(recurse=False)
        own = ["weight"] if sparse else [n for n, p in parameters if p.ndim >= 2]
        if own and not isinstance(module, ParametrizationList):
            found[plain_name(f"{prefix}.{own[0]}" if prefix else own[0])] = module
    return found


@contextmanager
def watched(model: nn.Module) -> Iterator[Outputs]:
    """A dictionary that fills with the layers' outputs as the model runs inside the block."""
    seen: Outputs = {}
    with ExitStack() as stack:
        for name, module in layers(model).items():
            hook = partial(_keep, seen, name)
            stack.callback(module.register_forward_hook(hook).remove)
        yield seen


def _keep(
    outputs: Outputs, name: str, module: nn.Module, _: object, output: object
) -> Tensor | None:
    if not isinstance(output, Tensor):
        return None
    # What is watched must be in the loss's graph, and whole: what follows may work in place.
    channels = 1 if _is_convolution(module) else -1
    seen = output.movedim(channels, -1)
    outputs.setdefault(name, []).append(seen)
    return seen.movedim(-1, channels).clone()


def _is_convolution(module: nn.Module) -> bool:
    """Whether units are channels: a convolution, dense or truly sparse."""
    return isinstance(module, _CHANNELS_FIRST) or len(getattr(module, "dense_shape", ())) > 2
