"""A weight as a sparsifier sees it: here a dense parameter, and its mask as bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..positions import Positions, are_in, indices_of, marked_of, taken
from .bits import all_or_none, closing
from .places import Marked, Places
from .shards import local, put_together, share
from .stillness import Part


class Masked:
    """A dense parameter held in a mask.

    What a sparsifier asks of a weight; :class:`~sparsescape.sparsifiers.nonzeros.Nonzeros` offers
    the same for truly sparse layers. A set of positions is given as a bool tensor with one element
    for each number of the parameter, or as :class:`~sparsescape.positions.Positions` of the dense
    weight.
    """

    bits: Tensor
    count: int
    """How many are active, as who puts the mask says."""

    def __init__(self, parameter: Any):
        self.parameter = parameter
        self.shape = torch.Size(parameter.shape)  # of the dense weight
        self._places: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What closes knows where the mask is in memory: of a copy that is elsewhere.
        return {key: value for key, value in vars(self).items() if key != "_close"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "bits" in state:
            self._close = closing(self.bits, local(self.parameter).dtype)

    # ------------------------------------------------------------------ the mask

    def put(self, active: Tensor | Positions) -> None:
        """Take up another mask."""
        self._places = None
        bits = share(self.own(active), self.parameter)
        parameter = local(self.parameter)
        self.bits = all_or_none(bits, like=parameter)
        self._close = closing(self.bits, parameter.dtype)

    def check_count(self, count: int) -> None:
        """Any number of them can be active."""

    def active(self) -> Tensor:
        """Which numbers of the parameter are active: a bool tensor of its shape."""
        return put_together(self.bits, self.parameter).bool()

    def own(self, active: Tensor | Positions) -> Tensor:
        """A set of positions as a bool tensor of the parameter's shape."""
        return active if isinstance(active, Tensor) else active.as_bool()

    def positions(self, active: Tensor | Positions) -> Positions:
        """A set of positions as those of the dense weight."""
        return active if isinstance(active, Positions) else Positions.of(active)

    def saved(self, active: Tensor | Positions) -> Tensor:
        """A set of positions as one tensor, for :func:`read` to read."""
        return self.own(active)

    def at_active(self, everywhere: Tensor) -> Tensor:
        """Of something over all positions, what is at the active ones."""
        return everywhere[self.active()]

    def inside(self, numbers: Tensor) -> Tensor:
        """Of numbers of the parameter's shape those that are active, in one dimension."""
        return taken(numbers, self.places)

    def chosen(self, some: Tensor) -> Tensor:
        """Those of the active ones that a bool tensor in one dimension marks, as :meth:`own`."""
        return marked_of(some, self.places, torch.Size(self.parameter.shape))

    @property
    def places(self) -> Tensor:
        """Flat indices of the active ones: slow to find, and so kept until the mask moves."""
        if self._places is None:
            self._places = indices_of(put_together(self.bits, self.parameter))
        return self._places

    def noise(self, seed: int) -> Tensor:
        """Numbers in [0, 1), one for each of the parameter; of a position always the same."""
        source = torch.Generator().manual_seed(seed)
        return torch.rand(self.parameter.shape, generator=source).to(self.parameter.device)

    # ------------------------------------------------------------------ what can be grown

    def beyond(self, inside: Tensor) -> Places:
        """All positions but those."""
        return Marked(~inside)

    def among(self, inside: Tensor) -> Places:
        """Those positions."""
        return Marked(inside)

    def joined(self, kept: Tensor, *grown: Any) -> Tensor | Positions:
        """The mask of what was kept and what has grown."""
        for places in grown:
            kept = kept | places.marked
        return kept

    # ------------------------------------------------------------------ how it is held

    def close(self, grad: Tensor) -> None:
        """Set a gradient to 0 where it is not active."""
        self._close(grad)

    def parts(self, state: Mapping[str, Tensor], fresh: Mapping[str, float]) -> list[Part]:
        """What is to be closed after a step."""
        held: list[Part] = [(self.parameter, self.bits, 0.0)]
        return held + [(v, self.bits, fresh.get(k, 0.0)) for k, v in state.items()]


class Within(Masked):
    """The values of truly sparse layers, held in a mask that closes some of them.

    The layers stay as they are; ``layers`` all hold the parameter.
    """

    def __init__(self, parameter: Any, layers: list[Any]):
        super().__init__(parameter)
        self.shape, self.layers = layers[0].dense_shape, layers

    def own(self, active: Tensor | Positions) -> Tensor:
        if isinstance(active, Tensor):
            return active
        flat = self.layers[0].positions()
        return are_in(flat, active.as_indices().to(flat.device))

    def positions(self, active: Tensor | Positions) -> Positions:
        if isinstance(active, Positions):
            return active
        flat = self.layers[0].positions()
        return Positions.listed(flat[indices_of(active).to(flat.device)], self.shape)

    def saved(self, active: Tensor | Positions) -> Tensor:
        return self.positions(active).as_indices()


def read(saved: Tensor, shape: torch.Size) -> Positions:
    """The positions that ``saved`` wrote: a bool tensor, or flat indices."""
    return Positions.of(saved) if saved.dtype == torch.bool else Positions.listed(saved, shape)
