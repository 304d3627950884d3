"""Which weights may take a sparsifier's first mask, and that a weight has one sparsifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import InputError
from ..masks import Mask
from ..points import matching, named_parameters, other_names
from .nonzeros import SparseLayer

_TAKEN: Any = WeakTensorKeyDictionary()
"""Weight → the name of the sparsifier that is attached to it."""


def take(weights: Iterable[nn.Parameter], by: str) -> None:
    """These weights have a sparsifier of that name from now on."""
    for weight in weights:
        _TAKEN[weight] = by


def let_go(weights: Iterable[nn.Parameter]) -> None:
    """They have none."""
    for weight in weights:
        _TAKEN.pop(weight, None)


def takers(
    mask: Mask,
    model: nn.Module,
    layers: Mapping[str, Sequence[SparseLayer]],
    dense: Iterable[str],
) -> dict[str, nn.Parameter]:
    """The weights that the mask names, if they can take it.

    Args:
        layers: the model's truly sparse ones, by weight.
        dense: patterns of what the mask must leave open.

    Raises:
        InputError: it does not fit the model, closes something of what is to stay dense, or a
            weight has a sparsifier.
    """
    named = named_parameters(model)
    shapes = {n: layers[n][0].dense_shape if n in layers else p.shape for n, p in named.items()}
    mask.check({n: torch.empty(shape, device="meta") for n, shape in shapes.items()})
    for name in sorted(matching(named, dense, other_names(model)) & mask.keys()):
        if mask.counts[name] < shapes[name].numel():
            raise InputError(f"The mask closes some of {name!r}, which was to stay dense.")
    weights = {name: named[name] for name in mask}
    for name, weight in weights.items():
        if weight in _TAKEN:
            other = f"a {_TAKEN[weight]} is attached to it already"
            raise InputError(f"The weight {name!r} can have one sparsifier: {other}.")
    return weights
