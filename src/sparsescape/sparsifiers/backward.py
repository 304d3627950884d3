"""What becomes of gradients between a backward pass and the step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .gradients import DenseGradients
from .holding import Held
from .nonzeros import Nonzeros
from .owners import Owners
from .shards import is_sharded, local, replicas
from .terms import Terms

Close = Callable[[Tensor], object]


def _nothing() -> None:
    """What a weak reference to nothing says."""


class _Closed:
    """A gradient as it was when it was last closed."""

    __slots__ = ("close", "grad", "weight", "writes")

    def __init__(self, weight: Any, close: Close) -> None:
        self.weight, self.close = weight, close
        self.grad: Callable[[], Any] = _nothing
        self.writes = 0

    def __reduce__(self) -> Any:
        return _Closed, (self.weight, self.close)  # a copy has another gradient


class Backward:
    """Closes gradients as they arrive, and keeps what they are over all positions for who asks.

    Args:
        close: of each weight, what sets its gradient to 0 outside the mask.
    """

    def __init__(
        self,
        weights: Mapping[str, Any],
        held: Mapping[str, Held],
        owners: Owners,
        close: Mapping[str, Close],
    ):
        self._weights, self._held, self._owners, self._close = weights, held, owners, close
        self._dense, self._terms = DenseGradients(close), Terms()
        closed = {name: _Closed(weight, close[name]) for name, weight in weights.items()}
        self._closed = closed
        optimizers = range(len(owners.optimizers))
        self._closed_of = [[closed[name] for name in owners.names(i)] for i in optimizers]
        self.waiting: set[int] = set()
        """Of several optimizers those that have not stepped since a pass gave them gradients."""
        self._stepped: dict[int, int] = {}  # optimizer → in which pass it stepped, if in one
        self.asks = False
        """Whether the next step asks for gradients over all positions."""

    def hook(self, name: str) -> Callable[[Tensor], None]:
        """To be called whenever a backward pass has added to the weight's gradient."""
        # Run for each weight and step, on caches that the pass has emptied: all is at hand.
        closed, close = self._closed[name], self._close[name]
        owner = self._owners.index(name)
        waits = self._waits if len(self._owners.optimizers) > 1 else None
        sharded = is_sharded(self._weights[name])
        kept = self._terms if isinstance(self._held[name], Nonzeros) else self._dense

        def hook(weight: Tensor) -> None:
            grad: Any = weight.grad
            if waits is not None:
                waits(owner)
            if self.asks:
                kept.accumulated(name, weight)
            elif grad is not None:  # none where an optimizer steps during the pass
                close(local(grad) if sharded else grad)
                closed.grad, closed.writes = weakref.ref(grad), grad._version

        return hook

    def watch(self, name: str) -> Callable[[Any], None] | None:
        """Asked by truly sparse layers in a forward pass: who is told of their gradient."""
        held = self._held[name]
        assert isinstance(held, Nonzeros)
        held.replicas = replicas()
        return partial(self._terms.told, name) if self.asks else None

    def over_all(self, name: str) -> Tensor:
        """The gradient over all positions of a weight, in a step that asks."""
        held = self._held[name]
        if isinstance(held, Nonzeros):
            return self._terms.of(name, held).nan_to_num_()
        return self._dense.of(name, self._weights[name]).nan_to_num()

    def take_given(self, index: int) -> None:
        """Before a step that asks: gradients that the loop has set (``torch.autograd.grad``)."""
        for name in self._owners.names(index) if self.asks else ():
            if not isinstance(self._held[name], Nonzeros):
                self._dense.given(name, self._weights[name])

    def are_closed(self, index: int) -> bool:
        """Close again those that the loop has written into (it clipped, or undid a loss scale)."""
        if self.asks:
            return False  # what was put aside is compared with what is there now
        for closed in self._closed_of[index]:
            grad = closed.weight.grad
            if grad is not None and (closed.grad() is not grad or grad._version != closed.writes):
                closed.close(local(grad))
        return True

    def _waits(self, index: int) -> None:
        # One that steps during the pass may have done so before its gradient is told of.
        if self._stepped.get(index) != torch._C._current_graph_task_id():
            self.waiting.add(index)

    def has_stepped(self, index: int) -> None:
        """To be called when an optimizer has."""
        self.waiting.discard(index)
        self._stepped[index] = torch._C._current_graph_task_id()

    def clear(self) -> None:
        """Forget what was kept for a step that is over."""
        self._dense.clear()
        self._terms.clear()
