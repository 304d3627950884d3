"""How weights and optimizer state are held in the mask after every step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .masked import Masked
from .nonzeros import Nonzeros
from .owners import Owners, same
from .stillness import Part, Stillness

Held = Masked | Nonzeros
"""A weight as a sparsifier sees it."""


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
        self._parts_of: list[tuple[list[Tensor], list[Part]] | None] = [None for _ in self.still]

    def hold(self, index: int) -> None:
        """What optimizer number ``index`` may have moved."""
        self.still[index].end(self._parts(index))

    def forget(self) -> None:
        """To be called when the mask has changed."""
        for index, still in enumerate(self.still):
            still.forget()
            self._parts_of[index] = None

    def knows(self, tensor: Tensor) -> bool:
        """Whether it is state that was there when the last step ended."""
        seen = [known[0] for known in self._parts_of if known is not None]
        return not seen or any(tensor is other for state in seen for other in state)

    def _parts(self, index: int) -> list[Part]:
        """The weights of an optimizer, and their state; listed anew when another state is there."""
        state = self._owners.state_tensors(index)
        known = self._parts_of[index]
        if known is None or not same(state, known[0]):
            known = self._parts_of[index] = state, self._listed(index)
        return known[1]

    def _listed(self, index: int) -> list[Part]:
        return [
            part
            for name in self._owners.names(index)
            for part in self._held[name].parts(self._owners.state(name), self.fresh[name])
        ]
