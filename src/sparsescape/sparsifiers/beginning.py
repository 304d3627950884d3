"""The first mask, which can be undone until the first step: a state may be loaded over it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .holding import Held
from .nonzeros import Nonzeros
from .owners import Owners
from .shards import local, writes


class Beginning:
    """Remembers what the first mask closes or moves away.

    To be made before that mask is taken up; ``over`` says when it is there.
    """

    def __init__(self, owners: Owners, held: Mapping[str, Held]):
        self._nonzeros = [h for h in held.values() if isinstance(h, Nonzeros)]
        masked = [name for name, h in held.items() if not isinstance(h, Nonzeros)]
        held_now = owners.everything_held(masked)
        self._before = [(tensor, local(tensor).detach().clone()) for tensor in held_now]
        self._written: list[tuple[int, int]] = []
        self.can_be_undone = True
        for one in self._nonzeros:
            one.begin()

    def over(self) -> None:
        """The first mask is there."""
        self._written = [writes(tensor) for tensor, _ in self._before]
        for one in self._nonzeros:
            one.begun()

    @torch.no_grad()
    def undo(self) -> None:
        """Put back what was there, where nobody has loaded anything into it since."""
        for (tensor, before), written in zip(self._before, self._written, strict=True):
            if writes(tensor) == written:
                local(tensor).copy_(before)
        for one in self._nonzeros:
            one.undo()
        self.forget()

    def forget(self) -> None:
        """It is not to be undone any more."""
        self.can_be_undone = False
        self._before, self._written = [], []
        for one in self._nonzeros:
            one.settle()
        self._nonzeros = []
