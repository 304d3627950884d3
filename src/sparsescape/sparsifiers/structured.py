"""Structured sparsity: rows whose pattern hardware can use.

Blocks and constant fan-in are structures that other methods take too, as in
``GradualMagnitude(0.9, begin=…, end=…, structure=structures.blocks(4, 4))``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor, nn

from .. import scores
from ..errors import InputError, check_within
from ..points import PointLike, check_patterns, matching
from ..selection import top
from .base import Active, NextMask
from .dropgrow import within_1
from .dynamic import RigL
from .nonzeros import shaped_weights
from .pruning import OneShot
from .structures import FAN_IN, Structure, fan_in, n_of_m, per_row
from .views import View


@dataclass(eq=False)
class NM(OneShot):
    """N:M sparsity by magnitude: of each m consecutive inputs the n largest, at once.

    Mishra et al. 2021, *Accelerating Sparse Deep Neural Networks*, section 4: train, prune once,
    train again.

    Args:
        n, m: of each m consecutive inputs n are kept.
        at: the optimizer step after which is pruned; 0 prunes at ``attach``.
        dense, on_collapse: as for every :class:`Sparsifier`.

    >>> import torch
    >>> model = nn.Linear(8, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> NM(1, 4).attach(model, optimizer).mask["weight"].reshape(-1, 4).sum(1).tolist()
    [1, 1, 1, 1]
    """

    sparsity: float = field(init=False)
    structure: Structure = field(init=False)
    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        self.structure = n_of_m(self.n, self.m)
        self.sparsity = 1 - self.n / self.m
        super().__post_init__()


@dataclass(eq=False)
class SRSTE(View):
    """SR-STE: learn an N:M network from scratch, dense weights behind a sparse forward.

    At every step of each m consecutive inputs the n of largest |θ| are shown. The gradient goes
    straight through, plus λ·θ where θ is not shown, so that what is pruned is held back:
    θ ← θ − η·(∂L/∂w + λ·(1 − M)⊙θ) (Zhou et al. 2021, *Learning N:M Fine-grained Structured Sparse
    Neural Networks From Scratch*, section 3, SR-STE; λ = 2e-4). The same, groups of inputs and λ
    included, as ``Sparse_NHWC`` in the authors' ``sparse_ops.py``.

    Args:
        n, m: of each m consecutive inputs n are shown.
        decay: λ: how strongly what is not shown is drawn to 0.
        dense, on_collapse: as for every :class:`Sparsifier`.

    >>> import torch
    >>> model = nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = SRSTE(2, 4).attach(model, optimizer)
    >>> model.weight.view(16, 4).count_nonzero(1).unique().tolist()
    [2]
    >>> int(sparsifier.dense_weights["weight"].count_nonzero())
    64
    """

    n: int = 2
    m: int = 4
    _: KW_ONLY
    decay: float = 2e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        n_of_m(self.n, self.m)  # says no to what is none
        check_within(0, decay=self.decay)

    def chosen(self, point: PointLike) -> Active:
        choose = n_of_m(self.n, self.m)
        return {n: choose(s, 0) for n, s in scores.magnitude(point).items()}

    def first_mask(self, model: nn.Module) -> Active:
        return self.chosen(shaped_weights(model, self.dense))

    def next_mask(self, step: int) -> Active | None:
        return self.chosen(self.weights)

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        return grad + self.scaled(name, self.decay * (1 - self._multipliers[name]) * theta)


@dataclass(eq=False)
class SRigL(RigL):
    """SRigL: RigL at constant fan-in, with ablation of neurons.

    With K the number that RigL would drop, a weight is salient if it is among all but the K
    smallest of the layer, or among its K largest gradients. A neuron with fewer than γ·k salient
    weights, and at least 1, is ablated, k the layer's weights over its neurons; those that remain
    share the layer's count evenly: of their weights the K smallest are dropped, and each grows to
    its share by gradient. What does not divide evenly goes, one each, to the first neurons (Lasby
    et al. 2024, *Dynamic Sparse Training with Structured Sparsity*, section 3.1; γ = 0.3).

    As in the authors' code (``rigl_constant_fan.py``) neurons are judged anew at each update, so
    that one that was ablated returns where its gradients are large, as many neurons stay at least
    as are needed to hold the layer's weights, and those of the last layer are all spared.

    Args:
        ablation: γ: a neuron is ablated whose salient weights are fewer than this share of the
            layer's mean; 0 ablates none.
        spared: patterns of weights whose neurons are not ablated; those of the last one unless
            given.

    >>> model = torch.nn.Linear(8, 8)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = SRigL(0.75, update_every=1).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask["weight"].sum(1).tolist()
    [2, 2, 2, 2, 2, 2, 2, 2]
    """

    _: KW_ONLY
    ablation: float = 0.3
    spared: Iterable[str] | None = None
    structure: Structure = fan_in

    patterns = (FAN_IN,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.structure is not fan_in:
            raise InputError("SRigL's structure is constant fan-in.")
        check_within(0, 1, ablation=self.ablation)
        if self.spared is not None:
            self.spared = check_patterns(self.spared)

    def first_mask(self, model: nn.Module) -> NextMask:
        first = super().first_mask(model)
        if self.spared is not None:
            matching(first, self.spared)  # says no to a pattern of none of these
        return first

    def best(self, score: Tensor, allowed: Tensor, count: int) -> Tensor:
        return top(score, count, allowed)

    def regrown(self, name: str, active: Tensor, kept: Tensor, count: int) -> Tensor:
        if not active.any():  # a layer without weights has no neuron that could have some
            return active
        gradient, size = self.gradient(name).abs(), self.weight(name).abs()
        salient = kept | top(gradient, count)
        neurons = self._remaining(name, active, salient)
        rows = torch.zeros_like(active)
        rows[neurons] = True
        kept = self.best(size, active & rows, int(kept.sum()))
        each, extra = divmod(int(active.sum()), len(neurons))
        counts = [0] * len(active)
        for place, neuron in enumerate(neurons):
            counts[neuron] = each + (place < extra)
        # Kept weights first, the largest first; then by gradient.
        return per_row(torch.where(kept, 2 + within_1(size), within_1(gradient)), counts)

    def _remaining(self, name: str, active: Tensor, salient: Tensor) -> list[int]:
        """The neurons that are not ablated; as many at least as hold the layer's weights."""
        spared = [list(self._weights)[-1]] if self.spared is None else self.spared
        if not self.ablation or name in matching(self._weights, spared):
            return list(range(len(active)))
        worth = salient.flatten(1).sum(1).tolist()
        limit = max(1, int(self.ablation * int(active.sum()) / len(active)))
        needed = -(-int(active.sum()) // active[0].numel())
        ranked = sorted(range(len(active)), key=lambda neuron: -worth[neuron])
        return sorted(n for place, n in enumerate(ranked) if place < needed or worth[n] >= limit)
