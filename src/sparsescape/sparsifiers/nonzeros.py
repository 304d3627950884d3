"""A weight as a sparsifier sees it: here the values of truly sparse layers, at positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..points import (
    matching,
    named_weights,
    other_names,
    plain_name,
)
from ..positions import Positions, are_in, found_in, indices_of
from ..seeds import noise_at
from .places import Listed, Outside, Places
from .shards import Replicas, is_sharded, whole
from .stillness import Part
from .structures import unstructured

WORKING = "Static, RigL, SET, MEST, DeepR, DSR, SNFS, TopKAST, RigLITOP and SETITOP"


class SparseLayer(Protocol):
    """What a truly sparse layer offers a sparsifier; it says so by ``holds_nonzeros_only``."""

    weight: nn.Parameter
    """The values, in one dimension."""
    watch: Callable[[], Callable[[Callable[[], Tensor]], None] | None] | None
    """Asked in a forward pass; what it returns is told, in the backward pass, what makes each term
    of the gradient over all positions."""

    @property
    def dense_shape(self) -> torch.Size: ...

    def positions(self) -> Tensor: ...

    def move(self, positions: Tensor) -> None: ...


Carried = list[tuple[Tensor, float]]
"""Tensors with an element for each value, and what that is for a value that is grown."""


class Nonzeros:
    """The values of truly sparse layers; the mask is where they stand.

    Nothing is closed, so there is nothing to hold: what a mask update does is to move values, and
    what the optimizer knows of them, to other positions. It offers what
    :class:`~sparsescape.sparsifiers.masked.Masked` does. The parameter stays the object it is.

    Args:
        layers: all that hold the parameter: tied ones move together.
        carried: what moves with the values.
    """

    count: int
    """How many there are, as who puts the mask says."""

    def __init__(
        self, parameter: Any, layers: list[SparseLayer], carried: Callable[[], Carried]
    ) -> None:
        self.parameter, self.layers = parameter, layers
        self.shape = layers[0].dense_shape
        self.replicas: Replicas | None = None
        """Of the DistributedDataParallel that holds it, or that ran it last."""
        self._carried = carried
        self._before: tuple[Tensor, list[tuple[Tensor, Tensor]], int] | None = None

    # ------------------------------------------------------------------ the mask

    @property
    def flat(self) -> Tensor:
        """The positions, as sorted flat indices."""
        return self.layers[0].positions()

    def put(self, active: Tensor | Positions) -> None:
        old, new = self.flat, self.positions(active).as_indices()
        if not torch.equal(old, new := new.to(old.device)):
            self._move(old, new)

    def active(self) -> Tensor:
        return torch.ones(len(self.parameter), dtype=torch.bool, device=self.parameter.device)

    def own(self, active: Tensor | Positions) -> Tensor:
        if isinstance(active, Tensor):
            return active
        return are_in(self.flat, active.as_indices().to(self.parameter.device))

    def positions(self, active: Tensor | Positions) -> Positions:
        if isinstance(active, Positions):
            return active
        return Positions.listed(self._listed(active), self.shape)

    def saved(self, active: Tensor | Positions) -> Tensor:
        return self.positions(active).as_indices()

    def at_active(self, everywhere: Tensor) -> Tensor:
        return everywhere.reshape(-1)[self.flat]

    def inside(self, numbers: Tensor) -> Tensor:
        return numbers

    def chosen(self, some: Tensor) -> Tensor:
        return some

    def noise(self, seed: int) -> Tensor:
        return noise_at(self.flat, seed).to(self.parameter.device)

    def _listed(self, inside: Tensor) -> Tensor:
        return self.flat[indices_of(inside)]

    # ------------------------------------------------------------------ what can be grown

    def beyond(self, inside: Tensor) -> Places:
        return Outside(self._listed(inside), self.shape)

    def among(self, inside: Tensor) -> Places:
        return Listed(self._listed(inside), self.shape.numel())

    def joined(self, kept: Tensor, *grown: Any) -> Tensor | Positions:
        flat = torch.cat([self._listed(kept), *(places.flat for places in grown)])
        return Positions.listed(flat.sort().values, self.shape)

    # ------------------------------------------------------------------ how it is held

    def close(self, grad: Tensor) -> None:
        """There is no gradient outside the mask."""

    def parts(self, state: Mapping[str, Tensor], fresh: Mapping[str, float]) -> list[Part]:
        return []

    # ------------------------------------------------------------------ how it moves

    def begin(self) -> None:
        """Remember what is there, so that the first mask can be undone."""
        self._before = self.flat, [(t, t.detach().clone()) for t, _ in self._carried()], 0

    def begun(self) -> None:
        """The first mask is there."""
        if self._before is not None:
            self._before = *self._before[:2], self.parameter._version

    @torch.no_grad()
    def undo(self) -> None:
        """Go back to what was there at first, unless something was loaded into it since."""
        if self._before is not None and self.parameter._version == self._before[2]:
            old, carried, _ = self._before
            for tensor, before in carried:
                self._replace(tensor, before)
            for layer in self.layers:
                layer.move(old)

    def settle(self) -> None:
        """The first mask is not to be undone any more."""
        self._before = None

    def check_count(self, count: int) -> None:
        """Refuse another number of values where they are replicated.

        Raises:
            InputError: it is so.
        """
        if self.replicas is not None and count != len(self.parameter):
            raise InputError(
                f"A truly sparse layer was to hold {count} weights instead of "
                f"{len(self.parameter)}, which DistributedDataParallel cannot follow: convert the "
                "model with the mask it is to start from, and take a method that keeps each "
                "layer's count."
            )

    @torch.no_grad()
    def _move(self, old: Tensor, new: Tensor) -> None:
        self.check_count(len(new))
        places, kept = found_in(new, old)
        source = places[kept]
        seen: set[int] = set()
        for tensor, fresh in self._carried():
            # An optimizer may keep the values themselves (SAM): what shares their memory moves
            # with them, unless all get memory of a new size.
            if len(new) == len(old) and tensor.data_ptr() in seen:
                continue
            seen.add(tensor.data_ptr())
            moved = tensor.new_full((len(new),), fresh)
            moved[kept] = tensor.detach()[source]
            self._replace(tensor, moved)
        for layer in self.layers:
            layer.move(new)

    def _replace(self, tensor: Tensor, values: Tensor) -> None:
        if tensor.shape == values.shape:
            tensor.detach().copy_(values)
        elif tensor is self.parameter:
            resize(tensor, values)
        else:
            tensor.data = values


def resize(parameter: Tensor, values: Tensor) -> None:
    """Let a parameter have another number of values from now on.

    Autograd's node for it, which knows its shape, is made anew only where the type has changed; and
    an old loss that somebody holds keeps it alive.
    """
    other = torch.float32 if values.dtype == torch.float64 else torch.float64
    parameter.data = values.new_empty(0, dtype=other)
    parameter.data = values


# ---------------------------------------------------------------------------- in a model


def sparse_layers(model: nn.Module, dense: Iterable[str] = ()) -> dict[str, list[SparseLayer]]:
    """Weight name → the truly sparse layers that hold it, without those that are to be left out."""
    names = {id(p): plain_name(name) for name, p in model.named_parameters()}
    found: dict[str, list[Any]] = {}
    for module in model.modules():
        weight = id(getattr(module, "weight", None))
        if getattr(module, "holds_nonzeros_only", False) and weight in names:
            found.setdefault(names[weight], []).append(module)
    if not found or not dense:
        return found
    left_out = matching(names.values(), dense, other_names(model))
    return {name: layers for name, layers in found.items() if name not in left_out}


def shaped_weights(model: nn.Module, dense: Iterable[str] = ()) -> dict[str, Tensor]:
    """:func:`~sparsescape.points.named_weights` in their dense shapes, those of a sharded model put
    together.

    What stands in for a truly sparse layer's weight has no numbers (it is on the meta device).
    """
    shapes = {name: of_one[0].dense_shape for name, of_one in sparse_layers(model).items()}
    stand_ins = {n: torch.empty(shape, device="meta") for n, shape in shapes.items()}
    return {n: whole(w) for n, w in named_weights(model, dense, stand_ins).items()}


def held_now(model: nn.Module, names: Iterable[str]) -> dict[str, Positions]:
    """The positions that truly sparse layers hold, by the names of their weights."""
    layers = sparse_layers(model)
    held = {n: layers[n][0] for n in names if n in layers}
    return {n: Positions.listed(layer.positions(), layer.dense_shape) for n, layer in held.items()}


def works_on(method: Any) -> bool:
    """Whether a method works on truly sparse layers."""
    return method.on_nonzeros and getattr(method, "structure", unstructured) is unstructured


def check_works(method: Any, layers: Mapping[str, list[SparseLayer]]) -> None:
    """Refuse a method that needs dense weights, and layers that are cut over ranks.

    Raises:
        InputError: it is so.
    """
    for name, of_one in layers.items():
        layer = name.rpartition(".")[0]
        if not works_on(method):
            raise InputError(
                f"The layer {layer!r} is truly sparse: {WORKING} work there, without a structure, "
                f"and this {type(method).__name__} does not; convert the model with ss.to_dense."
            )
        if is_sharded(of_one[0].weight):
            raise InputError(f"The layer {layer!r} is truly sparse and cannot be sharded too.")


def check_replicated(method: Any, weights: Mapping[str, Any]) -> None:
    """Refuse, where truly sparse layers are replicated, a method that changes their sizes.

    Raises:
        InputError: it is so.
    """
    if method.moves_between_layers and len(weights) > 1:
        raise InputError(
            f"{type(method).__name__} moves weights between layers, and DistributedDataParallel "
            "cannot follow truly sparse layers that change their sizes; one that keeps each "
            "layer's count can (RigL, SET, MEST)."
        )
