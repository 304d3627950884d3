"""Dense to sparse: the mask mostly shrinks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import nn

from .. import distributions, schedules, scores
from ..errors import InputError, check_steps, is_whole
from ..points import PointLike
from .base import Active, NextMask, Sparsifier
from .bits import all_or_none, close
from .nonzeros import shaped_weights
from .shards import local
from .static import check_sparsity, select
from .structures import (
    ANY,
    BLOCKS,
    FAN_IN,
    OWN,
    Structure,
    check_density,
    check_structure,
    unstructured,
)


@dataclass(eq=False)
class Magnitude(Sparsifier):
    """What magnitude pruning of every kind shares: keep the largest at some sparsity.

    Args:
        sparsity: share of weights to close.
        distribution: how the weights that stay are spread over layers: ``"uniform"``, ``"erk"``,
            ``"global"`` or a function (:mod:`sparsescape.distributions`).
        structure: which patterns are allowed (:mod:`sparsescape.sparsifiers.structures`).
        dense, on_collapse: as for every :class:`Sparsifier`.
    """

    sparsity: float
    _: KW_ONLY
    distribution: str | distributions.Distribution = "uniform"
    structure: Structure = unstructured

    patterns: ClassVar[tuple[str, ...]] = (BLOCKS, FAN_IN, OWN)
    """The kinds of structure that it takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sparsity = check_sparsity(self.sparsity)
        check_structure(self.structure, self.patterns, self)
        check_density(self.structure, self.sparsity)
        self.distribution = distributions.named(self.distribution)

    def largest(self, point: PointLike, sparsity: float, among: Active | None = None) -> Active:
        """The largest weights of a point; with ``among``, of those that are in it, and no others.

        An active weight that happens to be 0 comes before those that were closed earlier.
        """
        sizes = scores.magnitude(point)
        if among is not None:
            for name, size in sizes.items():
                size.clamp_(min=torch.finfo(size.dtype).tiny)
                close(size, all_or_none(among[name], like=size))
        densities = self.distribution(sizes, sparsity=sparsity)  # type: ignore[operator]
        found = select(sizes, densities, self.structure)
        return found if among is None else {n: a & among[n] for n, a in found.items()}


@dataclass(eq=False)
class GradualMagnitude(Magnitude):
    """Gradual magnitude pruning (Zhu & Gupta 2017, *To prune, or not to prune*, section 3).

    Every ``every`` steps from ``begin`` to ``end``, and at ``end``, the weights of smallest
    magnitude are closed, so many that the sparsity is

        s_t = s_f + (s_i − s_f)·(1 − (t − begin)/(end − begin))³.

    What is closed stays closed.

    Args:
        sparsity: s_f, the final share of closed weights.
        begin, end: the first and the last optimizer step after which weights are closed.
        every: steps between two updates of the mask.
        initial_sparsity: s_i, the share of closed weights at ``begin``.
        distribution: how the weights that stay are spread over layers: ``"uniform"`` (the
            paper's), ``"erk"``, ``"global"`` or a function (:mod:`sparsescape.distributions`).
        structure: which patterns are allowed (:mod:`sparsescape.sparsifiers.structures`).
        dense, on_collapse: as for every :class:`Sparsifier`.

    Raises:
        InputError: a sparsity outside [0, 1), one that falls, or an end before the beginning.

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

    _: KW_ONLY
    begin: int
    end: int
    every: int = 100
    initial_sparsity: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.initial_sparsity = check_sparsity(self.initial_sparsity)
        if not is_whole(self.every, 1):
            raise InputError(f"The mask is updated every 1 step or more, not {self.every}.")
        check_steps(begin=self.begin, end=self.end)
        if self.initial_sparsity > self.sparsity:
            raise InputError(
                f"Pruning begins at a lower sparsity than it ends at, not at "
                f"{self.initial_sparsity} for {self.sparsity}."
            )
        self.schedule = schedules.cubic(
            self.initial_sparsity, self.sparsity, begin=self.begin, end=self.end
        )

    def first_mask(self, model: nn.Module) -> NextMask:
        if self.begin > 0:
            return super().first_mask(model)
        return self.largest(shaped_weights(model, self.dense), self.schedule(0))

    def due(self, step: int) -> bool:
        """Whether the mask is updated after this step."""
        on_time = self.begin <= step <= self.end and (step - self.begin) % self.every == 0
        return on_time or step == self.end

    def next_mask(self, step: int) -> Active | None:
        if not self.due(step):
            return None
        return self.largest(self.weights, self.schedule(step), among=self.active)


@dataclass(eq=False)
class OneShot(Magnitude):
    """One-shot magnitude pruning: all at once, after step ``at`` (Han et al. 2015, section 3).

    Args:
        sparsity: share of weights to close.
        at: the optimizer step after which is pruned; 0 prunes at ``attach``.
        distribution, structure, dense, on_collapse: as in :class:`GradualMagnitude`.

    >>> import torch
    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> OneShot(0.9).attach(model, optimizer).mask.count
    10
    """

    _: KW_ONLY
    at: int = 0

    patterns = ANY

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(at=self.at)

    def first_mask(self, model: nn.Module) -> NextMask:
        if self.at > 0:
            return super().first_mask(model)
        return self.largest(shaped_weights(model, self.dense), self.sparsity)

    def next_mask(self, step: int) -> Active | None:
        return self.largest(self.weights, self.sparsity) if step == self.at else None


@dataclass(eq=False)
class ACDC(Magnitude):
    """AC/DC: dense and sparse phases in turn.

    Dense until ``begin``; then phases of ``phase`` steps, sparse first: at the start of a sparse
    phase the largest weights of all layers together are kept, at the start of a dense one all are
    opened, at 0, and the optimizer's state of all of them is fresh. The last dense phase may be
    longer; from ``end`` on it stays sparse (Peste et al. 2021, *AC/DC: Alternating
    Compressed/DeCompressed Training of Deep Neural Networks*, section 3 and Algorithm 1).

    The authors' schedule for 100 epochs (``configs/neurips``) is 10 of warm-up, phases of 5, the
    last dense one from 75 to 85. That momentum starts at 0 with a dense phase is their
    ``--reset_momentum_after_recycling``, which all their scripts set; it is that of the sparse
    weights here, theirs is that of biases and norms as well.

    Args:
        sparsity: share of closed weights in the sparse phases.
        begin: steps of dense warm-up.
        phase: steps of one phase.
        end: the step at which the last, sparse phase starts.
        last_dense: steps of the dense phase before it; ``phase`` unless given.
        distribution: ``"global"`` (the paper's) or another of :mod:`sparsescape.distributions`.
        structure, dense, on_collapse: as in :class:`GradualMagnitude`.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = ACDC(0.9, begin=1, phase=2, end=5).attach(model, optimizer)
    >>> counts = []
    >>> for _ in range(6):
    ...     model(torch.ones(1, 10)).sum().backward()
    ...     optimizer.step()
    ...     counts.append(sparsifier.mask.count)
    >>> counts
    [10, 10, 100, 100, 10, 10]
    """

    _: KW_ONLY
    begin: int
    phase: int
    end: int
    last_dense: int | None = None
    distribution: str | distributions.Distribution = "global"

    patterns = ANY

    def __post_init__(self) -> None:
        super().__post_init__()
        dense_at_last = self.phase if self.last_dense is None else self.last_dense
        check_steps(begin=self.begin, phase=self.phase, end=self.end, last_dense=dense_at_last)
        if self.phase < 1 or self.end < self.begin:
            raise InputError("A phase takes 1 step or more, and the end comes after the beginning.")
        if self.last_dense is not None and self.last_dense > self.end - self.begin:
            raise InputError(
                f"The last dense phase fits between the beginning and the end, "
                f"{self.end - self.begin} steps: it cannot take {self.last_dense}."
            )

    def next_mask(self, step: int) -> Active | None:
        last = self.end - (self.phase if self.last_dense is None else self.last_dense)
        number, rest = divmod(step - self.begin, self.phase)
        in_turn = self.begin <= step < last and rest == 0
        if step == self.end or (in_turn and number % 2 == 0):
            return self.largest(self.weights, self.sparsity)
        opens = in_turn or self.begin < step == last
        if opens and min(self.densities.values()) < 1:
            self._forget()
            return {n: torch.ones_like(a) for n, a in self.active.items()}
        return None

    @torch.no_grad()
    def _forget(self) -> None:
        """Give the optimizer's state of all sparse weights what is fresh."""
        for name in self._weights:
            for key, value in self._owners.state(name).items():
                local(value).fill_(self._holding.fresh[name].get(key, 0.0))
