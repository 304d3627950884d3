"""How many weights each layer keeps: functions from a model to ``{weight name: density}``.

A distribution is a function ``f(model, sparsity=..., dense=[patterns])``. Sparsity is the share of
weights that are closed, over the layers that are not named dense; a layer named dense has density
1. ``dense`` patterns are those of :func:`sparsescape.points.named_weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from .errors import InputError, unknown
from .masks import Mask
from .points import PointLike, matching, named_weights, other_names
from .scores import lamp as lamp_scores
from .scores import magnitude
from .selection import keep_count

Densities = dict[str, float]
Distribution = Callable[..., Densities]


def uniform(model: PointLike, *, sparsity: float, dense: Iterable[str] = ()) -> Densities:
    """Every layer keeps the same share of its weights: d_l = 1 − sparsity.

    >>> from torch import nn
    >>> uniform(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), sparsity=0.75, dense=["1"])
    {'0.weight': 0.25, '1.weight': 1.0}
    """
    weights, closed = _split(model, sparsity, dense)
    return {name: 1.0 if name in closed else 1 - sparsity for name in weights}


def erk(model: PointLike, *, sparsity: float, dense: Iterable[str] = ()) -> Densities:
    """Erdős–Rényi-Kernel: d_l = min(1, ε · Σ dims_l / Π dims_l).

    dims are those of the weight tensor (out, in, and the kernel's). ε is the number at which the
    densities add up to exactly (1 − sparsity)·Σ n_l weights. A layer whose density would exceed 1
    stays dense and the others share what remains, repeated until none exceeds 1
    (Evci et al. 2020, *Rigging the Lottery*, section 3 and its code; Mocanu et al. 2018 for
    fully connected layers).

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(100, 10), nn.Linear(10, 2))
    >>> {name: round(d, 4) for name, d in erk(model, sparsity=0.8).items()}
    {'0.weight': 0.184, '1.weight': 1.0}
    """
    weights, kept_dense = _split(model, sparsity, dense)
    sizes = {n: w.numel() for n, w in weights.items() if n not in kept_dense}
    raw = {n: sum(weights[n].shape) / sizes[n] for n in sizes}
    budget = (1 - sparsity) * sum(sizes.values())
    full: set[str] = set()
    while True:
        rest = [n for n in sizes if n not in full]
        share = sum(raw[n] * sizes[n] for n in rest)
        epsilon = (budget - sum(sizes[n] for n in full)) / share if rest else 0.0
        over = {n for n in rest if epsilon * raw[n] > 1}
        if not over:
            break
        full |= over
    free = kept_dense | full
    return {n: 1.0 if n in free else epsilon * raw[n] for n in weights}


def lamp(model: PointLike, *, sparsity: float, dense: Iterable[str] = ()) -> Densities:
    """The densities that one threshold on the LAMP scores leads to.

    A layer's largest weight has score 1, so no layer loses all its weights before each has but
    one (Lee et al. 2021, *Layer-Adaptive Sparsity for the Magnitude-based Pruning*, section 3;
    :func:`sparsescape.scores.lamp`).

    >>> import torch
    >>> point = {"a": torch.tensor([[30.0, 10.0]]), "b": torch.tensor([[4.0, 2.0]])}
    >>> lamp(point, sparsity=0.5)
    {'a': 0.5, 'b': 0.5}
    """
    return global_(model, sparsity=sparsity, dense=dense, scores=lamp_scores)


def global_(
    model: PointLike,
    *,
    sparsity: float,
    dense: Iterable[str] = (),
    scores: Callable[[PointLike], Mapping[str, Tensor]] = magnitude,
) -> Densities:
    """The densities that one threshold on the scores, for all layers together, leads to.

    >>> import torch
    >>> point = {"a": torch.tensor([[3.0, 1.0]]), "b": torch.tensor([[4.0, 2.0]])}
    >>> global_(point, sparsity=0.75)
    {'a': 0.0, 'b': 0.5}
    """
    weights, kept_dense = _split(model, sparsity, dense)
    sparse = {n: s for n, s in scores(model).items() if n in weights and n not in kept_dense}
    if not sparse:
        return dict.fromkeys(weights, 1.0)
    densities = Mask.from_scores(sparse, sparsity=sparsity).densities
    return {n: densities.get(n, 1.0) for n in weights}


_BY_NAME: dict[str, Distribution] = {
    "uniform": uniform,
    "erk": erk,
    "lamp": lamp,
    "global": global_,
}


def named(distribution: str | Distribution) -> Distribution:
    """The distribution of that name, or the function itself.

    Raises:
        InputError: there is none of that name, or it is neither a name nor a function.
    """
    if callable(distribution):
        return distribution
    if not isinstance(distribution, str):
        raise InputError(f"A distribution is a name or a function, not {distribution!r:.60}.")
    if distribution not in _BY_NAME:
        raise unknown("distribution", distribution, _BY_NAME)
    return _BY_NAME[distribution]


def counts(densities: Densities, sizes: Mapping[str, int]) -> dict[str, int]:
    """Weight name → how many weights stay: the densities in whole weights.

    Each is rounded to the nearest, as ``torch.nn.utils.prune`` does. Where the densities differ,
    one number was asked for all layers together, and rounding must not change it: as few layers
    as it takes, those nearest to a half, are rounded the other way.

    >>> counts({"a": 0.5, "b": 0.5}, {"a": 3, "b": 3})
    {'a': 1, 'b': 1}
    >>> counts({"a": 0.5, "b": 0.35, "c": 0.15}, {"a": 3, "b": 4, "c": 1})
    {'a': 2, 'b': 1, 'c': 0}
    """
    found = {n: keep_count(sizes[n], 1 - d) for n, d in densities.items()}
    if len(set(densities.values()) - {1.0}) < 2:
        return found
    size = sum(sizes[n] for n in found)
    asked = sum(d * sizes[n] for n, d in densities.items())
    missing = keep_count(size, 1 - asked / size) - sum(found.values())
    step = 1 if missing > 0 else -1
    movable = [n for n in found if 0 <= found[n] + step <= sizes[n]]
    movable.sort(key=lambda n: step * (found[n] - densities[n] * sizes[n]))
    return found | {n: found[n] + step for n in movable[: abs(missing)]}


def _split(
    model: PointLike, sparsity: float, dense: Iterable[str]
) -> tuple[dict[str, Tensor], set[str]]:
    """All weights in the model's order, and the names of those that stay dense."""
    if not 0 <= sparsity <= 1:
        raise InputError(f"Sparsity is a number from 0 to 1, not {sparsity}.")
    weights = named_weights(model)
    return weights, matching(weights, dense, other_names(model))
