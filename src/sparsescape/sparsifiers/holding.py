"""How weights and optimizer state are held in the mask after every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .masked import Masked
from .nonzeros import Nonzeros
from .owners import Owners, same
from .stillness import Part, Stillness

Held = Masked | Nonzeros
"""A weight as a sparsifier sees it."""


@dataclass
class _Known:
    """What an optimizer moves, as it was when it was listed."""

    state: list[Tensor]
    parts: list[Part]
    ids: list[int]  # of the state's values, tensors or not


class Holding:
    """Closes what the optimizers have moved, and gives the state of it what is fresh."""

    def __init__(
        self,
        owners: Owners,
        held: Mapping[str, Held],
        fresh: Mapping[str, Mapping[str, float]],
    ):
        self._owners, self._held, self.fresh = owners, held, fresh
        self.still = [Stillness() for _ in owners.optimizers]
        self._known: list[_Known | None] = [None for _ in self.still]

    def hold(self, index: int) -> None:
        """What optimizer number ``index`` may have moved."""
        self.still[index].end(self._parts(index))

    def forget(self) -> None:
        """To be called when the mask has changed."""
        for index, still in enumerate(self.still):
            still.forget()
            self._known[index] = None

    def look_again(self) -> None:
        """Before the mask moves: what is fresh may follow a setting that a schedule has changed, as
        Rprop's learning rate."""
        if any(self.fresh.values()) and (now := self._owners.fresh()) != self.fresh:
            self.fresh = now
            self.forget()
            for index in range(len(self.still)):
                self.hold(index)

    def knows(self, tensor: Tensor) -> bool:
        """Whether it is state that was there when the last step ended."""
        seen = [known.state for known in self._known if known is not None]
        return not seen or any(tensor is other for state in seen for other in state)

    def _parts(self, index: int) -> list[Part]:
        """The weights of an optimizer, and their state; listed anew when another state is there."""
        known, ids = self._known[index], self._owners.state_ids(index)
        if known is not None and known.ids == ids:  # its tensors live: no other can have their ids
            return known.parts
        state = self._owners.state_tensors(index)
        parts = known.parts if known and same(state, known.state) else self._listed(index)
        self._known[index] = _Known(state, parts, ids)
        return parts

    def _listed(self, index: int) -> list[Part]:
        return [
            part
            for name in self._owners.names(index)
            for part in self._held[name].parts(self._owners.state(name), self.fresh[name])
        ]
