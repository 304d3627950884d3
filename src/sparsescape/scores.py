"""Which weights matter: functions from a model to ``{weight name: score of each weight}``.

Higher scores are kept. :meth:`sparsescape.Mask.from_scores` turns scores into a mask.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .masks import Mask
from .objective import Batch, Loss, Objective
from .points import Point, PointLike, as_point, named_weights
from .seeds import generator

Scores = dict[str, Tensor]


def magnitude(model: PointLike) -> Scores:
    """|w| (Han et al. 2015, *Learning both Weights and Connections*, section 3).

    >>> magnitude({"w": torch.tensor([[-2.0, 1.0]])})
    {'w': tensor([[2., 1.]])}
    """
    return {name: w.detach().abs() for name, w in named_weights(model).items()}


def random(model: PointLike, *, seed: int = 0) -> Scores:
    """Uniform noise in [0, 1): the same for the same seed and weight name, on every machine."""
    return {
        name: torch.rand(w.shape, generator=generator(seed, "score", name)).to(w.device)
        for name, w in named_weights(model).items()
    }


def lamp(model: PointLike) -> Scores:
    """w² / Σ v², over the weights v of the same tensor with |v| ≥ |w| (equal ones by flat index).

    Comparable over layers, where magnitudes are not (Lee et al. 2021, *Layer-Adaptive Sparsity for
    the Magnitude-based Pruning*, equation 5).

    >>> lamp({"w": torch.tensor([[1.0, 2.0, 2.0]])})["w"].tolist()
    [[0.1111111119389534, 1.0, 0.5]]
    """
    return {name: _lamp_of(w.detach()) for name, w in named_weights(model).items()}


def _lamp_of(weight: Tensor) -> Tensor:
    squares = weight.reshape(-1).double().square()
    order = squares.argsort(descending=True, stable=True)
    ranked = squares[order]
    score = torch.empty_like(squares)
    score[order] = ranked / ranked.cumsum(0).clamp(min=torch.finfo(squares.dtype).tiny)
    return score.to(weight.dtype).reshape(weight.shape)


Data = Batch | Iterable[Batch]


def gradient(
    model: nn.Module, data: Data, loss: Loss = F.cross_entropy, *, mask: Mask | None = None
) -> Scores:
    """|∂L/∂w| over the data; the one RigL grows by (Evci et al. 2020, section 3).

    Args:
        data: ``(inputs, targets)`` or an iterable of batches; BatchNorm uses each batch's own
            statistics, as in training, and dropout is off.
        loss: ``loss(outputs, targets)``, the mean over a batch.
        mask: the network that the gradient is taken at; by default the model as it is.
    """
    objective = Objective(model, data, loss, batch_norm="batch")
    gradients = objective.gradient(_masked(model, mask))
    return {name: gradients[name].abs() for name in named_weights(model)}


def snip(
    model: nn.Module, data: Data, loss: Loss = F.cross_entropy, *, mask: Mask | None = None
) -> Scores:
    """|w·∂L/∂w|, the connection sensitivity (Lee et al. 2019, *SNIP*, equation 5).

    Arguments are those of :func:`gradient`; the weights are the model's, the gradient is that at
    the masked network (de Jorge et al. 2021, *Progressive Skeletonization*, equation 6).

    >>> model = nn.Linear(2, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[2.0, 1.0]]))
    >>> snip(model, (torch.eye(2), torch.zeros(2, 1)), F.mse_loss)
    {'weight': tensor([[4., 1.]])}
    """
    gradients = gradient(model, data, loss, mask=mask)
    return {name: w.detach().abs() * gradients[name] for name, w in named_weights(model).items()}


def grasp(
    model: nn.Module, data: Data, loss: Loss = F.cross_entropy, *, mask: Mask | None = None
) -> Scores:
    """w·(H·g): how much of ‖g‖², the gradient flow, is lost without the weight.

    To first order ‖g‖² changes by −2·w·(H·g) when w is closed (Wang et al. 2020, *Picking Winning
    Tickets Before Training by Preserving Gradient Flow*, equation 8, which is this with the
    other sign, and removes the highest). Arguments are those of :func:`gradient`.
    """
    objective = Objective(model, data, loss, batch_norm="batch")
    point = _masked(model, mask)
    product = objective.hessian_vector_product(point, objective.gradient(point))
    return {name: w.detach() * product[name] for name, w in named_weights(model).items()}


def synflow(model: nn.Module, inputs: Tensor, *, mask: Mask | None = None) -> Scores:
    """|w|·∂R/∂|w| with R the sum of the outputs for an input of ones, all parameters positive.

    Tanaka et al. 2020, *Pruning neural networks without any data by iteratively conserving
    synaptic flow*, equation 6. Without biases its sum is the same in every layer. In float64, for
    products over many layers leave the range of float32; BatchNorm uses its stored statistics.

    Args:
        inputs: one batch: its shape, and its values only where they are indices.
        mask: the network that the flow goes through.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> [score.sum().item() for score in synflow(model, torch.ones(1, 2)).values()][0] > 0
    True
    """
    positive = copy.deepcopy(model).double().eval()
    point = {n: t.double().abs() for n, t in _masked(model, mask).items() if t.is_floating_point()}
    weights = {n: point[n].requires_grad_() for n in named_weights(model)}
    one = inputs[:1]
    one = torch.ones_like(one, dtype=torch.float64) if one.is_floating_point() else one
    flow = functional_call(positive, {**point, **weights}, (one,)).sum()
    slopes = torch.autograd.grad(flow, list(weights.values()))
    return {n: (w * s).detach() for (n, w), s in zip(weights.items(), slopes, strict=True)}


def _masked(model: nn.Module, mask: Mask | None) -> Point:
    """The model's point with the closed weights at 0."""
    point = as_point(model)
    return point | {n: point[n] * active.to(point[n].device) for n, active in (mask or {}).items()}
