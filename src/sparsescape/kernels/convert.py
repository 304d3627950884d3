"""A model's layers from dense to truly sparse and back, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ..errors import InputError
from ..masks import Mask
from ..points import Point, as_point, plain_name
from ..sparsifiers.shards import is_sharded
from .candidates import KINDS, become_sparse, candidates, sparse_layers
from .carriers import carry_layout, drop_layout
from .layer import Sparse
from .measure import faster
from .migrate import check_migratable, migrate
from .pattern import Pattern

Model = TypeVar("Model", bound=nn.Module)
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {s: plain for plain, s in KINDS.items()}


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
    dense convolution before a sparse one gives it out (:mod:`sparsescape.kernels.carriers`). Layers
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
            (a sparsifier is attached to it), the mask does not fit, the optimizer keeps state of
            all parameters together (LBFGS), the model cannot be called with the example inputs,
            dense or sparse, or it is spread over ranks already. The model is then as it was.

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
    check_unspread(model)
    check_migratable(optimizer, model)
    found = candidates(model, min_sparsity, mask, dense)
    _refuse(model, found)
    if example_inputs is not None and found:
        found = faster(model, example_inputs, found)
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
        InputError: a sparsifier is attached to a sparse layer, the optimizer keeps state of all
            parameters together, or the model is spread over ranks. The model is then as it was.
    """
    check_unspread(model)
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


def check_unspread(model: nn.Module) -> None:
    """Before any parameter is exchanged: what spreads a model over ranks keeps those it has seen.

    Raises:
        InputError: it is no model, it is wrapped in DistributedDataParallel, or cut over ranks.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"What is converted is a model, not a {type(model).__name__}.")
    if any(isinstance(module, DistributedDataParallel) for module in model.modules()):
        raise InputError(
            "DistributedDataParallel goes on with the parameters that it was made of: convert the "
            "model first, and wrap it then."
        )
    if any(map(is_sharded, model.parameters())):
        raise InputError("The model is cut over ranks, and truly sparse layers cannot be.")


def dense_point(model: nn.Module) -> Point:
    """The model as a point, weights of truly sparse layers with their zeros; it stays as it is."""
    point = as_point(model)
    layers = {n: layer for n, layer in sparse_layers(model).items() if n in point}
    return point | {n: layer.dense_weight().detach() for n, layer in layers.items()}


def _become_dense(module: Sparse, weight: nn.Parameter) -> None:
    for name in ("indptr", "indices", "_pattern", "watch"):
        module.__dict__.pop(name, None)
    plain: Any = module
    plain.__class__ = _PLAIN[type(module)]
    plain.weight = weight


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
