"""The gradient over all positions, closed ones too, for the steps that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .bits import as_integers
from .shards import is_sharded, local, whole

STEPPED = (
    "An optimizer stepped on {!r} during the backward pass; this method needs the gradients over "
    "all positions of all weights, which are there when the pass is over."
)


BLOCKS, WIDTH = 8, 64
"""A sample is so many blocks of so many numbers: a few of a row each, which are read at once."""


class Sample:
    """Some numbers of a tensor as they are now, by which it is seen whether they change.

    Torch counts the writes into a tensor, but not those of a GradScaler that undoes its scale.
    """

    def __init__(self, tensor: Any) -> None:
        self._places: Tensor | None = None
        self._numbers = None if is_sharded(tensor) else _some(tensor).clone()
        if self._numbers is not None and not self._numbers.any():  # of few that are not 0
            self._places = tensor.detach().reshape(-1).nonzero().flatten()[:WIDTH]
            self._numbers = self._at_places(tensor)

    def tells(self, tensor: Any) -> bool:
        """Whether these are the same to the bit, and would not be if all had been scaled.

        False of a sharded tensor: all ranks must come to one answer.
        """
        if self._numbers is None or not self._numbers.any():
            return False
        now = _some(tensor) if self._places is None else self._at_places(tensor)
        return torch.equal(as_integers(now), as_integers(self._numbers))

    def _at_places(self, tensor: Tensor) -> Tensor:
        return tensor.detach().reshape(-1)[self._places]


def _some(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    if len(flat) <= BLOCKS * WIDTH:
        return flat
    return flat[: len(flat) // BLOCKS * BLOCKS].view(BLOCKS, -1)[:, :WIDTH]


@dataclass
class _Kept:
    grad: Tensor  # the weight's own gradient, closed since
    version: int  # of its data, when it was closed
    dense: Tensor  # what it was before
    sample: Sample  # of the closed one
    handle: Any = None
    untouched: bool | None = None  # where it was looked at before a pass added to it

    def look_before_the_next_pass(self, weight: Tensor) -> None:
        """The gradient lies in a bucket of DDP, which may copy it into another one meanwhile."""

        def look(_: Tensor) -> None:
            self.untouched = weight.grad is not None and self.sample.tells(weight.grad)

        self.handle = weight.register_hook(torch.compiler.disable(look))

    def only_added(self, grad: Any) -> bool:
        """Whether this pass is all that happened to the gradient: it was not zeroed in between."""
        if self.handle is not None:
            return bool(self.untouched)
        return self.grad is grad and local(grad)._version == self.version + 1

    def forget(self) -> None:
        if self.handle is not None:
            self.handle.remove()


class DenseGradients:
    """Keeps dense gradients beside the closed ones that the loop sees.

    While a step asks for them, each backward pass adds to a dense sum; at the end of the pass,
    after DDP and FSDP have reduced what they reduce, the sum is put aside and the weight's
    ``.grad`` is closed. Nothing is kept between the steps that ask.
    """

    def __init__(self, close: Mapping[str, Callable[[Tensor], object]]):
        self._close = close
        self._kept: dict[str, _Kept] = {}
        self._pending: dict[str, Tensor] = {}

    @torch.no_grad()
    def accumulated(self, name: str, weight: Tensor) -> None:
        """To be called when a backward pass has added to ``weight.grad``.

        Raises:
            InputError: an optimizer has stepped already, and the gradient is gone.
        """
        if weight.grad is None:
            raise InputError(STEPPED.format(name))
        kept = self._kept.pop(name, None)
        if kept is not None:
            kept.forget()
        if kept is not None and kept.only_added(weight.grad):
            closed = local(kept.dense).clone()
            self._close[name](closed)
            local(weight.grad).add_(local(kept.dense) - closed)
        if not self._pending:
            at_end_of_backward(self._put_aside)
        self._pending[name] = weight

    @torch.no_grad()
    def _put_aside(self) -> None:
        for name, weight in self._pending.items():
            grad: Any = weight.grad
            if grad is not None:
                dense = grad.clone()
                is_part = _is_part(local(grad))
                if is_part and is_sharded(grad):
                    grad = weight.grad = grad.clone()  # FSDP adds to what is there
                self._close[name](local(grad))
                kept = self._kept[name] = _Kept(grad, local(grad)._version, dense, Sample(grad))
                if is_part and not is_sharded(grad):
                    kept.look_before_the_next_pass(weight)
        self._pending.clear()

    @torch.no_grad()
    def given(self, name: str, weight: Any) -> None:
        """To be called before a step, if it may be that no backward pass has made the gradient that
        is there, but the loop: then it is as the loop gave it, over all positions."""
        if name not in self._kept and name not in self._pending and weight.grad is not None:
            self._pending[name] = weight
            self._put_aside()

    @torch.no_grad()
    def of(self, name: str, weight: Tensor) -> Tensor:
        """The dense gradient of a weight, all shards together; 0 where there was none.

        If the loop scaled the gradient meanwhile (it clipped, or undid a loss scale), the whole
        of it is scaled as the part inside was.
        """
        if name in self._pending:
            raise InputError(STEPPED.format(name))
        kept = self._kept.get(name)
        if kept is None:
            return torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)
        dense = whole(kept.dense)
        if local(kept.grad)._version == kept.version and kept.sample.tells(kept.grad):
            return dense
        inside = local(kept.dense).clone()
        self._close[name](inside)
        now, before = _norm(local(kept.grad), kept.grad), _norm(inside, kept.grad)
        return dense * (now / before) if before > 0 else dense

    def clear(self) -> None:
        for kept in self._kept.values():
            kept.forget()
        self._kept.clear()


def _is_part(grad: Tensor) -> bool:
    """Whether it lies among others in one piece of memory, as in a bucket of DDP or a group of
    FSDP: torch counts the writes into all of them together, and so those into none of them."""
    return grad._is_view() or grad.untyped_storage().nbytes() > grad.nbytes


def at_end_of_backward(call: Callable[[], None]) -> None:
    """Call that when the pass under way is over, and gradients are reduced."""
    # Twice, since DDP queues its own end of the pass after ours.
    queue = torch.autograd.Variable._execution_engine.queue_callback
    queue(torch.compiler.disable(lambda: queue(torch.compiler.disable(call))))


def _norm(part: Tensor, like: Any) -> Tensor:
    """The norm of a tensor of which every rank that shards ``like`` has a part."""
    square = part.detach().float().square().sum()
    if part is not like and hasattr(like, "device_mesh"):
        for dimension in range(like.device_mesh.ndim):
            group = like.device_mesh.get_group(dimension)
            torch.distributed.all_reduce(square, group=group)
    return square.sqrt()
