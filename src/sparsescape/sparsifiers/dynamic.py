"""Sparse to sparse, each layer at its own count: rows of the drop-and-grow template."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor

from .. import schedules, scores
from ..masks import Mask, top
from .base import Active
from .dropgrow import DropGrow
from .pruning import check_sparsity
from .structures import Structure, fan_in, per_row


@dataclass(eq=False)
class RigL(DropGrow):
    """RigL: drop the smallest weights, grow where the gradient is largest.

    Grow score |∂L/∂w| over all positions, of the batch (or accumulated batches) of the update
    step. The update takes the place of that step's update of all parameters. What was dropped
    may be grown again, and then keeps its value, as in the authors' code (Evci et al. 2020,
    *Rigging the Lottery*, section 3 and Algorithm 1; ΔT = 100, α = 0.3, T_end = 3/4 of training).

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = RigL(0.75, update_every=2, update_until=10).attach(model, optimizer)
    >>> before = sparsifier.mask
    >>> for _ in range(2):
    ...     model(torch.randn(5, 8)).square().sum().backward()
    ...     optimizer.step()
    >>> sparsifier.mask.count, sparsifier.mask == before
    (16, False)
    """

    regrows = True

    def wants_gradient(self, step: int) -> bool:
        return self.due(step)

    def replaces_step(self, step: int) -> bool:
        return self.due(step)

    def grow_score(self, name: str) -> Tensor:
        return self.gradient(name).abs_()


@dataclass(eq=False)
class SET(DropGrow):
    """SET: drop the weights nearest to 0, grow at random.

    A share ζ of the smallest positive weights and a share ζ of the negative ones nearest to 0 are
    dropped; the share does not decay. Grown weights start at 0 (Mocanu et al. 2018, *Scalable
    training of artificial neural networks with adaptive sparse connectivity*, Algorithm 1;
    ζ = 0.3).
    """

    def drop_score(self, name: str) -> Tensor:
        return share_nearer_zero(self.weight(name), self.active_in(name))

    def drop_share(self, step: int) -> float:
        return self.drop_fraction


@dataclass(eq=False)
class MEST(DropGrow):
    """MEST with elastic mutation: drop by weight and gradient together, grow at random.

    Drop score |w| + λ·|∂L/∂w|. The gradient is that of the active weights only, so nothing dense
    is ever needed (Yuan et al. 2021, *MEST: Accurate and Fast Memory-Economic Sparse Training
    Framework on the Edge*, section 3.1 and Algorithm 1).

    Args:
        gradient_weight: λ.
    """

    _: KW_ONLY
    gradient_weight: float = 0.01

    def drop_score(self, name: str) -> Tensor:
        return self.weight(name).abs() + self.gradient_weight * self.step_gradient(name).abs()


@dataclass(eq=False)
class _InTime(DropGrow):
    """Remembers every position that was ever active."""

    def next_mask(self, step: int) -> Active | None:
        mask = super().next_mask(step)
        if mask is not None:
            ever = self.memory.get("explored", self.active)
            self.memory["explored"] = {n: ever[n].to(a.device) | a for n, a in mask.items()}
        return mask

    @property
    def explored(self) -> float:
        """R_s: the share of all positions that were active at some time."""
        return Mask(self.memory.get("explored", self.active)).density


@dataclass(eq=False)
class RigLITOP(_InTime, RigL):
    """RigL with the settings of in-time over-parameterization: explore more, judge later.

    Half of the weights move, at updates so far apart that grown ones have the time to show what
    they are worth: ΔT = 4000 (Liu et al. 2021, *Do We Actually Need Dense
    Over-Parameterization?*, sections 3 and 4.3). ``explored`` is R_s, the share of positions that
    were active at any time.
    """

    _: KW_ONLY
    update_every: int = 4000
    drop_fraction: float = 0.5


@dataclass(eq=False)
class SETITOP(_InTime):
    """SET with the settings of in-time over-parameterization (:class:`RigLITOP`): ΔT = 1500.

    Drops by magnitude and with a decaying share, as that paper does.
    """

    _: KW_ONLY
    update_every: int = 1500
    drop_fraction: float = 0.5


@dataclass(eq=False)
class GraNet(DropGrow):
    """GraNet: gradual pruning, with regeneration at every update.

    At each update the smallest weights, of all layers together, are closed until the sparsity is
    that of gradual pruning; then in each layer a share of what is left is dropped by magnitude and
    as many are grown where the gradient is largest (Liu et al. 2021, *Sparse Training via Boosting
    Pruning Plasticity with Neuroregeneration*, section 4.1 and Algorithm 1).

    Args:
        sparsity: the final share of closed weights.
        initial_sparsity: 0 goes from dense to sparse; 0.5 is the paper's for sparse to sparse.
        prune_from, prune_until: steps between which the sparsity rises, cubically.
    """

    _: KW_ONLY
    initial_sparsity: float = 0.5
    prune_from: int = 0
    prune_until: int
    drop_fraction: float = 0.5

    regrows = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sparsity(self.initial_sparsity)
        self.schedule = schedules.cubic(
            self.initial_sparsity, self.sparsity, begin=self.prune_from, end=self.prune_until
        )

    def start_sparsity(self) -> float:
        return self.initial_sparsity

    def wants_gradient(self, step: int) -> bool:
        return self.due(step)

    def shrunk(self, step: int) -> Active:
        active = self.active
        sizes = scores.magnitude(self.weights)
        ranked = {n: s - (~active[n]).to(s) for n, s in sizes.items()}
        return dict(Mask.from_scores(ranked, sparsity=self.schedule(step)))

    def grow_score(self, name: str) -> Tensor:
        return self.gradient(name).abs_()


@dataclass(eq=False)
class SRigL(RigL):
    """SRigL: RigL at constant fan-in, with ablation of neurons.

    The drop is RigL's. A weight is salient if it was kept, or is among the dropped number of
    largest gradients. A neuron with fewer than γ·k salient weights, k the fan-in, is ablated, for
    good; those that remain share the layer's count evenly and grow up to it by gradient. What does
    not divide evenly goes, one each, to the first neurons (Lasby et al. 2024, *Dynamic Sparse
    Training with Structured Sparsity*, section 3.1).

    Args:
        ablation: γ; 0 ablates none.
    """

    _: KW_ONLY
    ablation: float = 0.3
    structure: Structure = fan_in

    def best(self, score: Tensor, allowed: Tensor, count: int) -> Tensor:
        return top(score.float(), count, allowed)

    def regrown(self, name: str, active: Tensor, kept: Tensor, count: int) -> Tensor:
        gradient = self.gradient(name).abs()
        salient = kept | self.best(gradient, ~kept, count)
        neurons = self._remaining(active, salient)
        each, extra = divmod(int(active.sum()), len(neurons))
        counts = [0] * len(active)
        for place, neuron in enumerate(neurons):
            counts[neuron] = each + (place < extra)
        # Kept weights first, the largest first; then by gradient.
        first = 2 + self.weight(name).abs() / self.weight(name).abs().max().clamp(min=1e-30)
        order = torch.where(kept, first, gradient / gradient.max().clamp(min=1e-30))
        return per_row(order, counts)

    def _remaining(self, active: Tensor, salient: Tensor) -> list[int]:
        """The neurons that are not ablated; as many at least as hold the layer's weights."""
        fan_ins, worth = active.flatten(1).sum(1), salient.flatten(1).sum(1)
        alive = fan_ins.nonzero().reshape(-1).tolist()
        needed = -(-int(active.sum()) // active[0].numel())
        ranked = sorted(alive, key=lambda neuron: -int(worth[neuron]))
        limit = self.ablation * int(active.sum()) / max(len(alive), 1)
        return sorted(
            n for place, n in enumerate(ranked) if place < max(needed, 1) or worth[n] >= limit
        )


def share_nearer_zero(values: Tensor, among: Tensor) -> Tensor:
    """Of each marked value: its rank by distance from 0 among those of its sign, over their number.

    Ranks count from 1, equal values by flat index; what is 0 or not marked has 0.

    >>> marked = torch.tensor([True, True, True, False])
    >>> share_nearer_zero(torch.tensor([3.0, -9.0, 1.0, 2.0]), marked).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    flat = values.detach().reshape(-1)
    marked = among.reshape(-1).nonzero().reshape(-1)
    held = flat[marked]
    order = ascending(held.abs())
    held, marked = held[order], marked[order]
    share = torch.zeros(flat.numel(), device=flat.device)
    for side in (held > 0, held < 0):
        where = marked[side]
        ranks = torch.arange(1, len(where) + 1, device=flat.device)
        share[where] = ranks / max(len(where), 1)
    return share.reshape(values.shape)


def ascending(sizes: Tensor) -> Tensor:
    """The order that sorts numbers from 0 on; equal ones stay as they are.

    >>> ascending(torch.tensor([2.0, 0.5, 2.0])).tolist()
    [1, 0, 2]
    """
    if sizes.dtype != torch.float32 or sizes.device.type != "cpu":
        return sizes.argsort(stable=True)
    # Such floats are in the order of their bits, and numpy sorts 16 bits at a time by radix.
    bits = sizes.numpy().view(np.uint32)
    order = bits.astype(np.uint16).argsort(kind="stable")
    high = (bits >> 16).astype(np.uint16)
    return torch.from_numpy(order[high[order].argsort(kind="stable")])
