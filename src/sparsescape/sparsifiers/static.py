"""A mask that is fixed from the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from .. import distributions, scores
from ..errors import InputError
from ..masks import Mask
from ..points import named_weights
from .base import Active, Sparsifier
from .shards import gathered
from .structures import Structure, unstructured


class Static(Sparsifier):
    """Train with one mask from beginning to end.

    Args:
        mask: the mask; or else
        sparsity: share of weights to close, at random,
        distribution: ``"uniform"``, ``"erk"``, ``"lamp"``, ``"global"`` or a function
            (:mod:`sparsescape.distributions`),
        structure: which patterns are allowed (:mod:`sparsescape.sparsifiers.structures`),
        seed: of the random choice,
        dense, on_collapse: as for every :class:`Sparsifier`.

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
        structure: Structure = unstructured,
        seed: int = 0,
        dense: Iterable[str] = (),
        on_collapse: Literal["warn", "raise"] = "warn",
    ):
        super().__init__(dense=dense, on_collapse=on_collapse)
        if (mask is None) == (sparsity is None):
            raise InputError("Static takes either a mask or a sparsity.")
        self.given = mask
        self.sparsity = sparsity
        self.distribution = distributions.named(distribution)
        self.structure = structure
        self.seed = seed

    def first_mask(self, model: nn.Module) -> Active:
        if self.given is not None:
            return self.given
        point = named_weights(gathered(model), self.dense)
        densities = self.distribution(point, sparsity=self.sparsity)
        return select(scores.random(point, seed=self.seed), densities, self.structure)


def select(
    scores: Mapping[str, Tensor], densities: Mapping[str, float], structure: Structure
) -> Active:
    """The highest scores in an allowed pattern, layer by layer, as many as the densities say."""
    if not all(0 <= density <= 1 for density in densities.values()):
        raise InputError("A density is a number from 0 to 1.")
    for name in densities:
        if scores[name].isnan().any():
            raise InputError(f"The scores of {name!r} contain NaN.")
    kept = distributions.counts(dict(densities), {n: s.numel() for n, s in scores.items()})
    return {n: pattern(scores[n], count, structure) for n, count in kept.items()}


def pattern(scores: Tensor, count: int, structure: Structure) -> Tensor:
    """The structure's choice; a weight that is to be dense is dense in every structure."""
    if count == scores.numel():
        return torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    return structure(scores, count)
