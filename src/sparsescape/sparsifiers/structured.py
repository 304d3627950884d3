"""Structured sparsity: rows whose pattern hardware can use.

Blocks and constant fan-in are structures that any method takes, as in
``GradualMagnitude(0.9, begin=…, end=…, structure=structures.blocks(4, 4))``.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from torch import Tensor, nn

from .. import scores
from ..errors import check_within
from ..points import PointLike, named_weights
from .base import Active
from .pruning import OneShot
from .shards import gathered
from .structures import Structure, n_of_m
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
        return self.chosen(named_weights(gathered(model), self.dense))

    def next_mask(self, step: int) -> Active | None:
        return self.chosen(self.weights)

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        return grad + self.scaled(name, self.decay * (1 - self._multipliers[name]) * theta)
