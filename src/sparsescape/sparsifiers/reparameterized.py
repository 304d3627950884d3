"""Methods that train dense weights and show sparse ones (:mod:`views`), without a structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from .. import distributions
from ..errors import InputError, check_within, is_whole
from ..points import PointLike, as_point
from ..positions import Positions, count_active
from ..selection import top
from .base import Active, NextMask
from .nonzeros import shaped_weights, sparse_layers
from .pruning import GradualMagnitude, Magnitude
from .shards import share
from .static import check_sparsity, densities_of, select
from .views import View


@dataclass(eq=False)
class TopKAST(View, Magnitude):
    """Top-KAST: the forward pass uses the largest weights, the backward pass some more.

    A, the weights of largest |θ| at ``sparsity``, are shown; B ⊃ A, those at ``backward_sparsity``,
    get gradients and move. The loss is regularized by λ/2·(‖θ_A‖² + ‖θ_B∖A‖²/D), D the density of
    A, so that a weight that is not in use must be worth it (Jayakumar et al. 2020, *Top-KAST:
    Top-K Always Sparse Training*, section 2: sparse forward pass, sparse backward pass, exploration
    regularisation). The authors published no code.

    On truly sparse layers θ is the values they hold, and A and B are chosen among those, as in a
    masked network whose θ is 0 elsewhere; so they have to hold more than B, which is as far as the
    method can explore. The sparsities are still those of the whole weights.

    Args:
        sparsity: share of weights outside A, which the forward pass does not use.
        backward_sparsity: share of weights outside B, which get no gradient and do not move.
        update_every: steps between two choices of A and B; 100 as in the paper.
        regularization: λ, the strength of the regularization.
        distribution, structure, dense, on_collapse: as in :class:`GradualMagnitude`.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = TopKAST(0.9, backward_sparsity=0.8).attach(model, optimizer)
    >>> model(torch.ones(1, 10)).sum().backward()
    >>> int(model.weight.count_nonzero()), int(model.weight.grad.count_nonzero())
    (10, 20)
    """

    _: KW_ONLY
    backward_sparsity: float = 0.5
    update_every: int = 100
    regularization: float = 1e-4

    on_nonzeros = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sparsity(self.backward_sparsity)
        if self.backward_sparsity > self.sparsity:
            raise InputError("The backward pass uses all weights of the forward pass, and more.")
        check_within(regularization=self.regularization)
        if not is_whole(self.update_every, 1):
            raise InputError(f"The mask is updated every 1 step or more, not {self.update_every}.")

    def first_mask(self, model: nn.Module) -> NextMask:
        weights = shaped_weights(model, self.dense)
        layers = {n: of_one[0] for n, of_one in sparse_layers(model).items() if n in weights}
        self._stand_ins = {n: weights[n] for n in layers}
        point = weights | {n: layer.weight.detach() for n, layer in layers.items()}
        self.memory["backward"] = self.largest(point, self.backward_sparsity)
        shown = self.largest(point, self.sparsity)
        held = {n: layer.positions()[shown[n]] for n, layer in layers.items()}
        return {
            n: Positions.listed(held[n], weights[n].shape) if n in held else active
            for n, active in shown.items()
        }

    def next_mask(self, step: int) -> Active | None:
        if step % self.update_every:
            return None
        weights = self.weights
        self.memory["backward"] = self.largest(weights, self.backward_sparsity)
        return self.largest(weights, self.sparsity)

    def largest(
        self, point: PointLike, sparsity: float, among: Active | None = None
    ) -> Mapping[str, Tensor]:
        """The largest weights; of truly sparse layers, of the values that they hold."""
        if not self._stand_ins:
            return super().largest(point, sparsity, among)
        values = as_point(point)
        weights = values | self._stand_ins
        densities = densities_of(weights, self.distribution, sparsity)  # type: ignore[arg-type]
        kept = distributions.counts(densities, {n: w.numel() for n, w in weights.items()})
        for name, count in kept.items():
            if count > values[name].numel():
                raise InputError(
                    f"Top-KAST chooses {count} weights of {name!r}, and the truly sparse layer "
                    f"holds {values[name].numel()}: hold more, or raise backward_sparsity."
                )
        return {n: top(values[n].abs(), count) for n, count in kept.items()}

    def _set_mask(self, mask: NextMask) -> None:
        backward = self.memory["backward"]
        self._moves = {
            n: share(backward[n] | self._held[n].own(mask[n]), w) for n, w in self._weights.items()
        }
        super()._set_mask(mask)

    def _closing(self, name: str) -> Callable[[Tensor], object]:
        return partial(self._close_unmoved, name)

    def _close_unmoved(self, name: str, grad: Tensor) -> None:
        grad.mul_(self._moves[name])

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        shown = self._multipliers[name]
        strength = shown + (1 - shown) / (1 - self.sparsity)
        pull = self.regularization * strength * theta
        return (grad + self.scaled(name, pull)) * self._moves[name]

    def settle(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        return torch.where(self._moves[name], after, before)

    @property
    def trained(self) -> Mapping[str, float]:
        """The densities of B."""
        backward = self.memory["backward"]
        return {
            n: count_active(b) / held.shape.numel()
            for (n, b), held in zip(backward.items(), self._held.values(), strict=True)
        }


@dataclass(eq=False)
class PowerPropagation(View, GradualMagnitude):
    """Powerpropagation with gradual magnitude pruning: w = θ·|θ|^(α−1).

    The gradient of θ is that of w times α·|θ|^(α−1), so large weights grow and small ones stay
    near 0, which makes room for pruning. θ starts where w is the model's, at
    sign(w)·|w|^(1/α) (Schwarz et al. 2021, *Powerpropagation: A sparsity inducing weight
    reparameterisation*, section 2; the same in the authors' notebook, which prunes once, after
    training, by |w|; so does this with ``begin == end``).

    Args:
        alpha: α, the power; 1 is plain pruning.
        sparsity, begin, end, …: as in :class:`GradualMagnitude`.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = PowerPropagation(0.9, begin=1, end=1, alpha=3.0).attach(model, optimizer)
    >>> theta = sparsifier.dense_weights["weight"]
    >>> torch.allclose(theta**3, model.weight)
    True
    >>> model(torch.ones(1, 10)).sum().backward()
    >>> optimizer.step()
    >>> sparsifier.mask.count
    10
    """

    _: KW_ONLY
    alpha: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(1, alpha=self.alpha)

    def behind(self, name: str, weight: Tensor) -> Tensor:
        return weight.sign() * weight.abs() ** (1 / self.alpha)

    def shown(self, name: str, theta: Tensor) -> Tensor:
        return theta * theta.abs() ** (self.alpha - 1)

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        return grad * self.alpha * theta.abs() ** (self.alpha - 1) * self._multipliers[name]

    @property
    def trained(self) -> Mapping[str, float]:
        return self.densities


@dataclass(eq=False)
class MovementPruning(View, GradualMagnitude):
    """Movement pruning, for fine-tuning: keep the weights that move away from 0.

    The scores are S = −α_S·Σ_t (∂L/∂w)_t·θ_t over all positions, closed ones too, where the
    gradient is that of the shown weights; the highest are kept, on the schedule of
    :class:`GradualMagnitude`, at every step, and a closed weight may come back, at its dense value,
    which moves only while it is shown (Sanh et al. 2020, *Movement Pruning: Adaptive Sparsity by
    Fine-Tuning*, section 4). The scores follow plain gradient descent, as in the paper's sum; in
    the authors' code (``masked_nn.py``, ``binarizer.py``) they are parameters of the optimizer,
    Adam, with a learning rate of their own.

    Args:
        score_rate: α_S, one number for all weights, so that which are highest does not hang on it.
        sparsity, begin, end, …: as in :class:`GradualMagnitude`.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> sparsifier = MovementPruning(0.9, begin=1, end=2).attach(model, optimizer)
    >>> counts = []
    >>> for _ in range(3):
    ...     model(torch.ones(1, 10)).sum().backward()
    ...     optimizer.step()
    ...     counts.append(sparsifier.mask.count)
    >>> counts
    [100, 10, 10]
    """

    _: KW_ONLY
    every: int = 1
    score_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(0, score_rate=self.score_rate)

    def start(self) -> None:
        super().start()
        self.memory["scores"] = {n: torch.zeros_like(t) for n, t in self.dense_weights.items()}

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        scale = self._owners.grad_scale(name)
        rate = self.score_rate if scale is None else self.score_rate / scale
        self.memory["scores"][name] -= rate * grad * theta
        return grad * self._multipliers[name]

    def next_mask(self, step: int) -> Active | None:
        if not self.due(step):
            return None
        weights = self.weights
        densities = self.distribution(weights, sparsity=self.schedule(step))  # type: ignore[operator]
        found = {n: self.from_parts(n, s) for n, s in self.memory["scores"].items()}
        return select(found, densities, self.structure)
