"""Points: settings of all parameters of a model, ``dict[str, Tensor]``.

The names are those of ``model.named_parameters()``. Wherever a point is expected a model can be
given, and means the point it stands at. A point may carry buffers too (BatchNorm's statistics);
they travel with it but are not coordinates of weight space.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .errors import InputError

Point: TypeAlias = dict[str, Tensor]
PointLike: TypeAlias = Mapping[str, Tensor] | nn.Module

# torch.compile and DistributedDataParallel put these before the names of the model they wrap.
_WRAPPERS = ("_orig_mod.", "module.")
_NORM = re.compile(r"Norm(\dd)?$")
_OF_NORMS = ("weight", "scale", "gamma", "beta", "shift")
_BIAS = re.compile(r"bias(_[kv]|_[ih]h_.*)?$")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def plain_name(name: str) -> str:
    """The name without what ``torch.compile`` and DDP put before it.

    >>> plain_name("module._orig_mod.0.weight")
    '0.weight'
    """
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def is_statistic(name: str) -> bool:
    """Whether the name is one of BatchNorm's running statistics, which are no coordinates."""
    return name.rsplit(".", 1)[-1] in _STATISTICS


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters under their plain names; a tied parameter once.

    Raises:
        InputError: two have one plain name, as a child of the model is called like a wrapper's; a
            lazy module's has no shape yet.
    """
    named: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        plain = plain_name(name)
        if is_lazy(parameter):
            raise InputError(f"{plain!r} has no shape yet: run the model on one batch before.")
        if plain in named:
            raise InputError(
                f"Two parameters are {plain!r}, as what is before it in {name!r} is taken for a "
                "wrapper of the model: give that child of it another name."
            )
        named[plain] = parameter
    return named


def of_layer_norms(model: nn.Module) -> set[str]:
    """Names of what normalization layers scale by, torch's and others, which their class tells; a
    Linear or a convolution that normalizes is none."""
    weighted = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding)
    return {
        plain_name(f"{layer}.{name}".lstrip("."))
        for layer, module in model.named_modules()
        if _NORM.search(type(module).__name__) and not isinstance(module, weighted)
        for name in _OF_NORMS
    }


def norms(parameters: Mapping[str, Tensor]) -> dict[str, str]:
    """Weight-normalized weight → the parameter that is its norm, which torch shapes like a weight.

    >>> norms(named_parameters(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))))
    {'parametrizations.weight.original1': 'parametrizations.weight.original0'}
    """
    found = {}
    for name, norm in parameters.items():
        for ending, other in ((".original0", ".original1"), ("_g", "_v")):
            weight = name.removesuffix(ending) + other
            if name.endswith(ending) and weight in parameters:
                shape = parameters[weight].shape
                alike = norm.ndim == len(shape) and norm.shape != shape
                if alike and all(n in (1, w) for n, w in zip(norm.shape, shape, strict=True)):
                    found[weight] = name
    return found


def named_weights(
    model: PointLike, dense: Iterable[str] = (), instead: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """What can be sparse: every parameter of two dimensions or more, but no :func:`norms`, none of
    a normalization layer (LayerNorm over several dimensions), no bias (those of attention) and none
    without an element.

    Of a point, which has no layers, what a normalization layer has of two dimensions is one of
    them. A mask of one's own may name any parameter.

    Args:
        model: a model or a point.
        dense: patterns of what to leave out. A pattern is a name (``"fc.weight"``), the name of
            a module (``"fc"``: everything in it) or a wildcard (``"*.downsample.*"``).
        instead: parameter name → what stands in for it, as one that a layer keeps in another shape.

    Raises:
        InputError: a pattern matches nothing, or nothing is left.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> list(named_weights(model, dense=["2"]))
    ['0.weight']
    >>> list(named_weights(nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6]))))
    ['0.weight']
    """
    named = model if isinstance(model, Mapping) else named_parameters(model)
    parameters: dict[str, Tensor] = {**named, **(instead or {})}
    left_out = set(norms(parameters).values())
    left_out |= {name for name in parameters if _BIAS.fullmatch(name.rsplit(".", 1)[-1])}
    if isinstance(model, nn.Module):
        left_out |= of_layer_norms(model)
    large = {n: p for n, p in parameters.items() if p.ndim >= 2 and p.numel()}
    weights = {n: p for n, p in large.items() if n not in left_out}
    kept_dense = matching(weights, dense, other_names(model))
    weights = {name: p for name, p in weights.items() if name not in kept_dense}
    if not weights:
        raise InputError("There is no parameter with two dimensions or more to make sparse.")
    return weights


def other_names(model: PointLike) -> dict[str, str]:
    """The further names of tied parameters → the one that they go by."""
    if isinstance(model, Mapping):
        return {}
    first = {id(parameter): name for name, parameter in named_parameters(model).items()}
    found = {
        plain_name(f"{layer}.{name}".lstrip(".")): first[id(parameter)]
        for layer, module in model.named_modules(remove_duplicate=False)
        for name, parameter in module._parameters.items()
        if id(parameter) in first
    }
    return {other: name for other, name in found.items() if other != name}


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns, if that is what they are."""
    if isinstance(patterns, str):
        raise InputError(f"Patterns are a list of names, not the text {patterns!r}.")
    if not isinstance(patterns, Iterable):
        raise InputError(f"Patterns are a list of names, not {patterns!r}.")
    patterns = tuple(patterns)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InputError(f"A pattern is a name, not {pattern!r}.")
    return patterns


def matching(
    names: Iterable[str], patterns: Iterable[str], others: Mapping[str, str] | None = None
) -> set[str]:
    """The names that a pattern of :func:`named_weights` matches.

    Args:
        others: further names of them, see :func:`other_names`.
    """
    names = list(names)
    known = {**{o: n for o, n in (others or {}).items() if n in names}, **{n: n for n in names}}
    found: set[str] = set()
    for pattern in check_patterns(patterns):
        hits = {n for n in known if fnmatchcase(n, pattern) or fnmatchcase(n, f"{pattern}.*")}
        if not hits:
            raise InputError(f"The pattern {pattern!r} matches none of {', '.join(names)}.")
        found |= {known[hit] for hit in hits}
    return found


def as_point(model: PointLike) -> Point:
    """The point itself: detached tensors that share their storage with what was given.

    Of a model: its parameters and its buffers.

    >>> sorted(as_point(nn.BatchNorm1d(2)))
    ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight']
    """
    if isinstance(model, nn.Module):
        named = [*model.named_parameters(), *model.named_buffers()]
        return {plain_name(name): tensor.detach() for name, tensor in named}
    if isinstance(model, Mapping):
        for name, tensor in model.items():
            if not isinstance(tensor, Tensor):
                kind = type(tensor).__name__
                raise InputError(f"A point is made of tensors: {name!r} is of type {kind}.")
        return {plain_name(name): tensor.detach() for name, tensor in model.items()}
    raise InputError(f"A point is a model or a mapping of names to tensors, not {model!r:.60}.")


def coordinates(point: PointLike, names: Collection[str] | None = None) -> list[str]:
    """The names that span weight space: a model's parameters; of a mapping, which does not say
    what is a buffer, those of the names, or else every tensor of real numbers but BatchNorm's
    statistics. Integers are no coordinates.

    >>> coordinates(nn.BatchNorm1d(2)), coordinates(as_point(nn.BatchNorm1d(2)))
    (['weight', 'bias'], ['weight', 'bias'])
    """
    found = as_point(point)
    if names is None and isinstance(point, nn.Module):
        names = named_parameters(point)
    if names is None:
        return [n for n, t in found.items() if t.is_floating_point() and not is_statistic(n)]
    return [n for n, t in found.items() if n in names and (t.is_floating_point() or t.is_complex())]


def check_numbers(point: Mapping[str, Tensor]) -> None:
    """What lays all coordinates in one row takes real numbers of one type.

    Raises:
        InputError: there is nothing, or complex numbers, or several types.

    >>> check_numbers({"w": torch.zeros(2), "b": torch.zeros(1, dtype=torch.float64)})
    Traceback (most recent call last):
    sparsescape.errors.InputError: 'w' is of float32 and 'b' of float64: give all one type.
    """
    if not point:
        raise InputError("There is no parameter of real numbers.")
    first = next(iter(point))
    for name, tensor in point.items():
        kind, other = (str(t.dtype).removeprefix("torch.") for t in (point[first], tensor))
        if tensor.is_complex():
            raise InputError(f"{name!r} is of complex numbers: a landscape is over real ones.")
        if kind != other:
            raise InputError(f"{first!r} is of {kind} and {name!r} of {other}: give all one type.")


def snapshot(model: PointLike) -> Point:
    """A copy of the point that later training does not move."""
    return {name: tensor.clone() for name, tensor in as_point(model).items()}


def fitting(point: PointLike, model: nn.Module) -> Point:
    """The point, if it is one of the model: it has all parameters and nothing that the model lacks.

    Raises:
        InputError: it lacks a parameter of the model, or has another, or a shape differs.
    """
    point = as_point(point)
    shapes = {name: tensor.shape for name, tensor in as_point(model).items()}
    for name in named_parameters(model):
        if name not in point:
            raise InputError(f"The point has no value for the parameter {name!r}.")
    for name, tensor in point.items():
        if name not in shapes:
            raise InputError(f"The model has no parameter named {name!r}.")
        if tensor.shape != shapes[name]:
            raise InputError(
                f"{name!r} has shape {tuple(tensor.shape)} in the point "
                f"and {tuple(shapes[name])} in the model."
            )
    return point


@torch.no_grad()
def move_to(model: nn.Module, point: PointLike) -> None:
    """Set the model's parameters, and the buffers the point carries, to the point, in place.

    Raises:
        InputError: the point does not fit the model (:func:`fitting`).
    """
    targets = as_point(model)
    for name, value in fitting(point, model).items():
        targets[name].copy_(value)


def save_point(point: PointLike, path: str | Path) -> None:
    """Write the point as one safetensors file."""
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in snapshot(point).items()}, str(path))


def load_point(path: str | Path) -> Point:
    """Read a point that :func:`save_point` wrote."""
    from safetensors.torch import load_file

    return load_file(str(path))
