"""The nudged elastic band: a chain of pivots that is let down onto a path of least loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError, is_whole
from ...masks import Mask
from ...objective import Batch, Objective, check_objective
from ...points import PointLike
from ...schedules import constant
from ...seeds import derived_seed
from ...training.batches import Batches
from ...training.checkpoints import Checkpoint
from ...training.trainer import Run
from ..curves.bezier import Line
from ..curves.chain import PolygonalChain
from ..curves.curve import Curve
from .fit import Search


@dataclass(frozen=True)
class Cycle:
    """Steps of all pivots at one learning rate; before each but the first, pivots are inserted."""

    steps: int
    lr: float

    def __post_init__(self) -> None:
        if not is_whole(self.steps, 1) or not 0 < self.lr < math.inf:
            raise InputError(
                "A cycle has 1 step or more, a whole number of them, at a finite learning rate "
                f"above 0, not {self.steps} at {self.lr}."
            )


AUTONEB = (
    *(Cycle(1000, 0.1),) * 4,
    *(Cycle(2000, 0.1),) * 2,
    *(Cycle(1000, 0.01),) * 4,
    *(Cycle(1000, 0.001),) * 4,
)
"""The 14 cycles that Draxler et al. 2018 relax their bands in."""

_BETWEEN = 9  # points looked at between two pivots, to see whether one is missing there


@dataclass(frozen=True)
class Band:
    """A nudged elastic band as one way to search; its settings are those of :func:`neb`."""

    cycles: tuple[Cycle, ...] = AUTONEB
    pivots: int = 3
    insert: int = 2
    threshold: float = 0.1
    batch_size: int = 100
    momentum: float = 0.9
    fresh: bool = False
    """Whether it starts from the straight line, instead of the best path so far."""

    def __post_init__(self) -> None:
        if not is_whole(self.pivots, 1) or not is_whole(self.insert, 0):
            raise InputError("A band has 1 pivot or more, and 0 or more are inserted at a time.")
        if not isinstance(self.cycles, Sequence) or not self.cycles:
            raise InputError("A band has one cycle or more, in a list.")
        if not all(isinstance(cycle, Cycle) for cycle in self.cycles):
            raise InputError("A band's cycles are ss.Cycle(steps, lr).")
        if not is_whole(self.batch_size, 1) or not self.threshold >= 0:
            raise InputError("A band's batch is 1 or more, and its threshold 0 or more.")
        if not 0 <= self.momentum < 1:
            raise InputError(f"The momentum is from 0 to below 1, not {self.momentum}.")

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """Relax a band, from the best path so far or from the straight line."""
        ends, subspace, names = (best.start, best.end), best.subspace, best.names
        chain = PolygonalChain(*ends, bends=self.pivots, subspace=subspace, names=names)
        if not self.fresh:
            chain.follow_(best)
        shares = torch.ones(self.pivots + 1, dtype=torch.float64)
        found = []
        for number, cycle in enumerate(self.cycles):
            if number:
                chain, shares = _with_more_pivots(chain, shares, objective, self)
            relaxation = _Relaxation(chain, shares, objective)
            part = checkpoint.part(number) if checkpoint is not None else None
            found.append(relaxation.run(cycle, self, derived_seed(seed, "cycle", number), part))
            if found[-1].diverged:
                break
        if checkpoint is not None:
            checkpoint.discard_parts(len(found))
        return chain, Search(
            steps=sum(each.steps for each in found),
            passes=sum(each.passes for each in found),
            examples=sum(each.examples for each in found),
            diverged=found[-1].diverged,
        )


def neb(
    start: PointLike,
    end: PointLike,
    objective: Objective,
    *,
    subspace: Mask | None = None,
    cycles: tuple[Cycle, ...] = AUTONEB,
    pivots: int = 3,
    insert: int = 2,
    threshold: float = 0.1,
    batch_size: int = 100,
    momentum: float = 0.9,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> tuple[PolygonalChain, Search]:
    """A path of least loss by the nudged elastic band, with pivots inserted where it needs them.

    Every step moves each pivot θ_i down its gradient *across* the band,

        g_i − (g_i·τ_i)·τ_i,    τ_i along the band, towards the neighbour with the higher loss

    (:func:`tangents`), all on one batch, and then spaces the pivots along the band as they are
    meant to be: the limit of infinitely stiff springs. So the band neither cuts corners nor slides
    down into its ends, and no loss has this as its gradient. After a cycle the true loss is looked
    at between the pivots; where it lies above the straight line between the losses of two
    neighbours by more than ``threshold`` times the band's whole range, there is a pivot missing,
    and the ``insert`` worst such places get one.

    Draxler et al. 2018, *Essentially No Barriers in Neural Network Energy Landscape*, section 3
    (AutoNEB) and their published configuration; tangents: Henkelman & Jónsson 2000, *Improved
    tangent estimate in the nudged elastic band method*, equations 8 to 11.

    Args:
        start, end: points or models.
        objective: batches are drawn from its data; between the pivots, all of it is looked at.
        subspace: the mask that the band stays in; None is all of weight space.
        cycles: steps and learning rate of each; the published ones by default.
        pivots: at first, evenly spaced on the straight line.
        insert, threshold: how many pivots are inserted after a cycle at most, and where.
        batch_size, momentum: of SGD.
        seed: decides every batch.
        checkpoint: each cycle has its own file beside it until the search is done.

    Returns:
        The chain through the pivots, and how hard was searched: a step is one pass for every
        pivot and two for the ends.

    Raises:
        InputError: no pivot, no cycle, or an end that does not fit the model or lies outside the
            subspace.

    >>> from torch.nn.functional import mse_loss
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> objective = Objective(model, (torch.ones(4, 1), torch.zeros(4, 1)), mse_loss)
    >>> ends = {"weight": torch.ones(1, 1)}, {"weight": -torch.ones(1, 1)}
    >>> neb(*ends, objective, cycles=(Cycle(2, 0.1), Cycle(2, 0.1)), batch_size=4)[1]
    Search(steps=4, passes=20, examples=80, diverged=False, run_sparse=())
    """
    band = Band(cycles, pivots, insert, threshold, batch_size, momentum, fresh=True)
    check_objective(objective)
    objective.check(start)
    objective.check(end)
    straight = Line(start, end, subspace=subspace, names=objective.parameters)
    chain, search = band.search(straight, objective, seed=seed, checkpoint=checkpoint)
    assert isinstance(chain, PolygonalChain)
    return chain, search


class _Relaxation:
    """One cycle: the chain, its pivots' losses on the batch of the step, and their spacing.

    Args:
        shares: of the band's length, one for every gap between two pivots.
    """

    def __init__(self, chain: PolygonalChain, shares: Tensor, objective: Objective):
        self.chain, self.shares, self.objective = chain, shares, objective
        self.losses = torch.empty(0)

    def run(self, cycle: Cycle, band: Band, seed: int, checkpoint: Checkpoint | None) -> Search:
        chain = self.chain
        batches = Batches(self.objective.examples(), batch_size=band.batch_size, seed=seed)
        run = Run(
            module=chain,
            loss=lambda step: self.loss(batches(step)),
            optimizer=torch.optim.SGD(
                chain.parameters(), lr=cycle.lr, momentum=band.momentum, fused=True
            ),
            learning_rate=constant(cycle.lr),
            steps=cycle.steps,
            transform=self.nudge,
        )
        outcome = run.train(checkpoint)
        if checkpoint is not None:
            checkpoint.save(run.state(outcome.steps))  # the cycles after it build on this one
        passes = outcome.steps * (chain.bends + 2)
        return Search(outcome.steps, passes, passes * batches.batch_size, outcome.diverged)

    def loss(self, batch: Batch) -> Tensor:
        """Space the pivots, and sum their losses: its gradient is every pivot's own."""
        pieces = self.chain.bends + 1
        spaced = respaced(self.band, self.shares)
        with torch.no_grad():
            self.chain.control.copy_(spaced)
            first, last = (self.objective.batch_loss(self.chain(t), batch) for t in (0, 1))
        inner = [self.objective.batch_loss(self.chain(k / pieces), batch) for k in range(1, pieces)]
        self.losses = torch.stack([first, *(loss.detach() for loss in inner), last])
        return torch.stack(inner).sum()

    @torch.no_grad()
    def nudge(self) -> None:
        """Leave of each pivot's gradient what is across the band."""
        gradient, along = self.chain.control.grad, tangents(self.band, self.losses)
        assert gradient is not None
        gradient.sub_((gradient * along).sum(1, keepdim=True) * along)

    @property
    def band(self) -> Tensor:
        """All points of the chain, the ends first and last."""
        chain = self.chain
        inner = chain.control.detach() * chain.openings
        return torch.cat([chain.ends[:1], inner, chain.ends[1:]])


def tangents(band: Tensor, losses: Tensor) -> Tensor:
    """The direction of the band at each inner pivot, of length 1.

    With τ⁺ = θ_{i+1} − θ_i and τ⁻ = θ_i − θ_{i−1}: τ⁺ where the losses rise through i, τ⁻ where
    they fall, and where i is higher or lower than both, the two of them weighted by how far the
    losses of its neighbours are from its own, the larger difference for the higher neighbour.
    Henkelman & Jónsson 2000, equations 8 to 11.

    Args:
        band: (n + 1, d), the ends first and last.
        losses: (n + 1,).

    >>> band = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    >>> tangents(band, torch.tensor([0.0, 1.0, 2.0])), tangents(band, torch.tensor([2.0, 1.0, 0.0]))
    (tensor([[0., 1.]]), tensor([[1., 0.]]))
    """
    steps, rises = band.diff(dim=0), losses.diff()
    before, after = steps[:-1], steps[1:]
    down, up = (
        -rises[:-1],
        rises[1:],
    )  # to the neighbours, from the pivot: L(i−1) − L(i), L(i+1) − L(i)
    large = torch.maximum(down.abs(), up.abs())
    small = torch.minimum(down.abs(), up.abs())
    onward = up > down  # the next one is the higher neighbour
    through = (up > 0) != (down > 0)
    weight_after = torch.where(through, onward.to(large), torch.where(onward, large, small))
    weight_before = torch.where(through, (~onward).to(large), torch.where(onward, small, large))
    along = weight_before[:, None] * before + weight_after[:, None] * after
    flat = along.norm(dim=1, keepdim=True) == 0  # no neighbour is higher: straight past the pivot
    along = torch.where(flat, before + after, along)
    return along / along.norm(dim=1, keepdim=True).clamp(min=torch.finfo(along.dtype).tiny)


def respaced(band: Tensor, shares: Tensor) -> Tensor:
    """The inner pivots, moved along the band so that each gap has its share of its length.

    >>> band = torch.tensor([[0.0], [1.0], [4.0]])
    >>> respaced(band, torch.tensor([1.0, 1.0], dtype=torch.float64))
    tensor([[2.]])
    """
    lengths = band.diff(dim=0).norm(dim=1).double()
    reached = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    wanted = (shares.to(reached) / shares.sum()).cumsum(0)[:-1] * reached[-1]
    gap = (torch.searchsorted(reached, wanted, right=True) - 1).clamp(0, len(lengths) - 1)
    inside = ((wanted - reached[gap]) / lengths[gap].clamp(min=1e-300)).to(band)[:, None]
    return torch.lerp(band[gap], band[gap + 1], inside.clamp(0, 1))


def _with_more_pivots(
    chain: PolygonalChain, shares: Tensor, objective: Objective, band: Band
) -> tuple[PolygonalChain, Tensor]:
    """The same band with a pivot more at each of the places that most need one, if any do."""
    places = _missing(chain, objective, band)
    points = _Relaxation(chain, shares, objective).band
    rows, parts = [], []
    for gap in range(chain.bends + 1):
        share = shares[gap]
        if gap in places:
            at = places[gap]
            rows.append(torch.lerp(points[gap], points[gap + 1], at))
            parts += [share * at, share * (1 - at)]
        else:
            parts.append(share)
        rows.append(points[gap + 1])
    ends, subspace, names = (chain.start, chain.end), chain.subspace, chain.names
    longer = PolygonalChain(*ends, bends=len(rows) - 1, subspace=subspace, names=names)
    with torch.no_grad():
        longer.control.copy_(torch.stack(rows[:-1]))
    return longer, torch.stack(parts)


def _missing(chain: PolygonalChain, objective: Objective, band: Band) -> dict[int, float]:
    """Gap → where in it, in (0, 1), the loss lies highest above the line between its pivots."""
    pieces, fine = chain.bends + 1, _BETWEEN + 1
    losses = [objective(chain.point(i / (pieces * fine))) for i in range(pieces * fine + 1)]
    pivots = losses[::fine]
    span = max(pivots) - min(pivots)
    excess: dict[int, tuple[float, float]] = {}
    for gap in range(pieces):
        above = [
            (losses[gap * fine + j] - (1 - j / fine) * pivots[gap] - j / fine * pivots[gap + 1], j)
            for j in range(1, fine)
        ]
        height, j = max(above)
        if height > band.threshold * span:
            excess[gap] = height, j / fine
    worst = sorted(excess, key=lambda gap: -excess[gap][0])[: band.insert]
    return {gap: excess[gap][1] for gap in worst}
