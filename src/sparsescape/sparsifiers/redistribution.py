"""Sparse to sparse, weights moving between layers: rows of the drop-and-grow template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import distributions
from ..errors import check_within
from ..positions import count_active
from ..seeds import derived_seed, generator
from .base import Active, NextMask
from .dropgrow import DropGrow
from .masked import read
from .places import ranks
from .shards import local, share
from .structures import FAN_IN


@dataclass(eq=False)
class SNFS(DropGrow):
    """Sparse networks from scratch (sparse momentum).

    A smoothed gradient m ← β·m + (1 − β)·∂L/∂w is kept over *all* positions. In each layer a share
    of the smallest weights is dropped; all that were dropped are shared out over the layers in
    proportion to the mean |m| of their active weights, and grown where |m| is largest, those just
    dropped among them (Dettmers & Zettlemoyer 2019, *Sparse Networks from Scratch: Faster Training
    without Losing Performance*, section 3.2 and Algorithm 1). What does not fit into a layer goes
    to the others.

    Needs the dense gradient at every step, and one float more per weight: on truly sparse layers
    too m is as large as the dense weight, and it is the one thing that is. The authors' code takes
    the momentum of SGD for m, which is this but for a factor; it drops less in layers that are
    above 80 % dense and still growing, which the paper's algorithm does not, and neither does this.

    Args:
        smoothing: β: how much of the smoothed gradient a step keeps.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = SNFS(0.75, update_every=1).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count
    24
    """

    _: KW_ONLY
    distribution: str | distributions.Distribution = "uniform"
    drop_fraction: float = 0.5
    smoothing: float = 0.9

    regrows = True
    restless = True
    moves_between_layers = True
    patterns = (FAN_IN,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(0, 1, smoothing=self.smoothing)

    def wants_gradient(self, step: int) -> bool:
        return self.update_until is None or step < self.update_until

    def next_mask(self, step: int) -> NextMask | None:
        if self.wants_gradient(step):
            momentum = self.memory.setdefault("momentum", {})
            for name in self._weights:
                gradient = self.gradient(name)
                old = momentum.get(name, torch.zeros_like(gradient)).to(gradient.device)
                momentum[name] = old.lerp(gradient, 1 - self.smoothing)
        return super().next_mask(step)

    def grown_counts(self, active: Active, kept: Active) -> Mapping[str, int]:
        momentum = self.memory["momentum"]
        wanted = {
            n: float(self.at_active(n, momentum[n]).abs().mean()) if a.any() else 0
            for n, a in active.items()
        }
        return shared_out(dropped(active, kept), wanted, self.room(kept))

    def grow_score(self, name: str) -> Tensor:
        return self.memory["momentum"][name].abs()


@dataclass(eq=False)
class DSR(DropGrow):
    """Dynamic sparse reparameterization.

    All weights below one threshold H are dropped, in whichever layer, but the last of a layer; they
    are shared out over the layers in proportion to the weights these still have, and grown at
    random. When fewer than (1 − δ)·N were dropped H doubles, when more than (1 + δ)·N it halves; N
    is ``drop_fraction`` of all active weights (Mostafa & Wang 2019, *Parameter Efficient Training
    of Deep Convolutional Neural Networks by Dynamic Sparse Reparameterization*, section 3 and
    Algorithm 1). That a layer keeps one weight, and that what was just dropped is not grown, is in
    the authors' code (``prune_threshold``, ``grow_random``); that one keeps the layer's first
    weight, this its largest.

    Args:
        threshold: H at the start: weights below it are dropped.
        tolerance: δ: how far, as a share, what was dropped may be from N before H is changed.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = DSR(0.75, update_every=1, threshold=0.2).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count, sparsifier.memory["threshold"]
    (24, 0.1)
    """

    _: KW_ONLY
    distribution: str | distributions.Distribution = "uniform"
    drop_fraction: float = 0.01
    threshold: float = 1e-3
    tolerance: float = 0.1

    moves_between_layers = True
    patterns = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(0, threshold=self.threshold, tolerance=self.tolerance)

    def kept(self, active: Active, step: int) -> Active:
        threshold = self.memory.get("threshold", self.threshold)
        kept = {n: a & (self.weight(n).abs() >= threshold) for n, a in active.items()}
        kept = {n: k if k.any() else self._last_of(n, active[n]) for n, k in kept.items()}
        goal = self.drop_share(step) * sum(map(count_active, active.values()))
        count = dropped(active, kept)
        low, high = (1 - self.tolerance) * goal, (1 + self.tolerance) * goal
        factor = 2.0 if count < low else 0.5 if count > high else 1.0
        self.memory["threshold"] = threshold * factor
        return kept

    def _last_of(self, name: str, active: Tensor) -> Tensor:
        return self.best(self.weight(name).abs(), active, min(1, int(active.sum())))

    def drop_share(self, step: int) -> float:
        return self.drop_fraction

    def grown_counts(self, active: Active, kept: Active) -> Mapping[str, int]:
        survivors = {n: count_active(k) for n, k in kept.items()}
        return shared_out(dropped(active, kept), survivors, self.room(kept))


@dataclass(eq=False)
class DeepR(DropGrow):
    """Deep rewiring: a random walk in which a connection ends where its weight changes sign.

    Each position has a fixed sign s, that of its first weight, or a random one, and w = s·θ. After
    every step of the optimizer, which is the gradient part, θ ← θ − η·α + √(2·η·T)·ν with ν from
    N(0, 1) and η the learning rate; a connection with θ < 0 is dropped, and as many are grown, at
    0, uniformly among the closed ones of all layers (Bellec et al. 2018, *Deep Rewiring: Training
    very sparse deep networks*, section 2 and Algorithm 1).

    Rule and constraint are the paper's. The authors' scripts scale the noise by η, as they do α,
    and hold each layer, or in one of them all together, to a count. Positions just dropped wait for
    the next step, where Algorithm 1 would let them return.

    Args:
        shrinkage: α, the strength of the L1 term.
        temperature: T, the strength of the noise; 0 is none.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = DeepR(0.75, shrinkage=1.0).attach(model, optimizer)
    >>> model(torch.ones(1, 8)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count
    24
    """

    _: KW_ONLY
    distribution: str | distributions.Distribution = "uniform"
    update_every: int = 1
    shrinkage: float = 1e-4
    temperature: float = 0.0

    carried = ("sign",)
    restless = True
    moves_between_layers = True
    patterns = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(0, shrinkage=self.shrinkage, temperature=self.temperature)

    def start(self) -> None:
        """A position keeps for good the sign that its weight has at the start, or one drawn.

        Of a truly sparse layer the signs at hand are those of the positions it holds. One that is
        drawn depends on the position alone; those that begin with the other are remembered.
        """
        drawn = {n: self._random_signs(n) for n in self._weights}
        signs = {n: torch.where(w == 0, drawn[n], w.sign()) for n, w in self.weights.items()}
        self.memory["sign"] = signs
        self.memory["flipped"] = {
            n: held.saved(signs[n] != drawn[n]) for n, held in self._nonzeros.items()
        }

    def _signs(self, name: str) -> Tensor:
        sign = self.memory["sign"][name]
        if not sign.all():  # a truly sparse layer holds new positions
            held = self._held[name]
            flipped = held.own(read(self.memory["flipped"][name], held.shape))
            drawn = torch.where(flipped, -1, 1) * self._random_signs(name)
            sign = self.memory["sign"][name] = torch.where(sign == 0, drawn, sign)
        return sign

    def kept(self, active: Active, step: int) -> Active:
        return {n: a & (self._walk(n, a) >= 0) for n, a in active.items()}

    def _walk(self, name: str, active: Tensor) -> Tensor:
        """Move θ by its drift and noise, and return it."""
        rate = float(self.group(name)["lr"])
        sign = self._signs(name).to(active.device)
        theta = self.weight(name) * sign - rate * self.shrinkage
        if self.temperature > 0:
            theta = theta + math.sqrt(2 * rate * self.temperature) * self._normal(name)
        parameter: Any = self._weights[name]
        with torch.no_grad():
            local(parameter).copy_(share(theta * sign * active, parameter))
        return theta

    def grown_counts(self, active: Active, kept: Active) -> Mapping[str, int]:
        chance = np.random.default_rng(derived_seed(self.seed, "layers", self.step))
        room = self.room(active)
        count = dropped(active, kept)
        spill = max(0, count - sum(room.values()))
        drawn = over_urns(chance, list(room.values()), count - spill)
        counts = dict(zip(active, drawn, strict=True))
        more = shared_out(
            spill, dict.fromkeys(kept, 1), {n: r - counts[n] for n, r in self.room(kept).items()}
        )
        return {n: counts[n] + more[n] for n in counts}

    def _random_signs(self, name: str) -> Tensor:
        noise = self._held[name].noise(derived_seed(self.seed, "sign", 0, name))
        return (noise < 0.5).to(self._weights[name].dtype) * 2 - 1

    def _normal(self, name: str) -> Tensor:
        weight = self._weights[name]
        source = generator(self.seed, "walk", self.step, name)
        return torch.randn(weight.shape, generator=source).to(weight.device, weight.dtype)


def dropped(active: Active, kept: Active) -> int:
    """How many weights of all layers together were dropped."""
    return sum(count_active(a) - count_active(kept[n]) for n, a in active.items())


def over_urns(chance: np.random.Generator, urns: list[int], count: int) -> list[int]:
    """How many of so many balls, drawn from urns of so many each, come from which.

    >>> sum(over_urns(np.random.default_rng(0), [10, 10**12], 7))
    7
    """
    if sum(urns) < 10**9:  # numpy's limit
        return [int(n) for n in chance.multivariate_hypergeometric(urns, count)]
    balls = ranks(chance, sum(urns), count).sort().values
    ends = torch.searchsorted(balls, torch.tensor(urns).cumsum(0))
    return ends.diff(prepend=torch.zeros(1, dtype=ends.dtype)).tolist()


def shared_out(total: int, wanted: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """Integers that add up to ``total``, in proportion to ``wanted``, none above its ``room``.

    What does not fit in one goes to the others in the same proportion; what is left by rounding
    goes to the largest remainders; where no one wants, all want the same.

    >>> shared_out(10, {"a": 3.0, "b": 1.0, "c": 0.0}, {"a": 5, "b": 9, "c": 9})
    {'a': 5, 'b': 5, 'c': 0}
    """
    counts = dict.fromkeys(room, 0)
    left = total
    while left > 0:
        open_ = [n for n in room if counts[n] < room[n]]
        wishes = {n: max(float(wanted[n]), 0.0) for n in open_}
        if not sum(wishes.values()):
            wishes = dict.fromkeys(open_, 1.0)
        shares = {n: left * w / sum(wishes.values()) for n, w in wishes.items()}
        given = {n: min(int(s), room[n] - counts[n]) for n, s in shares.items()}
        if not any(given.values()):
            ranked = sorted(open_, key=lambda n: shares[n], reverse=True)
            given = {n: int(n in ranked[:left] and shares[n] > 0) for n in open_}
        for name, more in given.items():
            counts[name] += more
        left = total - sum(counts.values())
    return counts
