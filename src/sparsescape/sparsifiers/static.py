"""A mask that is fixed from the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from .. import distributions, scores
from ..errors import InputError, shown
from ..masks import Mask
from ..positions import Positions
from ..seeds import check_seed
from ..selection import has_nan
from .base import Active, NextMask, Sparsifier
from .nonzeros import held_now, shaped_weights
from .structures import ANY, NofM, Structure, check_density, check_structure, unstructured


class Static(Sparsifier):
    """Train with one mask from beginning to end.

    One that is given, or a random one (Liu et al. 2022, *The Unreasonable Effectiveness of Random
    Pruning: Return of the Most Naive Baseline for Sparse Training*, section 3).

    Args:
        mask: the mask; without one, a sparsity is to be given.
        sparsity: share of weights to close, at random; a truly sparse layer starts as it is.
        distribution: how many each layer keeps: ``"uniform"``, ``"erk"``, ``"lamp"``,
            ``"global"`` or a function (:mod:`sparsescape.distributions`).
        structure: which patterns are allowed (:mod:`sparsescape.sparsifiers.structures`).
        seed: of the random choice.
        dense, on_collapse: as for every :class:`Sparsifier`.

    Raises:
        InputError: both or neither of mask and sparsity; at ``attach``, truly sparse layers hold
            more or less than the sparsity says, by a tenth.

    >>> import torch
    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> Static(sparsity=0.75).attach(model, optimizer).mask.count
    25
    """

    on_nonzeros = True
    patterns: ClassVar[tuple[str, ...]] = ANY
    """The kinds of structure that it takes."""

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
        if mask is not None and not isinstance(mask, Mask):
            raise InputError(f"The mask is an ss.Mask, not {shown(mask)}; a sparsity is named so.")
        check_structure(structure, self.patterns, self)
        if sparsity is not None:
            sparsity = check_sparsity(sparsity)
            check_density(structure, sparsity)
        self.given = mask
        self.sparsity = sparsity
        self.distribution = distributions.named(distribution)
        self.structure = structure
        self.seed = check_seed(seed)

    def first_mask(self, model: nn.Module) -> NextMask:
        if self.given is not None:
            return self.given
        weights = shaped_weights(model, self.dense)
        held = held_now(model, weights)
        masked = {n: w for n, w in weights.items() if n not in held}
        found: dict[str, Tensor | Positions] = dict(held)
        if masked:
            assert self.sparsity is not None
            densities = densities_of(weights, self.distribution, self.sparsity)
            asked = {n: densities[n] for n in masked}
            found |= select(scores.random(masked, seed=self.seed), asked, self.structure)
        mask = Mask({n: found[n] for n in weights})
        if held:
            self._check_held(mask)
        return mask

    def _check_held(self, mask: Mask) -> None:
        """Truly sparse layers start as they are, which must be about what was asked for."""
        assert self.sparsity is not None
        density = 1 - self.sparsity
        if abs(mask.count - density * mask.total) > 0.1 * density * mask.total + len(mask):
            raise InputError(
                f"The mask of truly sparse layers starts at the positions they hold, a sparsity of "
                f"{mask.sparsity:.6g} and not {self.sparsity:.6g}; give that one, or a mask to "
                "start from."
            )


def densities_of(
    weights: Mapping[str, Tensor], distribution: distributions.Distribution, sparsity: float
) -> distributions.Densities:
    """What the distribution says of weights, those of truly sparse layers as shapes alone.

    Raises:
        InputError: the distribution looks at numbers that are not there.
    """
    needs_numbers = distribution in (distributions.lamp, distributions.global_)
    if needs_numbers and any(w.is_meta for w in weights.values()):
        raise InputError(
            "Where layers are truly sparse the distribution is 'uniform' or 'erk': the others look "
            "at the numbers of dense weights."
        )
    densities = distribution(weights, sparsity=sparsity)
    check_densities(densities, weights)
    return densities


def check_densities(densities: object, names: Iterable[str]) -> None:
    """Refuse what does not say of each weight which share of it is kept."""
    if not isinstance(densities, Mapping) or set(densities) != set(names):
        said = list(densities) if isinstance(densities, Mapping) else densities
        raise InputError(f"A distribution says a density for each of {list(names)}, not {said!r}.")
    for name, density in densities.items():
        if not (isinstance(density, Real) and 0 <= float(density) <= 1):
            raise InputError(f"A density is a number from 0 to 1, not {density!r:.60} of {name!r}.")


def check_sparsity(sparsity: object) -> float:
    """The sparsity as a plain number, of whatever library it is one.

    >>> check_sparsity(1.0)
    Traceback (most recent call last):
    sparsescape.errors.InputError: Sparsity is a number from 0 to below 1, not 1.0.
    """
    if isinstance(sparsity, Real) and not isinstance(sparsity, bool) and 0 <= float(sparsity) < 1:
        return float(sparsity)
    raise InputError(f"Sparsity is a number from 0 to below 1, not {sparsity!r:.60}.")


def select(
    scores: Mapping[str, Tensor], densities: Mapping[str, float], structure: Structure
) -> Active:
    """The highest scores in an allowed pattern, layer by layer, as many as the densities say."""
    check_densities(densities, scores)
    for name in densities:
        if has_nan(scores[name]):
            raise InputError(f"The scores of {name!r} contain NaN.")
    kept = distributions.counts(dict(densities), {n: s.numel() for n, s in scores.items()})
    return {n: pattern(scores[n], count, structure) for n, count in kept.items()}


def pattern(scores: Tensor, count: int, structure: Structure) -> Tensor:
    """The structure's choice; a weight that is to be dense is dense in all but N:M."""
    if count == scores.numel() and not isinstance(structure, NofM):
        return torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    return structure(scores, count)
