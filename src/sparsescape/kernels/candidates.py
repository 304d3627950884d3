"""Which layers can be truly sparse, and how one of them becomes so."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, check_within
from ..masks import Mask
from ..points import as_point, matching, named_parameters, other_names, plain_name
from .carriers import plain_class
from .layer import Sparse
from .modules import SparseConv2d, SparseLinear
from .pattern import Pattern

KINDS: dict[type[nn.Module], type[Sparse]] = {nn.Linear: SparseLinear, nn.Conv2d: SparseConv2d}
"""Plain layer → its truly sparse kind."""


def candidates(
    model: nn.Module, min_sparsity: float, mask: Mask | None, dense: Iterable[str]
) -> dict[nn.Module, Pattern]:
    """The layers that can be sparse and are sparse enough, with the positions to hold."""
    check_within(0, 1, min_sparsity=min_sparsity)
    if mask is not None:
        if not isinstance(mask, Mask):
            raise InputError(
                f"What is to be held is said by an ss.Mask, not {type(mask).__name__}."
            )
        mask.check(_as_dense(model))
        _check_held(model, mask)
    weights = layers_by_weight(model)
    # As for a sparsifier, patterns may name what could not be sparse anyway.
    others = other_names(model)  # a tied weight is left out by any of its names
    closed = matching(dict.fromkeys([*weights, *named_parameters(model)]), dense)
    closed = {others.get(name, name) for name in closed}
    chosen = {n: module for n, module in weights.items() if others.get(n, n) not in closed}
    patterns: dict[Any, Pattern] = {}
    found = {}
    for name, module in chosen.items():
        weight = module.weight
        if weight not in patterns:
            flat = _held(weight, None if mask is None or name not in mask else mask.indices(name))
            patterns[weight] = Pattern.of(flat, weight.shape, getattr(module, "groups", 1))
        held = patterns[weight].count
        if weight.numel() and 1 - held / weight.numel() >= min_sparsity:
            found[module] = patterns[weight]
    return found


def become_sparse(module: nn.Module, pattern: Pattern, values: nn.Parameter) -> None:
    """The Linear or Conv2d holds these values from now on, as the object that it is."""
    module.__class__ = KINDS[plain_class(module)]
    assert isinstance(module, Sparse)
    module.hold(pattern, values)


def layers_by_weight(model: nn.Module) -> dict[str, Any]:
    """The layers that can be sparse, by the names of their weights."""
    return {f"{plain_name(name)}.weight".lstrip("."): m for name, m in _layers(model)}


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Linear and Conv2d layers of real numbers that own their weight, by name."""
    for name, module in model.named_modules():
        # The fast paths of torch's transformer layers read the weights of their children.
        above, _, own = name.rpartition(".")
        parent = model.get_submodule(above) if name else None
        if isinstance(parent, (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
            continue
        if parent is not None and f"self.{own}.weight" in _forward_of(parent):
            continue
        weight = module._parameters.get("weight")
        is_real = isinstance(weight, nn.Parameter) and weight.is_floating_point()
        if plain_class(module) in KINDS and is_real:
            yield name, module


def _forward_of(module: nn.Module) -> str:
    """The text of its forward, if there is one: a module that reads the weight of its child there
    (windowed attention does) could not be run with the values alone."""
    try:
        return inspect.getsource(type(module).forward)
    except (OSError, TypeError):
        return ""


def _held(weight: Tensor, flat: Tensor | None) -> Tensor:
    return weight.detach().reshape(-1).nonzero().reshape(-1) if flat is None else flat


def _check_held(model: nn.Module, mask: Mask) -> None:
    """Layers that are sparse already stay as they are: the mask must say the same of them."""
    for name, layer in sparse_layers(model).items():
        if name in mask and not torch.equal(mask.indices(name).cpu(), layer.positions().cpu()):
            raise InputError(
                f"{name!r} is truly sparse already and holds other positions than the mask's: make "
                "it dense first (to_dense)."
            )


def _as_dense(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters, those that are sparse already in their dense shape."""
    shapes = {name: layer.dense_shape for name, layer in sparse_layers(model).items()}
    return as_point(model) | {n: torch.empty(s, device="meta") for n, s in shapes.items()}


def sparse_layers(model: nn.Module) -> dict[str, Sparse]:
    """The truly sparse layers, by the names of their weights."""
    sparse = {n: m for n, m in model.named_modules() if isinstance(m, Sparse)}
    return {f"{plain_name(n)}.weight".lstrip("."): m for n, m in sparse.items()}
