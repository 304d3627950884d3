"""Whether a step can have left the mask: where it cannot, nothing is closed after it.

To close weights and optimizer state after a step takes as long as a part of the step itself. It
is needless where the closed elements stand still by themselves, which is known by induction:

1. they were closed after the last step, and nothing has been written into a weight or its state
   since: torch counts the writes into a tensor;
2. their gradients were 0 when the step began;
3. the optimizer leaves such an element as it is. This is not looked up but seen, on the model
   itself: over some steps *every* closed element is compared, bit by bit, before and after the
   closing. So it is noticed where an optimizer mixes elements, adds noise or divides 0 by 0.

The third may change later, as settings do, and a write through ``.data`` is not counted. So
after every step some closed elements of each tensor are read, as witnesses for all others, which
are in the same state; and every so many steps all are closed and compared again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, getitem
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bits import as_integers, hold, in_order, is_closed
from .shards import is_sharded, local

TRIALS = 4
"""So many steps in a row must have left every closed element alone before one is trusted to."""
CERTAIN = 25
"""After so many steps all is closed and compared again."""
WITNESSES = 4
"""Of each tensor so many closed elements are read."""


_writes_into = attrgetter("_version")

Part = tuple[Any, Tensor, float]
"""A weight or a state of its shape, the mask it is held in, and its value outside the mask."""


@dataclass(eq=False)
class Held:
    """A part, as it was when it was last seen closed."""

    tensor: Any
    bits: Tensor
    fresh: float

    def hold(self) -> None:
        hold(local(self.tensor), self.bits, self.fresh)

    @cached_property
    def can_be_read(self) -> bool:
        """Whether its memory can be read at once, and lies in the order of the mask's."""
        tensor = self.tensor
        if is_sharded(tensor) or tensor.device.type != "cpu" or tensor.is_complex():
            return False
        formats = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)
        fitting = formats[:1] if tensor.ndim < 4 else formats[:: tensor.ndim - 3]
        dense = any(tensor.is_contiguous(memory_format=f) for f in fitting)
        return dense and _strides(tensor) == _strides(self.bits)

    def stands_still(self) -> bool:
        """Close it; whether there was nothing to close."""
        if not self.fresh:
            if not (still := is_closed(self.tensor, self.bits)):
                self.hold()
            return still
        before = as_integers(self.tensor).clone()
        self.hold()
        return torch.equal(as_integers(self.tensor), before)


class Witnesses:
    """Some closed elements of all parts. In flat lists, for they are read after every step."""

    def __init__(self, held: list[Held]) -> None:
        self._tensors = [part.tensor for part in held]
        self._addresses = [tensor.data_ptr() for tensor in self._tensors]
        self._memories: list[memoryview] = []
        self._places: list[int] = []
        self._expected: list[int] = []
        of_mask: dict[int, list[int]] = {}  # a weight and its state share one
        for part in held:
            if id(part.bits) not in of_mask:
                of_mask[id(part.bits)] = some_closed(in_order(part.bits)).tolist()
            places = of_mask[id(part.bits)]
            # As a view, of which single elements are read faster than of an array.
            self._memories += [memoryview(in_order(as_integers(part.tensor)))] * len(places)
            self._places += places
            self._expected += [as_integer(part.fresh, part.tensor.dtype)] * len(places)

    def agree(self) -> bool:
        """Whether they are, to the bit, what they are to be."""
        if list(map(getitem, self._memories, self._places)) != self._expected:
            return False
        return list(map(Tensor.data_ptr, self._tensors)) == self._addresses


class Stillness:
    """Holds what one optimizer moves, and knows when it need not."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._held: list[Held] = []
        self._tensors: list[Any] = []
        self._writes: list[int] = []  # into each of them, when it was last seen closed
        self._witnesses: Witnesses | None = None
        self._given = False  # the first two conditions, for the step under way
        self._trials_left = TRIALS
        self._moves_closed = False
        self._age = 0

    def __getstate__(self) -> dict[str, Any]:
        # Witnesses look into the memory of the tensors: those of a copy lie elsewhere.
        return {**vars(self), "_witnesses": None}

    def forget(self) -> None:
        """To be called when the mask has changed: what was closed may be what is open."""
        self._take_up([])
        self._given = False

    def begin(self) -> None:
        """To be called when a step begins on gradients that are closed."""
        self._given = self._writes == list(map(_writes_into, self._tensors))

    def end(self, parts: list[Part]) -> None:
        """Close all parts: to be called when a step has ended, or something else has happened."""
        given = self._given and (parts is self._parts or self._are(parts))
        self._given = False
        if not given or self._moves_closed:
            self._take_up(parts)
            self._hold()
        elif self._trials_left or self._age >= CERTAIN:
            self._hold_and_compare()
        elif self.witnesses_agree():
            self._age += 1
        else:
            self._hold()
        self._writes = list(map(_writes_into, self._tensors))

    def _take_up(self, parts: list[Part]) -> None:
        self._parts = parts
        self._held = [Held(*part) for part in parts]
        self._tensors = [part[0] for part in parts]
        self._witnesses = None

    def _are(self, parts: list[Part]) -> bool:
        """Whether these are the tensors that were held last."""
        return len(parts) == len(self._tensors) and all(
            part[0] is tensor for part, tensor in zip(parts, self._tensors, strict=True)
        )

    def witnesses_agree(self) -> bool:
        if self._witnesses is None:
            self._witnesses = Witnesses(self._held)
        return self._witnesses.agree()

    @torch.no_grad()
    def _hold(self) -> None:
        for held in self._held:
            held.hold()

    def _hold_and_compare(self) -> None:
        """Close all, and note whether there was anything to close."""
        if not all(h.can_be_read for h in self._held):
            return self._hold()
        # One after the other: of no more than one there is a copy at a time.
        still = [held.stands_still() for held in self._held]
        self._moves_closed = not all(still)
        self._trials_left, self._age = max(self._trials_left - 1, 0), 0
        return None


def as_integer(number: float, dtype: torch.dtype) -> int:
    """A number as the integer of the same bits."""
    return int(as_integers(torch.tensor([number], dtype=dtype))[0]) if number else 0


def _strides(tensor: Tensor) -> list[int]:
    """Without those of dimensions of one element, which say nothing and which torch leaves open."""
    return [stride for stride, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1]


def some_closed(bits: Any) -> Any:
    """Some positions without bits, spread over all; found in a sample if that has as many."""
    stride = max(len(bits) // (8 * WITNESSES), 1) | 1
    closed = np.flatnonzero(bits[::stride] == 0) * stride
    if len(closed) < WITNESSES:
        closed = np.flatnonzero(bits == 0)
    return closed[:: max(len(closed) // WITNESSES, 1)][:WITNESSES]
