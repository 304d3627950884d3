"""A masked network run truly sparse where that is faster, and its points there and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..masks import Mask
from ..objective import Objective
from ..points import Point, as_point, is_statistic
from .candidates import layers_by_weight
from .convert import to_sparse
from .ops import numba_is_there

SMALL, LARGE = 0.125, 0.2
"""The largest densities at which small and large layers are run sparse: what calling a small one
costs is more of what it gains."""
FROM = {nn.Linear: (100_000, 500_000), nn.Conv2d: (0, 10_000)}
"""How many weights make a Linear, or all Conv2d together, small ones, and how many large ones."""


class Compressed:
    """An objective on the network that holds only the active weights of some of its layers.

    A point of the network and its compressed form are the same, but for the weights of those
    layers, which have one dimension there: the active values in order.

    Args:
        objective: in the form of all weights; left as it is.
        mask: its weights are compressed. Points to be compressed are 0 outside it.

    Raises:
        InputError: a layer cannot be sparse.
    """

    def __init__(self, objective: Objective, mask: Mask):
        self.mask = mask
        self.objective = objective.rebuilt(lambda model: sparse_inside(model, mask))

    def into(self, point: Point) -> Point:
        """The compressed form of a point."""
        return {n: t.reshape(-1)[self._at(n, t)] if n in self.mask else t for n, t in point.items()}

    def back(self, point: Point) -> Point:
        """The point of a compressed form."""
        return {n: self._spread(n, t) if n in self.mask else t for n, t in point.items()}

    def rest(self, subspace: Mask | None) -> Mask | None:
        """What a subspace closes in the weights that are not compressed."""
        if subspace is None:
            return None
        return Mask({n: subspace[n] for n in subspace if n not in self.mask}) or None

    def _at(self, name: str, like: Tensor) -> Tensor:
        return self.mask.indices(name).to(like.device)

    def _spread(self, name: str, values: Tensor) -> Tensor:
        shape = self.mask.shapes[name]
        flat = values.new_zeros(shape.numel())
        return flat.index_copy_(0, self._at(name, values), values).reshape(shape)


def compressed(objective: Objective, mask: Mask) -> Compressed | None:
    """The objective with those layers sparse that its ``execution`` asks for, if there are any.

    None too where such a network does not say what the dense one says: a model of one's own may
    read its layers' weights for itself. That is tried on two examples.

    Raises:
        InputError: ``"sparse"`` is asked for and cannot be had.
    """
    chosen = sparse_part(objective.model, mask, objective.execution)
    if not chosen:
        return None
    try:
        found = Compressed(objective, chosen)
        _compare(objective, found)
    except Exception as error:  # whatever a user's model raises when a weight has one dimension
        if objective.execution == "sparse":
            why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise InputError(
                f"This network cannot be run sparse, for its code uses a layer's weight for itself "
                f"({why}); leave execution to 'auto', or ask for 'masked'."
            ) from error
        return None
    return found


def runs_sparse(objective: Objective, mask: Mask) -> Mask:
    """The part of a mask whose layers :func:`compressed` runs sparse."""
    found = compressed(objective, mask)
    return Mask({}) if found is None else found.mask


def sparse_part(model: nn.Module, mask: Mask, execution: str) -> Mask:
    """The part of a mask whose layers are run on their active weights alone.

    With ``"masked"`` none; with ``"sparse"`` every Linear and Conv2d that can be; with ``"auto"``
    those where it is faster, by a rule of kind, size and density (``benchmarks/execution.py`` holds
    it against the clock): each Linear by itself, and all Conv2d, which hand on to each other the
    memory order that they like, together, if they are no denser than :data:`SMALL` or, of as many
    weights as :data:`FROM` says, :data:`LARGE`; on a CPU, with numba.

    >>> model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Flatten(), nn.Linear(8, 4))
    >>> thin = {n: torch.rand(p.shape) < 0.05 for n, p in model.named_parameters() if p.ndim > 1}
    >>> list(sparse_part(model, Mask(thin), "auto")), list(sparse_part(model, Mask(thin), "sparse"))
    (['0.weight'], ['0.weight', '2.weight'])
    """
    if execution == "masked":
        return Mask({})
    names = [name for name in _untied(model) if name in mask]
    if execution == "auto":
        names = _worthwhile(mask, names) if _is_on_a_cpu(model) and numba_is_there() else []
    return Mask({name: mask[name] for name in names})


def _worthwhile(mask: Mask, names: Sequence[str]) -> list[str]:
    """Those that the rule says of."""
    convolutions = [name for name in names if len(mask.shapes[name]) == 4]
    linear = [name for name in names if len(mask.shapes[name]) == 2]
    together = convolutions if _is_sparse(mask, convolutions, nn.Conv2d) else []
    alone = [name for name in linear if _is_sparse(mask, [name], nn.Linear)]
    return [name for name in names if name in together or name in alone]


def _is_sparse(mask: Mask, names: Sequence[str], kind: type[nn.Module]) -> bool:
    """Whether these weights together are as sparse as the rule asks for at their size."""
    small, large = FROM[kind]
    size = sum(mask.shapes[name].numel() for name in names)
    most = size * (LARGE if size >= large else SMALL)
    # Counts are rounded layer by layer: a fifth is what 80 % leaves, to a weight a layer.
    return size >= small and sum(mask.counts[name] for name in names) <= most + len(names)


def support(points: Iterable[Point]) -> Mask:
    """Where any of the points is not 0: the smallest subspace that holds all their combinations."""
    nonzero = [Mask({n: t != 0 for n, t in p.items() if _is_weight(n, t)}) for p in points]
    return reduce(Mask.__or__, nonzero)


def sparse_inside(model: nn.Module, mask: Mask) -> nn.Module:
    """The model with the layers of the mask truly sparse, in place, and no others."""
    if not mask:
        return model
    others = [name for name in layers_by_weight(model) if name not in mask]
    return to_sparse(model, 0.0, mask=mask, dense=others)


def _untied(model: nn.Module) -> list[str]:
    """The weights of Linear and Conv2d layers that are nobody else's, without hooks."""
    everyones = [id(p) for m in model.modules() for p in m._parameters.values()]
    found = layers_by_weight(model)
    owned = {name: module._parameters["weight"] for name, module in found.items()}
    return [
        name
        for name, weight in owned.items()
        if weight is not None
        and everyones.count(id(weight)) == 1
        and not weight._post_accumulate_grad_hooks
        and not weight._backward_hooks
    ]


def _is_on_a_cpu(model: nn.Module) -> bool:
    return all(p.device.type == "cpu" for p in model.parameters())


def _is_weight(name: str, tensor: Tensor) -> bool:
    return tensor.ndim > 1 and tensor.is_floating_point() and not is_statistic(name)


class _Differs(Exception):
    """The sparse network says something else than the dense one."""


@torch.no_grad()
def _compare(objective: Objective, found: Compressed) -> None:
    point = {n: t.clone() for n, t in as_point(objective.model).items()}
    for name in found.mask:
        point[name] *= found.mask[name]
    inputs, targets = next(iter(objective.batches()))
    few = inputs[:2], targets[:2]
    (expected, _), *_ = objective.rebuilt(data=few).outputs(point)
    (there, _), *_ = found.objective.rebuilt(data=few).outputs(found.into(point))
    if not torch.allclose(expected, there, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise _Differs("its outputs are not those of the dense network")
