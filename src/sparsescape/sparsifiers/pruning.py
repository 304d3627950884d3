"""Dense to sparse: the mask only shrinks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .. import distributions, schedules, scores
from ..errors import InputError
from ..masks import Mask
from ..points import named_weights
from .base import Sparsifier


class GradualMagnitude(Sparsifier):
    """Gradual magnitude pruning (Zhu & Gupta 2017, *To prune, or not to prune*, section 3).

    Every ``every`` steps from ``begin`` to ``end``, and at ``end``, the weights of smallest
    magnitude are closed, so many that the sparsity is

        s_t = s_f + (s_i − s_f)·(1 − (t − begin)/(end − begin))³.

    What is closed stays closed.

    Args:
        sparsity: s_f, the final share of closed weights.
        begin, end: optimizer steps between which is pruned.
        every: steps between two updates of the mask.
        initial_sparsity: s_i.
        distribution: how the weights that stay are spread over layers: ``"uniform"`` (the
            paper's), ``"erk"``, ``"global"`` or a function (:mod:`sparsescape.distributions`).
        dense: patterns of weights to leave dense.

    Raises:
        InputError: a sparsity outside [0, 1), or an end before the beginning.

    >>> import torch
    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = GradualMagnitude(0.9, begin=1, end=3, every=1).attach(model, optimizer)
    >>> counts = []
    >>> for _ in range(4):
    ...     model(torch.ones(1, 10)).sum().backward()
    ...     optimizer.step()
    ...     counts.append(sparsifier.mask.count)
    >>> counts
    [100, 21, 10, 10]
    """

    def __init__(
        self,
        sparsity: float,
        *,
        begin: int,
        end: int,
        every: int = 100,
        initial_sparsity: float = 0.0,
        distribution: str | distributions.Distribution = "uniform",
        dense: Iterable[str] = (),
    ):
        super().__init__(dense=dense)
        for value in (sparsity, initial_sparsity):
            if not 0 <= value < 1:
                raise InputError(f"Sparsity is a number from 0 to below 1, not {value}.")
        if every < 1:
            raise InputError(f"The mask is updated every 1 step or more, not {every}.")
        self.schedule = schedules.cubic(initial_sparsity, sparsity, begin=begin, end=end)
        self.begin, self.end, self.every = begin, end, every
        self.distribution = distributions.named(distribution)

    def first_mask(self, model: nn.Module) -> Mask:
        if self.begin > 0:
            return super().first_mask(model)
        weights = named_weights(model, self.dense)
        densities = self.distribution(weights, sparsity=self.schedule(0))
        return Mask.from_scores(scores.magnitude(weights), densities=densities)

    def next_mask(self, step: int) -> Mask | None:
        due = self.begin <= step <= self.end and (step - self.begin) % self.every == 0
        if due or step == self.end:
            return smallest_closed(self, self.schedule(step))
        return None


class OneShot(GradualMagnitude):
    """One-shot magnitude pruning: all at once, after step ``at`` (Han et al. 2015, section 3).

    Args:
        sparsity: share of weights to close.
        at: the optimizer step after which is pruned; 0 prunes at ``attach``.
        distribution, dense: as in :class:`GradualMagnitude`.

    >>> import torch
    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> OneShot(0.9).attach(model, optimizer).mask.count
    10
    """

    def __init__(
        self,
        sparsity: float,
        *,
        at: int = 0,
        distribution: str | distributions.Distribution = "uniform",
        dense: Iterable[str] = (),
    ):
        super().__init__(sparsity, begin=at, end=at, distribution=distribution, dense=dense)


def smallest_closed(sparsifier: Sparsifier, sparsity: float) -> Mask:
    """The mask that keeps the largest of the weights that are still active."""
    active = sparsifier.mask
    # An open weight that happens to be 0 still goes after all that were closed earlier.
    sizes = {
        name: weight.abs().clamp(min=torch.finfo(weight.dtype).tiny) * active[name]
        for name, weight in sparsifier.weights.items()
    }
    densities = sparsifier.distribution(sizes, sparsity=sparsity)  # type: ignore[attr-defined]
    return Mask.from_scores(sizes, densities=densities) & active
