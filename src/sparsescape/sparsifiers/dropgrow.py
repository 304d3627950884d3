"""The template of methods that go from sparse to sparse: drop some weights, grow as many others.

A method is a row of choices: drop score × grow score × schedule × distribution × structure. The
rows are in :mod:`dynamic`; what a row leaves out is the template's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .. import distributions, schedules
from ..errors import InputError, check_within, is_whole
from ..masks import Mask, check_mask
from ..positions import Positions, count_active
from ..seeds import check_seed, derived_seed
from ..selection import rankable, top
from .base import Active, NextMask, Sparsifier
from .places import Places
from .static import Static, check_sparsity
from .structures import (
    ANY,
    NofM,
    Structure,
    check_density,
    check_movable,
    check_structure,
    unstructured,
)


@dataclass(eq=False)
class DropGrow(Sparsifier):
    """The template: every ``update_every`` steps, drop a share of the weights and grow as many.

    In layer l with n_l active weights, ⌊f_t·n_l⌋ of those with the lowest :meth:`drop_score` are
    dropped, and as many closed positions with the highest :meth:`grow_score` are grown, at 0.
    Weights just dropped are not grown again, unless there is no other or the method says
    ``regrows``. The share is f_t = f_0·(1 + cos(π·t/update_until))/2, or f_0 throughout where
    there is no ``update_until``. With a ``structure`` what is grown completes the pattern; whole
    blocks are dropped and grown, of N:M and of constant fan-in single weights.

    On truly sparse layers it starts from the positions they hold, or from ``initial_mask``. A score
    that drops sees the values that are held; one that grows is asked for over all positions.

    A method of one's own is a subclass that says what differs::

        class Unmoved(ss.DropGrow):
            def drop_score(self, name):
                return self.step_gradient(name).abs()

    Args:
        sparsity: share of weights to close; the mask starts at random, of a truly sparse layer as
            it is.
        distribution: how many each layer keeps (:mod:`sparsescape.distributions`).
        update_every: steps between two updates of the mask.
        update_until: updates happen before this step; None: always.
        drop_fraction: f_0, the share of a layer's active weights that an update moves.
        structure: which patterns are allowed (:mod:`sparsescape.sparsifiers.structures`).
        seed: of the random choices.
        initial_mask: what to start from, at its own counts, instead of a random mask: for a model
            that is sparse already. ``sparsity`` and ``distribution`` say nothing then.
        dense, on_collapse: as for every :class:`Sparsifier`.

    Raises:
        InputError: a share outside [0, 1], or ``update_every`` below 1.
    """

    sparsity: float
    _: KW_ONLY
    distribution: str | distributions.Distribution = "erk"
    update_every: int = 100
    update_until: int | None = None
    drop_fraction: float = 0.3
    structure: Structure = unstructured
    seed: int = 0
    initial_mask: Mask | None = None

    regrows = False
    on_nonzeros = True
    patterns: ClassVar[tuple[str, ...]] = ANY
    """The kinds of structure that it takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sparsity = check_sparsity(self.sparsity)
        check_within(0, 1, drop_fraction=self.drop_fraction)
        if not is_whole(self.update_every, 1):
            raise InputError(f"The mask is updated every 1 step or more, not {self.update_every}.")
        if self.update_until is not None:
            check_within(0, update_until=self.update_until)
        check_structure(self.structure, self.patterns, self)
        if self.initial_mask is None:
            check_density(self.structure, self.sparsity)
        check_mask(self.initial_mask)
        self.seed = check_seed(self.seed)
        self.distribution = distributions.named(self.distribution)

    # ------------------------------------------------------------------ what a row may say

    def drop_score(self, name: str) -> Tensor:
        """What is lowest is dropped: |w|, unless the method says otherwise.

        A score of each number of the weight; or, of a dense one, in one dimension of the active
        ones alone.
        """
        return self.weight(name).abs()

    def grow_score(self, name: str) -> Tensor | None:
        """What is highest is grown. None, as here: each position is as likely as another."""
        return None

    def due(self, step: int) -> bool:
        """Whether the mask is updated after (or in place of) this step."""
        before_end = self.update_until is None or step < self.update_until
        return step % self.update_every == 0 and before_end

    def drop_share(self, step: int) -> float:
        """f_t."""
        if self.update_until is None:
            return self.drop_fraction
        return schedules.cosine(self.drop_fraction, end=self.update_until)(step)

    def shrunk(self, step: int) -> Active:
        """What an update starts from: the mask, unless the method prunes as well."""
        return self.active

    def kept(self, active: Active, step: int) -> Active:
        """The mask after the drop."""
        counts = {n: count_active(a) for n, a in active.items()}
        keep = {n: k - int(self.drop_share(step) * k) for n, k in counts.items()}
        return {n: self._strongest(n, a, room=counts[n], count=keep[n]) for n, a in active.items()}

    def _strongest(self, name: str, active: Tensor, *, room: int, count: int) -> Tensor:
        """Of so many active ones those of highest drop score."""
        score = self.drop_score(name)
        if isinstance(score, Tensor) and score.shape == active.shape:
            return self._checked(name, self.best(score, active, count), count)
        held = self._held[name]
        if not isinstance(score, Tensor) or score.shape != (held.count,):
            raise InputError(
                f"The drop score of {name!r} is a tensor of shape {tuple(active.shape)}, or of the "
                f"active weights alone, not {_kind(score)}."
            )
        if self.structure is unstructured and len(score) == room:
            kept = held.chosen(top(score, count))
            return self._checked(name, kept, count)
        score = rankable(score)
        spread = torch.zeros(active.shape, dtype=score.dtype, device=active.device)
        spread.masked_scatter_(held.active(), score)
        return self.best(spread, active, count)

    def _checked(self, name: str, kept: Tensor, count: int) -> Tensor:
        """What was kept: fewer than were to be only where the weights themselves are NaN.

        Raises:
            InputError: the score is NaN, and the weights are not.
        """
        few = self.structure is unstructured and count_active(kept) < count
        if few and bool(self.weight(name).isfinite().all()):
            raise InputError(f"The drop score of {name!r} is NaN.")
        return kept

    def grown_counts(self, active: Active, kept: Active) -> Mapping[str, int]:
        """How many each layer grows: as many as it dropped, unless the method moves some."""
        return {n: count_active(a) - count_active(kept[n]) for n, a in active.items()}

    # ------------------------------------------------------------------ the template

    def first_mask(self, model: nn.Module) -> NextMask:
        first = Mask(self._start_from(model))
        check_movable(self.structure, first)
        return first

    def _start_from(self, model: nn.Module) -> NextMask:
        if self.initial_mask is not None:
            return self.initial_mask
        start = Static(
            sparsity=self.start_sparsity(),
            distribution=self.distribution,
            structure=self.structure,
            seed=self.seed,
            dense=self.dense,
        )
        return start.first_mask(model)

    def next_mask(self, step: int) -> NextMask | None:
        if not self.due(step):
            return None
        active = self.shrunk(step)
        kept = self.kept(active, step)
        counts = self.grown_counts(active, kept)
        return {n: self.regrown(n, active[n], kept[n], counts[n]) for n in active}

    def regrown(self, name: str, active: Tensor, kept: Tensor, count: int) -> Tensor | Positions:
        """The mask after the growth: closed positions first, dropped ones where those run out."""
        if self.structure is not unstructured:
            return self._filled(name, active, kept, count)
        if count == 0:
            return kept
        grow, held = self.growth(name), self._held[name]
        fresh = held.beyond(kept if self.regrows else active)
        first = grow(fresh, min(count, fresh.count))
        left = count - first.count
        if left == 0:
            return held.joined(kept, first)
        return held.joined(kept, first, grow(held.among(active & ~kept), left))

    def _filled(self, name: str, active: Tensor, kept: Tensor, count: int) -> Tensor:
        """The whole pattern, chosen by what was kept first, then by the scores of the others."""
        score = self._grow_score(name)
        wish = within_1(self.noise("grow", name) if score is None else score)
        fresh = ~(kept if self.regrows else active)
        order = torch.where(kept, 2.0, torch.where(fresh, wish, wish - 1e3))
        return self.structure(order, count_active(kept) + count)

    def growth(self, name: str) -> Callable[[Places, int], Places]:
        """What chooses so many of the places that are allowed."""
        score = self._grow_score(name)
        if score is None:
            chance = np.random.default_rng(derived_seed(self.seed, "grow", self.step, name))
            return lambda places, count: places.drawn(chance, count)
        return lambda places, count: places.best(score, count, self.best)

    def _grow_score(self, name: str) -> Tensor | None:
        score = self.grow_score(name)
        shape = self._held[name].shape
        if score is not None and not (isinstance(score, Tensor) and score.shape == shape):
            raise InputError(
                f"The grow score of {name!r} is a tensor of shape {tuple(shape)} or None, not "
                f"{_kind(score)}."
            )
        return score

    def start_sparsity(self) -> float:
        """The sparsity of the first mask."""
        return self.sparsity

    def best(self, score: Tensor, allowed: Tensor, count: int) -> Tensor:
        """The ``count`` highest scores of what is allowed, in the method's structure.

        Of N:M any: what is dropped leaves gaps in its groups, which the growth fills.
        """
        if count <= 0:
            return torch.zeros_like(allowed)
        if self.structure is unstructured or isinstance(self.structure, NofM):
            return top(score, count, allowed)
        return self.structure(among(rankable(score), allowed), count) & allowed

    def noise(self, purpose: str, name: str) -> Tensor:
        """Numbers in [0, 1) for this step and weight, the same on every machine."""
        return self._held[name].noise(derived_seed(self.seed, purpose, self.step, name))

    def room(self, inside: Active) -> dict[str, int]:
        """How many positions of each weight are not inside."""
        return {n: self.size(n) - count_active(i) for n, i in inside.items()}


def _kind(score: object) -> str:
    return f"one of {tuple(score.shape)}" if isinstance(score, Tensor) else f"{score!r:.60}"


def among(score: Tensor, allowed: Tensor) -> Tensor:
    """The score where it is allowed, and −10³⁰ elsewhere (an addition: the fastest way)."""
    return allowed.to(score.dtype).sub_(1).mul_(1e30).add_(score)


def within_1(score: Tensor) -> Tensor:
    """The scores in [0, 1) in the same order, infinite ones last, and −10⁶ for −∞: never, if there
    is another. In double precision, as those of near 0 beside a large one are told apart.

    >>> within_1(torch.tensor([3.0, 0.0, 4.0, torch.inf, -torch.inf])).tolist()
    [0.375, 0.0, 0.5, 0.75, -1000000.0]
    """
    # Infinite ones become the largest numbers there are.
    score = rankable(score.detach()).nan_to_num(0.0)
    largest = score.abs() >= torch.finfo(score.dtype).max
    wide = torch.where(largest, 0.0, score.double())
    wide = wide - wide.amin().clamp(max=0)
    wide = wide / (2 * wide.amax().clamp(min=1e-300))
    return torch.where(largest, torch.where(score > 0, 0.75, -1e6), wide)
