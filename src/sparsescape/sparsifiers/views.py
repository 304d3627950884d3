"""Dense weights behind a sparse forward.

Some methods train all weights and show the network only some. Here the model's own parameters
always hold what the forward pass uses, so that whatever looks at the model (evaluation, copies,
``state_dict``, ``torch.compile``, an attention layer that reads another's weight) sees the sparse
network under its plain names; the dense weights θ behind it are the sparsifier's, and come forward
only while the optimizer moves them. The gradient with respect to the shown weights becomes that
of θ by the method's chain rule, or straight through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .base import NextMask, Sparsifier
from .holding import Held
from .hooks import skipped
from .masked import Masked, Within
from .owners import inside_out
from .shards import local, put_together, share

PARTS = ("dense_weights", "scores")
"""What is remembered per weight and cut over the ranks as the weight is, in a fixed order."""


@dataclass(eq=False)
class View(Sparsifier):
    """The mechanism: ``self.dense_weights`` behind what :meth:`shown` makes of them.

    A method says which mask (as every :class:`Sparsifier`), and may say how θ is shown and what
    gradient θ gets. It comes before the other base where a method has two. Optimizer state is
    that of θ, and not masked. Clipping in the loop sees the gradient of the shown weights.
    """

    def behind(self, name: str, weight: Tensor) -> Tensor:
        """θ at the start: the weight."""
        return weight.clone()

    def shown(self, name: str, theta: Tensor) -> Tensor:
        """What the forward pass uses of θ, inside the mask: θ itself, unless the method says so."""
        return theta

    def chain(self, name: str, theta: Tensor, grad: Tensor) -> Tensor:
        """The gradient of θ from that of the shown weights: straight through."""
        return grad

    def settle(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        """θ after a step of the optimizer."""
        return after

    def scaled(self, name: str, term: Tensor) -> Tensor:
        """What a method adds to the gradient, scaled as a GradScaler has scaled that."""
        scale = self._owners.grad_scale(name)
        return term if scale is None else term * scale

    def _take_up(self, model: nn.Module, *parts: Any) -> None:
        for optimizer in parts[-1]:
            # It moves weights between steps, where it would find those that are shown.
            if hasattr(inner := inside_out(optimizer)[0], "eval"):
                raise InputError(
                    f"{type(self).__name__} keeps dense weights behind the shown ones, of which "
                    f"{type(inner).__name__}.eval would make an average: take another optimizer."
                )
        super()._take_up(model, *parts)

    @property
    def trained(self) -> Mapping[str, float]:
        """Weight name → the share of θ that gets a gradient: all of it, straight through."""
        return dict.fromkeys(self._weights, 1.0)

    # ------------------------------------------------------------------ the mechanism

    @property
    def dense_weights(self) -> dict[str, Tensor]:
        """θ: weight name → this rank's part of the dense weight."""
        return self.memory["dense_weights"]

    def weight(self, name: str) -> Tensor:
        """θ, which is what scores look at."""
        return self.from_parts(name, self.dense_weights[name])

    def from_parts(self, name: str, part: Tensor) -> Tensor:
        """The whole of something that is cut as the weight is."""
        return put_together(part, self._weights[name])

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: self.weight(name) for name in self._weights}

    def remembered(self) -> dict[str, Any]:
        memory = super().remembered()
        for key in filter(memory.__contains__, PARTS):
            memory[key] = {n: self.from_parts(n, part) for n, part in memory[key].items()}
        return memory

    def remember(self, memory: dict[str, Any]) -> None:
        for key in filter(memory.__contains__, PARTS):
            memory[key] = {n: share(t, self._weights[n]).clone() for n, t in memory[key].items()}
        super().remember(memory)

    def _holder(self, name: str, layers: list[Any]) -> Held:
        """Of a truly sparse layer θ is the values it holds, and some of them are shown."""
        weight = self._weights[name]
        return Within(weight, layers) if layers else Masked(weight)

    def _set_mask(self, mask: NextMask) -> None:
        # As numbers: gradients are multiplied by them.
        self._multipliers = {
            n: share(self._held[n].own(mask[n]), w).to(local(w).dtype)
            for n, w in self._weights.items()
        }
        if "dense_weights" not in self.memory:
            self.memory["dense_weights"] = {
                n: self.behind(n, local(w).detach()) for n, w in self._weights.items()
            }
        super()._set_mask(mask)

    def _look_again(self) -> None:
        """Optimizer state is that of θ: none of it is made fresh."""

    def _closing(self, name: str) -> Callable[[Tensor], object]:
        """The loop sees the gradient of all that the method trains, which is all there is."""
        return _leave

    @torch.no_grad()
    def open(self, index: int) -> None:
        if skipped(self._owners.optimizers[index]):
            return
        for name in self._of_optimizer(index):
            weight, theta = self._weights[name], self.dense_weights[name]
            local(weight).copy_(theta)
            if weight.grad is not None:
                grad = local(weight.grad)
                grad.copy_(self.chain(name, theta, grad))
        self._opened = index

    @torch.no_grad()
    def close(self, index: int) -> None:
        if self.__dict__.pop("_opened", None) != index:
            return
        for name in self._of_optimizer(index):
            theta = self.dense_weights[name]
            theta.copy_(self.settle(name, theta, local(self._weights[name])))
        self._hold(index)

    @torch.no_grad()
    def wrapped(self, index: int) -> None:
        """What is around an optimizer finds the shown weights: moving those would be in vain.

        Raises:
            InputError: it has moved them.
        """
        for name in self._of_optimizer(index):
            shown, weight = self._inside(name), local(self._weights[name])
            if not torch.equal(weight.nan_to_num(), shown.nan_to_num()):
                raise InputError(
                    f"{type(self).__name__} keeps dense weights behind the shown ones, and the "
                    f"shown {name!r} was moved beside the optimizer that is wrapped: take that "
                    "alone."
                )

    @torch.no_grad()
    def _hold(self, *indices: int) -> None:
        for index in indices:
            for name in self._of_optimizer(index):
                local(self._weights[name]).copy_(self._inside(name))

    def _inside(self, name: str) -> Tensor:
        """What is shown, and 0 outside the mask: closed, since NaN times 0 is NaN."""
        shown = self.shown(name, self.dense_weights[name]).clone()
        self._held[name].close(shown)
        return shown

    def _of_optimizer(self, index: int) -> list[str]:
        return [name for name in self._weights if self._owners.index(name) == index]


def _leave(grad: Tensor) -> None:
    """The gradient as it is."""
