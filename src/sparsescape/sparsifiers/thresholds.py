"""Thresholds that are trained, and choose the sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, check_within
from .alongside import Alongside
from .base import Active
from .nonzeros import shaped_weights
from .shards import total
from .views import View


@dataclass(eq=False)
class STR(View):
    """Soft threshold reparameterization: w = sign(θ)·max(|θ| − g(s), 0), g the sigmoid.

    Each layer's s is trained at every step of the layer's optimizer, as that would do it: by a twin
    of the same class, with the settings that the weight's group has at that step; by gradient
    descent where the class moves no single numbers (Muon, LBFGS). The optimizer itself does not
    know of s, which is in :meth:`state_dict`. Weight decay draws s to 0, and so the threshold up.
    The sparsity is what comes out, and is read from ``mask.sparsity`` (Kusupati et al. 2020, *Soft
    Threshold Weight Reparameterization for Learnable Sparsity*, section 3; the same as
    ``sparseFunction`` in the authors' ``conv_type.py``).

    Args:
        initial: s at the start. The authors' for ResNet-50 over 100 epochs of ImageNet is −3200;
            shorter training needs one nearer to 0, for s moves by weight decay.
        dense, on_collapse: as for every :class:`Sparsifier`.

    >>> model = nn.Linear(10, 10)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=0.1)
    >>> sparsifier = STR(initial=-4.0).attach(model, optimizer)
    >>> before = sparsifier.mask.sparsity
    >>> for _ in range(20):
    ...     model(torch.zeros(1, 10)).sum().backward()
    ...     optimizer.step()
    >>> sparsifier.mask.sparsity > before
    True
    """

    _: KW_ONLY
    initial: float = -5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(initial=self.initial)

    def first_mask(self, model: nn.Module) -> Active:
        weights = shaped_weights(model, self.dense)
        self.thresholds = {
            n: nn.Parameter(torch.tensor(self.initial).to(w)) for n, w in weights.items()
        }
        return self.above(weights)

    def start(self) -> None:
        super().start()
        self._alongside = Alongside(self._owners, self.thresholds)

    @torch.no_grad()
    def above(self, weights: Mapping[str, Tensor]) -> Active:
        """Where |θ| is above the layer's threshold."""
        return {n: w.abs() > torch.sigmoid(self.thresholds[n]) for n, w in weights.items()}

    def next_mask(self, step: int) -> Active | None:
        return self.above(self.weights)

    @property
    def trained(self) -> Mapping[str, float]:
        return self.densities

    def shown(self, name: str, theta: Tensor) -> Tensor:
        # A threshold moves with its own optimizer, the mask when all have stepped.
        threshold = torch.sigmoid(self.thresholds[name].detach())
        return theta.sign() * (theta.abs() - threshold).clamp(min=0)

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        inside = grad * self._multipliers[name]
        s, scale = self.thresholds[name], self._owners.grad_scale(name)
        slope = torch.sigmoid(s.detach()) * (1 - torch.sigmoid(s.detach()))
        of_s = -slope * total((inside * theta.sign()).sum(), like=self._weights[name])
        s.grad = of_s if scale is None else (of_s / scale).to(s)
        return inside

    def open(self, index: int) -> None:
        self._alongside.begin(index)
        super().open(index)

    def stepped(self, index: int) -> None:
        self._alongside.step(index)
        super().stepped(index)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._handles and "thresholds" not in state.get("memory", {}):
            raise InputError("This is no state of STR: its memory has no thresholds.")
        super().load_state_dict(state)

    def remembered(self) -> dict[str, Any]:
        values = {n: s.detach().clone() for n, s in self.thresholds.items()}
        trained = {"thresholds": values, "alongside": self._alongside.state()}
        return {**super().remembered(), **trained}

    @torch.no_grad()
    def remember(self, memory: dict[str, Any]) -> None:
        for name, value in memory.pop("thresholds").items():
            self.thresholds[name].copy_(value)
        self._alongside.load(memory.pop("alongside"))
        super().remember(memory)
