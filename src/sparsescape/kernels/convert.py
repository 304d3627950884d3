"""A model's layers from dense to truly sparse and back, in place."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError
from ..masks import Mask
from ..points import Point, as_point, matching, named_parameters, plain_name
from .layer import Sparse
from .layout import carry_layout, drop_layout, plain_class
from .migrate import check_migratable, migrate
from .modules import SparseConv2d, SparseLinear
from .pattern import Pattern

Model = TypeVar("Model", bound=nn.Module)
_KINDS: dict[type[nn.Module], type[Sparse]] = {nn.Linear: SparseLinear, nn.Conv2d: SparseConv2d}
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {s: plain for plain, s in _KINDS.items()}


def to_sparse(
    model: Model,
    min_sparsity: float = 0.8,
    example_inputs: Any = None,
    optimizer: Optimizer | None = None,
    *,
    mask: Mask | None = None,
    dense: Iterable[str] = (),
) -> Model:
    """Make Linear and Conv2d layers truly sparse, in place; the model is returned as well.

    From then on their ``weight`` holds the nonzero values only, in one dimension, under the name
    it had; forward and backward passes, gradients and optimizer state follow the number of values.
    Values that training moves to 0 stay held; positions that are not held stay 0.

    Pooling and BatchNorm layers keep the memory order that sparse layers like from then on, and a
    dense convolution before a sparse one gives it out (:mod:`sparsescape.kernels.layout`). Layers
    keep their identity, hooks and mode. Layers whose weight the module around them reads for itself
    (``nn.MultiheadAttention``; any whose ``forward`` says ``self.layer.weight``) stay dense, as do
    layers of a class of one's own.

    Args:
        min_sparsity: a layer with a smaller share of zeros stays dense.
        example_inputs: what the model is called with (a tensor, a tuple, or a dictionary of names):
            then each layer is timed, dense and sparse, and a layer, or the model, that would not
            get faster stays dense. In training mode a backward pass is timed as well.
        optimizer: one that exists already is migrated: parameter groups keep their order, state of
            a weight's shape follows its values. Without it, make the optimizer afterwards.
        mask: which positions to hold; without it, and for weights it does not name, those that are
            not 0. What it names beside Linear and Conv2d layers stays dense.
        dense: patterns of weights to leave dense (see :func:`sparsescape.points.named_weights`).

    Raises:
        InputError: a weight is tied to one of a module that cannot be sparse, or has gradient hooks
            (a sparsifier is attached to it), the mask does not fit, or the optimizer keeps state
            of all parameters together (LBFGS). The model is then as it was.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> Mask({"0.weight": torch.rand(50, 100) < 0.1}).apply_(model)
    >>> x = torch.randn(7, 100)
    >>> before = model(x)
    >>> to_sparse(model)[0].weight.ndim
    1
    >>> torch.allclose(model(x), before, atol=1e-5)
    True
    >>> to_dense(model)[0].weight.shape
    torch.Size([50, 100])
    """
    check_migratable(optimizer, model)
    found = candidates(model, min_sparsity, mask, dense)
    if example_inputs is not None and found:
        from .measure import faster

        found = faster(model, example_inputs, found)
    _refuse(model, found)
    moved: dict[nn.Parameter, tuple[nn.Parameter, Tensor]] = {}
    for module, pattern in found.items():
        weight: Any = module.weight
        if weight not in moved:
            flat = pattern.flat().to(weight.device)
            moved[weight] = (_gathered(weight, flat), flat)
        become_sparse(module, pattern, moved[weight][0])
    if found:
        carry_layout(model)
    if optimizer is not None:
        migrate(optimizer, {old: new for old, (new, _) in moved.items()},
                lambda old, state: state.reshape(-1)[moved[old][1]])  # fmt: skip
    return model


def to_dense(model: Model, optimizer: Optimizer | None = None) -> Model:
    """Undo :func:`to_sparse`, in place; the model is returned as well.

    Args:
        optimizer: is migrated; state of the positions that were not held is 0.

    Raises:
        InputError: a sparsifier is attached to a sparse layer, or the optimizer keeps state of all
            parameters together. The model is then as it was.
    """
    check_migratable(optimizer, model)
    moved: dict[nn.Parameter, tuple[nn.Parameter, Sparse, Pattern]] = {}
    layers = [m for m in model.modules() if isinstance(m, Sparse)]
    if any(layer.watch is not None for layer in layers):
        raise InputError("A sparsifier is attached to truly sparse layers; detach it first.")
    for module in layers:
        values = module.weight
        if values not in moved:
            moved[values] = (_scattered(module), module, module.pattern)
        _become_dense(module, moved[values][0])
    drop_layout(model)
    if optimizer is not None:
        migrate(optimizer, {old: entry[0] for old, entry in moved.items()},
                lambda old, state: _spread(state, moved[old][2]))  # fmt: skip
    return model


def candidates(
    model: nn.Module, min_sparsity: float, mask: Mask | None, dense: Iterable[str]
) -> dict[nn.Module, Pattern]:
    """The layers that can be sparse and are sparse enough, with the positions to hold."""
    if not 0 <= min_sparsity <= 1:
        raise InputError(f"The least sparsity is a number from 0 to 1, not {min_sparsity}.")
    if mask is not None:
        mask.check(_as_dense(model))
    weights = layers_by_weight(model)
    # As for a sparsifier, patterns may name what could not be sparse anyway.
    closed = matching(dict.fromkeys([*weights, *named_parameters(model)]), dense)
    chosen = {name: module for name, module in weights.items() if name not in closed}
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


def dense_point(model: nn.Module) -> Point:
    """The model as a point, weights of truly sparse layers with their zeros; it stays as it is."""
    point = as_point(model)
    layers = {n: layer for n, layer in _sparse_layers(model).items() if n in point}
    return point | {n: layer.dense_weight().detach() for n, layer in layers.items()}


def _as_dense(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters, those that are sparse already in their dense shape."""
    shapes = {name: layer.dense_shape for name, layer in _sparse_layers(model).items()}
    return as_point(model) | {n: torch.empty(s, device="meta") for n, s in shapes.items()}


def _sparse_layers(model: nn.Module) -> dict[str, Sparse]:
    """The truly sparse layers, by the names of their weights."""
    sparse = {n: m for n, m in model.named_modules() if isinstance(m, Sparse)}
    return {f"{plain_name(n)}.weight".lstrip("."): m for n, m in sparse.items()}


def become_sparse(module: nn.Module, pattern: Pattern, values: nn.Parameter) -> None:
    """The Linear or Conv2d holds these values from now on, as the object that it is."""
    module.__class__ = _KINDS[plain_class(module)]
    assert isinstance(module, Sparse)
    module.hold(pattern, values)


def _become_dense(module: Sparse, weight: nn.Parameter) -> None:
    for name in ("indptr", "indices", "_pattern", "watch"):
        module.__dict__.pop(name, None)
    plain: Any = module
    plain.__class__ = _PLAIN[type(module)]
    plain.weight = weight


def layers_by_weight(model: nn.Module) -> dict[str, Any]:
    """The layers that can be sparse, by the names of their weights."""
    return {f"{plain_name(name)}.weight".lstrip("."): m for name, m in _layers(model)}


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Linear and Conv2d layers that own their weight, by name."""
    for name, module in model.named_modules():
        # The fast paths of torch's transformer layers read the weights of their children.
        above, _, own = name.rpartition(".")
        parent = model.get_submodule(above) if name else None
        if isinstance(parent, (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
            continue
        if parent is not None and f"self.{own}.weight" in _forward_of(parent):
            continue
        owns_weight = isinstance(module._parameters.get("weight"), nn.Parameter)
        if plain_class(module) in _KINDS and owns_weight:
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


def _refuse(model: nn.Module, found: dict[nn.Module, Pattern]) -> None:
    """Say no, before anything is changed, where a weight is not the layer's alone."""
    holders: dict[int, list[tuple[str, nn.Module]]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            holders.setdefault(id(parameter), []).append((plain_name(name), module))
    for layer, pattern in found.items():
        weight: Any = layer.weight
        names = holders[id(weight)]
        own = next(name for name, module in names if module is layer)
        if weight._post_accumulate_grad_hooks or weight._backward_hooks:
            raise InputError(f"The weight {own!r} has gradient hooks; detach its sparsifier first.")
        for name, module in names:
            if found.get(module) is not pattern:
                raise InputError(
                    f"The weights {own!r} and {name!r} are tied, and cannot both be sparse; "
                    f"leave them dense: dense=[{own!r}]."
                )


def _gathered(weight: nn.Parameter, flat: Tensor) -> nn.Parameter:
    values = nn.Parameter(weight.detach().reshape(-1)[flat], weight.requires_grad)
    if weight.grad is not None:
        values.grad = weight.grad.reshape(-1)[flat]
    return values


def _scattered(module: Sparse) -> nn.Parameter:
    values = module.weight
    weight = nn.Parameter(module.dense_weight().detach(), values.requires_grad)
    if values.grad is not None:
        weight.grad = _spread(values.grad, module.pattern)
    return weight


def _spread(values: Tensor, pattern: Pattern) -> Tensor:
    flat = values.new_zeros(pattern.shape.numel())
    return flat.index_copy_(0, pattern.flat().to(values.device), values).reshape(pattern.shape)
