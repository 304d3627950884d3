"""Which weights matter: functions from a model to ``{weight name: score of each weight}``.

Higher scores are kept. :meth:`sparsescape.Mask.from_scores` turns scores into a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .points import PointLike, named_weights
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
