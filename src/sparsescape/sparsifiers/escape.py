"""A way out for a sparse network that is stuck: open weights, train with them, prune back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from .. import distributions, schedules, scores
from ..errors import InputError, check_steps
from ..masks import Mask, check_mask
from ..selection import top
from .base import Active, Sparsifier
from .nonzeros import shaped_weights
from .redistribution import shared_out
from .static import check_sparsity, select
from .structures import unstructured


class Escape(Sparsifier):
    """Open closed weights by gradient, train with them open, prune back to the count there was.

    For a sparse network that is stuck: where the gradient inside the mask is small and outside it
    is not, the way down is in closed dimensions. A round opens, after step s, closed weights of
    largest |∂L/∂w| of that step; they start at 0 with fresh optimizer state. For ``hold_for`` steps
    all that is open is trained. Then the weights of smallest magnitude are closed, over
    ``prune_for`` steps, along the cubic of gradual pruning (Zhu & Gupta 2017, equation 1), or at
    once; and the count is the one before, exactly. Rounds begin at step ``at`` and every ``every``
    steps; round r of R opens k·(1 + cos(π·r/R))/2 weights, r from 0. After the last one the mask
    stays as it is.

    RigL's growth (Evci et al. 2020, *Rigging the Lottery*, section 3) with the order turned round:
    grown weights are judged by what they became, not closed ones given up for them beforehand.

    Args:
        mask: where to start from; without it and without a sparsity, the model's nonzero weights.
        sparsity: share of weights to close at the start, the smallest of each layer.
        distribution: how many each layer keeps, with ``sparsity``.
        open: k: how many weights to open (an int, at most as many as are closed), or which share of
            the closed ones (a float above 0; 1.0 opens all), one at least.
        hold_for: steps from the opening to the first weight that is closed.
        prune_for: steps from there to the last; 0 closes all at once.
        prune_every: steps between two closings in that time.
        at: the step after which the first round begins, from 1.
        rounds: how many rounds there are.
        every: steps from one round's beginning to the next's; one follows another unless given.
        layers: ``"kept"``: every layer opens in proportion to its count, and is pruned back to it;
            ``"free"``: all layers are opened and pruned together, by one threshold each, and
            weights may move between them. Then they tend to move to where one weight costs most
            operations, as in a convolution over a large image; the count is the same.
        dense, on_collapse: as for every :class:`Sparsifier`.

    Raises:
        InputError: a number that makes no sense, or rounds that overlap; at ``attach``, nothing is
            closed, or fewer weights than are to be opened.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = Escape(sparsity=0.9, open=5, hold_for=2).attach(model, optimizer)
    >>> counts = []
    >>> for _ in range(4):
    ...     model(torch.ones(1, 10)).square().sum().backward()
    ...     optimizer.step()
    ...     counts.append(sparsifier.mask.count)
    >>> counts
    [15, 15, 10, 10]
    """

    def __init__(
        self,
        mask: Mask | None = None,
        *,
        sparsity: float | None = None,
        distribution: str | distributions.Distribution = "uniform",
        open: int | float = 0.003,
        hold_for: int = 100,
        prune_for: int = 0,
        prune_every: int = 1,
        at: int = 1,
        rounds: int = 1,
        every: int | None = None,
        layers: Literal["kept", "free"] = "kept",
        dense: Iterable[str] = (),
        on_collapse: Literal["warn", "raise"] = "warn",
    ):
        super().__init__(dense=dense, on_collapse=on_collapse)
        self.given, self.sparsity = mask, sparsity
        self.distribution = distributions.named(distribution)
        self.opened, self.layers = open, layers
        self.hold_for, self.prune_for, self.prune_every = hold_for, prune_for, prune_every
        self.at, self.rounds = at, rounds
        self.every = hold_for + prune_for if every is None else every
        self._check()
        self.share_opened = schedules.cosine(1.0, end=rounds)
        self.kept_share = schedules.cubic(1.0, 0.0, begin=0, end=prune_for)

    def _check(self) -> None:
        if self.given is not None and self.sparsity is not None:
            raise InputError("Escape takes a mask or a sparsity, not both.")
        check_mask(self.given)
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        check_open(self.opened)
        least = {"hold_for": 1, "prune_for": 0, "prune_every": 1, "at": 1, "rounds": 1}
        for name, low in least.items():
            check_steps(low, **{name: getattr(self, name)})
        if self.every < self.hold_for + self.prune_for:
            raise InputError(
                f"A round takes {self.hold_for + self.prune_for} steps, so the next one cannot "
                f"begin after {self.every}."
            )
        if self.layers not in ("free", "kept"):
            raise InputError(f"The layers are free or kept, not {self.layers!r}.")

    # ------------------------------------------------------------------ when

    def opens(self, step: int) -> bool:
        """Whether a round begins after this step."""
        number, rest = divmod(step - self.at, self.every)
        return rest == 0 and 0 <= number < self.rounds

    def wants_gradient(self, step: int) -> bool:
        return self.opens(step)

    def steps_into_pruning(self, step: int) -> int | None:
        """From 0, where weights of the round that began before this step are closed after it."""
        number, since = divmod(step - self.at - 1, self.every)
        since += 1 + max(0, number - self.rounds + 1) * self.every - self.hold_for
        due = since == self.prune_for or since % self.prune_every == 0
        return since if number >= 0 and 0 <= since <= self.prune_for and due else None

    # ------------------------------------------------------------------ which

    def first_mask(self, model: nn.Module) -> Active:
        first = Mask(self._start_from(model))
        check_room(self.opened, first.total - first.count)
        return first

    def _start_from(self, model: nn.Module) -> Active:
        if self.given is not None:
            return self.given
        weights = shaped_weights(model, self.dense)
        if self.sparsity is None:
            return {name: weight != 0 for name, weight in weights.items()}
        densities = self.distribution(weights, sparsity=self.sparsity)
        return select(scores.magnitude(weights), densities, unstructured)

    def start(self) -> None:
        """The counts that every round ends at, and those that its pruning begins from."""
        self.memory["counts"] = _counts(self.active)
        self.memory["open"] = _counts(self.active)

    def next_mask(self, step: int) -> Active | None:
        pruning, mask = self.steps_into_pruning(step), None
        if pruning is not None:
            mask = self._pruned(pruning)
        if self.opens(step):  # one round may begin where the one before it ends
            mask = self._opened(self.active if mask is None else mask)
            self.memory["open"] = _counts(mask)
        return mask

    def _opened(self, active: Active) -> Active:
        room = {n: int((~a).count_nonzero()) for n, a in active.items()}
        closed = sum(room.values())
        count = round(
            how_many(self.opened, closed) * self.share_opened((self.step - self.at) // self.every)
        )
        steepness = {n: self.gradient(n).abs() for n in active}
        allowed = {n: ~a for n, a in active.items()}
        if self.layers == "free":
            grown = largest(steepness, allowed, min(count, closed))
        else:
            grown = _each(
                steepness, allowed, shared_out(min(count, closed), self.memory["counts"], room)
            )
        return {n: a | grown[n] for n, a in active.items()}

    def _pruned(self, step: int) -> Active:
        """The largest of the active weights, as many as stay ``step`` steps into the pruning."""
        active, share = self.active, self.kept_share(step)
        before, after = self.memory["open"], self.memory["counts"]
        sizes = {n: self.weight(n).abs() for n in active}
        if self.layers == "free":
            stay = _between(sum(before.values()), sum(after.values()), share)
            return largest(sizes, active, stay)
        return _each(sizes, active, {n: _between(before[n], after[n], share) for n in active})


def check_open(count: object) -> None:
    """Raise :class:`InputError` unless it is a number of weights, or a share of the closed ones."""
    if isinstance(count, bool) or not isinstance(count, (int, float)):
        raise InputError(f"How many weights to open is a count or a share, not {count!r}.")
    if isinstance(count, float) and not 0 < count <= 1:
        raise InputError(f"A share of weights to open is above 0 and at most 1, not {count}.")
    if isinstance(count, int) and count < 1:
        raise InputError(f"At least 1 weight is opened, not {count}.")


def how_many(count: int | float, closed: int) -> int:
    """Of so many closed weights: as many, or the nearest number to that share, one at least.

    >>> how_many(40, 1000), how_many(0.04, 1000), how_many(0.001, 64)
    (40, 40, 1)
    """
    return count if isinstance(count, int) else max(1, round(count * closed))


def check_room(count: int | float, closed: int) -> None:
    """Raise :class:`InputError` unless so many weights, or a share of them, can be opened."""
    if closed == 0:
        raise InputError(
            "No weight is closed, so there is none to open: give Escape a mask or a sparsity, or "
            "attach it to a model that has been pruned."
        )
    if isinstance(count, int) and count > closed:
        raise InputError(
            f"{count} weights are to be opened and {closed} are closed; open=1.0 opens all of them."
        )


def largest(score: Mapping[str, Tensor], allowed: Active, count: int) -> Active:
    """The ``count`` highest scores, of all tensors together, among what is allowed.

    >>> scores = {"a": torch.tensor([3.0, 9.0]), "b": torch.tensor([1.0, 0.0])}
    >>> allowed = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    >>> {name: chosen.tolist() for name, chosen in largest(scores, allowed, 2).items()}
    {'a': [True, False], 'b': [True, False]}
    """
    flat = [torch.where(allowed[n], s.float(), -torch.inf).reshape(-1) for n, s in score.items()]
    chosen = top(torch.cat(flat), count).split([part.numel() for part in flat])
    return {n: c.reshape(score[n].shape) & allowed[n] for n, c in zip(score, chosen, strict=True)}


def _each(
    score: Mapping[str, Tensor], allowed: Active, counts: Mapping[str, int]
) -> dict[str, Tensor]:
    """:func:`largest`, each tensor by itself."""
    return {n: largest({n: s}, allowed, counts[n])[n] for n, s in score.items()}


def _counts(active: Active) -> dict[str, int]:
    return {name: int(a.count_nonzero()) for name, a in active.items()}


def _between(before: int, after: int, share: float) -> int:
    return after + round(share * (before - after))
