"""Sparse to sparse, each layer at its own count: rows of the drop-and-grow template."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from .. import schedules, scores
from ..compilation import works
from ..errors import InputError, check_steps, check_within
from ..masks import Mask
from ..selection import rankable
from .base import Active, NextMask
from .dropgrow import DropGrow
from .masked import read
from .static import check_sparsity
from .structures import FAN_IN


@dataclass(eq=False)
class RigL(DropGrow):
    """RigL: drop the smallest weights, grow where the gradient is largest.

    Grow score |∂L/∂w| over all positions, of the batch (or accumulated batches) of the update
    step. The update takes the place of that step's update of all parameters (Evci et al. 2020,
    *Rigging the Lottery*, section 3 and Algorithm 1; ΔT = 100, α = 0.3, T_end = 3/4 of training).

    Candidates to grow are all positions that were not kept, those just dropped among them, as in
    Algorithm 1. In the authors' code (``sparse_optimizers_base.py``) such a weight keeps its value
    and its momentum, and so it does here; that code breaks ties by noise, this by flat index.

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
        gradient = self.gradient(name)
        # Of a large truly sparse layer there is no room for two of its dense weight's shape.
        return gradient.abs() if gradient.is_complex() else gradient.abs_()


@dataclass(eq=False)
class SET(DropGrow):
    """SET: drop the weights nearest to 0, grow at random.

    A share ζ of the smallest positive weights and a share ζ of the negative ones nearest to 0 are
    dropped; the share does not decay (Mocanu et al. 2018, *Scalable training of artificial neural
    networks with adaptive sparse connectivity*, Methods and Algorithm 1; ζ = 0.3).

    The paper does not say at which value a weight is grown: 0 here, as in the authors' Keras code;
    their SciPy code draws it from N(0, 0.1²). Both draw positions from all that were not kept;
    here those just dropped wait for the next update. Their learning rate does not fall; where it
    goes to 0 give ``update_until``, for what is grown last stays at 0.

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = SET(0.75, update_every=1).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count
    16
    """

    def drop_score(self, name: str) -> Tensor:
        values = self._held[name].inside(self.weight(name))
        return beside_its_share(values, self.drop_share(self.step))

    def drop_share(self, step: int) -> float:
        return self.drop_fraction


@dataclass(eq=False)
class MEST(DropGrow):
    """MEST with elastic mutation: drop by weight and gradient together, grow at random.

    Drop score |w| + λ·|∂L/∂w|. The gradient is that of the active weights only, so nothing dense
    is ever needed. The mutation is elastic: the share that moves is f_0, from 3/4 of
    ``update_until`` on half of it, and then none (Yuan et al. 2021, *MEST: Accurate and Fast
    Memory-Economic Sparse Training Framework on the Edge*, section 3).

    The numbers are those of the authors' scripts for MEST+EM: of 160 epochs a share 0.2 of the
    weights moves in the first 90, 0.1 until 120, none after; grown weights start at 0. Their λ is
    a setting that the scripts leave at 0. Positions just dropped wait for the next update, where
    their code draws from all that were not kept.

    Args:
        gradient_weight: λ, how much the gradient counts beside the weight.

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = MEST(0.75, update_every=1, update_until=8).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count, [sparsifier.drop_share(step) for step in (1, 7)]
    (16, [0.2, 0.1])
    """

    _: KW_ONLY
    drop_fraction: float = 0.2
    gradient_weight: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(0, gradient_weight=self.gradient_weight)

    def drop_score(self, name: str) -> Tensor:
        return self.weight(name).abs() + self.gradient_weight * self.step_gradient(name).abs()

    def drop_share(self, step: int) -> float:
        late = self.update_until is not None and step >= 0.75 * self.update_until
        return self.drop_fraction / 2 if late else self.drop_fraction


@dataclass(eq=False)
class _InTime(DropGrow):
    """Remembers every position that was ever active."""

    def next_mask(self, step: int) -> NextMask | None:
        mask = super().next_mask(step)
        if mask is not None:
            ever = self._ever()
            self.memory["explored"] = {
                n: held.saved(ever.positions(n) | held.positions(mask[n]))
                for n, held in self._held.items()
            }
        return mask

    def _ever(self) -> Mask:
        if "explored" not in self.memory:
            return self.mask
        explored = self.memory["explored"]
        return Mask({n: read(explored[n], held.shape) for n, held in self._held.items()})

    @property
    def explored(self) -> float:
        """R_s: the share of all positions that were active at some time."""
        return self._ever().density


@dataclass(eq=False)
class RigLITOP(_InTime, RigL):
    """RigL with the settings of in-time over-parameterization: explore more, judge later.

    Half of the weights move, and less and less of them until the end of training, at updates so
    far apart that grown ones have the time to show what they are worth: ΔT = 4000 (Liu et al. 2021,
    *Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in Sparse
    Training*, section 3; the numbers are those of the authors' README). ``explored`` is R_s, the
    share of positions that were active at any time.

    The rule is :class:`RigL`'s; in the authors' code the update follows the step of the optimizer
    instead of taking its place, of one step in ΔT.

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = RigLITOP(0.75, update_every=1).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.density, sparsifier.explored >= 0.25
    (0.25, True)
    """

    _: KW_ONLY
    update_every: int = 4000
    drop_fraction: float = 0.5


@dataclass(eq=False)
class SETITOP(_InTime):
    """SET with the settings of in-time over-parameterization: ΔT = 1500.

    Explores as :class:`RigLITOP` does, and at random (Liu et al. 2021, *Do We Actually Need Dense
    Over-Parameterization?*, section 3). Drops by magnitude and with a decaying share, as the
    authors' SET-ITOP does (``--death magnitude --growth random``), not as :class:`SET` by sign.

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = SETITOP(0.75, update_every=1).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.density, sparsifier.explored
    (0.25, 0.375)
    """

    _: KW_ONLY
    update_every: int = 1500
    drop_fraction: float = 0.5


@dataclass(eq=False)
class GraNet(DropGrow):
    """GraNet: gradual pruning, with regeneration at every update.

    At each update the smallest weights, of all layers together, are closed until the sparsity is
    that of gradual pruning; then in each layer a share of what is left is dropped by magnitude and
    as many are grown where the gradient is largest, those just dropped among them (Liu et al. 2021,
    *Sparse Training via Boosting Pruning Plasticity with Neuroregeneration*, section 4).

    As in the authors' code (``pruning`` and ``truncate_weights`` in ``sparselearning/core.py``) an
    update follows the optimizer's step, regeneration goes on to the end of training, and its share
    is 0.5 at the start and falls along a cosine. They prune in the first 110 of 160 epochs.

    Args:
        sparsity: the final share of closed weights.
        initial_sparsity: 0 goes from dense to sparse; 0.5 is the paper's for sparse to sparse. No
            more than the final one.
        prune_from, prune_until: steps between which the sparsity rises, cubically; the mask is
            updated at the last one too, where that is off the beat.

    >>> model = torch.nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = GraNet(0.9, prune_until=2, update_every=1).attach(model, optimizer)
    >>> counts = [sparsifier.mask.count]
    >>> for _ in range(2):
    ...     model(torch.ones(1, 10)).sum().backward()
    ...     optimizer.step()
    ...     counts.append(sparsifier.mask.count)
    >>> counts
    [50, 15, 10]
    """

    _: KW_ONLY
    initial_sparsity: float = 0.5
    prune_from: int = 0
    prune_until: int
    drop_fraction: float = 0.5

    regrows = True
    on_nonzeros = False
    patterns = (FAN_IN,)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.initial_sparsity = check_sparsity(self.initial_sparsity)
        if self.initial_mask is not None:
            raise InputError("GraNet prunes from its initial sparsity: it takes no initial mask.")
        check_steps(prune_from=self.prune_from, prune_until=self.prune_until)
        if self.update_until is not None and self.update_until < self.prune_until:
            raise InputError(
                f"GraNet prunes at its updates: update_until is {self.prune_until} or later, as "
                f"prune_until says, not {self.update_until}."
            )
        self.schedule = schedules.cubic(
            self.start_sparsity(), self.sparsity, begin=self.prune_from, end=self.prune_until
        )

    def start_sparsity(self) -> float:
        return min(self.initial_sparsity, self.sparsity)

    def due(self, step: int) -> bool:
        return super().due(step) or step == self.prune_until

    def wants_gradient(self, step: int) -> bool:
        return self.due(step)

    def shrunk(self, step: int) -> Active:
        active = self.active
        sizes = scores.magnitude(self.weights)
        ranked = {n: s - (~active[n]).to(s) for n, s in sizes.items()}
        return dict(Mask.from_scores(ranked, sparsity=self.schedule(step)))

    def grow_score(self, name: str) -> Tensor:
        return self.gradient(name).abs()


def beside_its_share(values: Tensor, share: float) -> Tensor:
    """The distance of each value from 0, as a multiple of a distance that depends on its sign.

    Of the values of a sign a share lies nearer to 0 than that, in the middle between two of them:
    so what is in the share is below 1. NaN counts as 0.

    >>> beside_its_share(torch.tensor([3.0, -6.0, 1.0, -2.0]), 0.5).tolist()
    [1.5, 1.5, 0.5, 0.5]
    """
    values = rankable(values.detach())
    if values.device.type == "cpu" and values.dtype is torch.float32 and works():
        from ..quickselect import beside

        scores = torch.empty_like(values)
        beside(values.numpy(), share, scores.numpy())
        return scores
    above, below = (_edge(side[side > 0].sort().values, share) for side in (values, -values))
    # The fastest way to multiply by a number that depends on the sign.
    return torch.nn.functional.leaky_relu_(values / above, -above / below).nan_to_num_()


def _edge(distances: Tensor, share: float) -> float:
    """What lies between the share of some sorted distances that is nearest to 0, and the rest."""
    if not len(distances):
        return 1.0
    place = min(int(share * len(distances)), len(distances) - 1)
    inside = float(distances[place - 1]) if place else 0.0
    return (inside + float(distances[place])) / 2
