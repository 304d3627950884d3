"""A mask that is fixed from the start."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from .. import distributions, scores
from ..errors import InputError
from ..masks import Mask
from ..points import named_weights
from .base import Sparsifier


class Static(Sparsifier):
    """Train with one mask from beginning to end.

    Args:
        mask: the mask; or else
        sparsity: share of weights to close, at random,
        distribution: ``"uniform"``, ``"erk"``, ``"global"`` or a function
            (:mod:`sparsescape.distributions`),
        seed: of the random choice,
        dense: patterns of weights to leave dense.

    Raises:
        InputError: both or neither of mask and sparsity.

    >>> import torch
    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> Static(sparsity=0.75).attach(model, optimizer).mask.count
    25
    """

    def __init__(
        self,
        mask: Mask | None = None,
        *,
        sparsity: float | None = None,
        distribution: str | distributions.Distribution = "uniform",
        seed: int = 0,
        dense: Iterable[str] = (),
    ):
        super().__init__(dense=dense)
        if (mask is None) == (sparsity is None):
            raise InputError("Static takes either a mask or a sparsity.")
        self.given = mask
        self.sparsity = sparsity
        self.distribution = distributions.named(distribution)
        self.seed = seed

    def first_mask(self, model: nn.Module) -> Mask:
        if self.given is not None:
            return self.given
        weights = named_weights(model, self.dense)
        densities = self.distribution(weights, sparsity=self.sparsity)
        return Mask.from_scores(scores.random(weights, seed=self.seed), densities=densities)
