"""What sparse layers share: values at positions, and how they are moved, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..seeds import generator
from ..sparsifiers.nonzeros import resize
from .ops import Watch
from .pattern import Pattern

Self = TypeVar("Self", bound="Sparse")
_STRUCTURE = ("indptr", "indices")


class Sparse(nn.Module):
    """What both layers share: values at positions.

    The parameter ``weight`` has one dimension, the values in the order of the flat indices of the
    dense weight; ``indptr`` and ``indices`` say where they stand
    (:class:`~sparsescape.kernels.pattern.Pattern`). Those two are in ``state_dict`` and follow the
    module to other devices, as buffers do, but are no buffers: DistributedDataParallel would send
    them to all ranks before every pass, and cannot send integers of 16 bits.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    indptr: Tensor
    indices: Tensor
    groups: int = 1
    holds_nonzeros_only = True  # what a sparsifier asks before it is attached
    watch: Watch | None = None
    """Asked in every forward pass; what it returns is told the terms of the gradient over all
    positions in the backward pass (:mod:`sparsescape.kernels.ops`). No part of copies."""

    @property
    def dense_shape(self) -> torch.Size:
        """The shape of the weight if it were dense."""
        raise NotImplementedError

    @property
    def pattern(self) -> Pattern:
        """Where the values stand."""
        known = self.__dict__.get("_pattern")
        if known is None or known.indptr is not self.indptr or known.indices is not self.indices:
            known = Pattern(self.dense_shape, self.indptr, self.indices, self.groups)
            if not self.indptr.is_meta and int(self.indptr[-1]) != self.weight.numel():
                raise InputError(
                    "The values of a sparse layer have no positions after to_empty(): load a state."
                )
            self.__dict__["_pattern"] = known
        return known

    @property
    def density(self) -> float:
        """Held positions, of all."""
        return self.weight.numel() / max(self.dense_shape.numel(), 1)

    def dense_weight(self) -> Tensor:
        """The weight with its zeros, a new tensor (differentiable)."""
        flat = self.weight.new_zeros(self.dense_shape.numel())
        return flat.index_put((self.pattern.flat(),), self.weight).reshape(self.dense_shape)

    def positions(self) -> Tensor:
        """The flat index in the dense weight of each value, sorted (int64)."""
        return self.pattern.flat()

    def hold(self, pattern: Pattern, values: nn.Parameter) -> None:
        """Hold these values at the pattern's positions from now on."""
        self.weight = values
        self.indptr = pattern.indptr.to(values.device)
        self.indices = pattern.indices.to(values.device)

    def move(self, positions: Tensor) -> None:
        """The weight's values stand at other positions from now on, given as sorted flat indices.

        Raises:
            InputError: a position is outside the weight, they are not sorted, or are not as many as
                the values.
        """
        if positions.numel() != self.weight.numel():
            raise InputError(
                f"{self.weight.numel()} values cannot stand at {positions.numel()} positions."
            )
        self.hold(Pattern.of(positions, self.dense_shape, self.groups), self.weight)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_pattern", "watch")}

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name in _STRUCTURE:
            own = getattr(self, name)
            moved = fn(own)
            if moved is not own and not moved.is_meta:  # to_empty() leaves what was in the memory
                moved = torch.zeros_like(moved) if own.is_meta else moved.copy_(own)
            setattr(self, name, moved)
        self.__dict__.pop("_pattern", None)  # its arrays may be of memory that has moved
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in _STRUCTURE:
            destination[prefix + name] = getattr(self, name)

    def _load_from_state_dict(
        self,
        state: dict[str, Any],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        """Take up other positions, and another number of them, than are held now."""
        values = state.get(prefix + "weight", self.weight)
        indptr, indices = (state.get(prefix + n, getattr(self, n)) for n in _STRUCTURE)
        positions = Pattern(self.dense_shape, indptr, indices, self.groups)
        if not (values.is_meta or indices.is_meta or positions.stands(values)):
            errors.append(
                f"size mismatch for {prefix}weight: {tuple(values.shape)} values do not fit "
                f"{tuple(indices.shape)} positions in a weight {tuple(self.dense_shape)}."
            )
            return
        if values.ndim == 1 and values.shape != self.weight.shape:
            self.weight.grad = None  # which is of the values that were held
            resize(self.weight, self.weight.new_empty(values.shape))
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, unexpected, errors)
        for name in _STRUCTURE:
            given, own = state.get(prefix + name), getattr(self, name)
            if given is not None:
                device = given.device if own.is_meta else own.device
                setattr(self, name, given.detach().to(device, copy=True))
            elif strict:
                missing.append(prefix + name)
        known = {prefix + name for name in _STRUCTURE}
        unexpected[:] = [key for key in unexpected if key not in known]

    def _start(self, bias: bool, seed: int) -> None:
        """Values from N(0, 2/k), k the held inputs of their own output; biases 0."""
        if bias:
            self.bias = nn.Parameter(torch.zeros(self.dense_shape[0]))
        else:
            self.register_parameter("bias", None)
        with torch.no_grad():
            self.weight.normal_(generator=generator(seed, "sparse fan-in"))
            counts = self.indptr.diff().long()
            self.weight.mul_((2 / counts.clamp(min=1)).sqrt().repeat_interleave(counts))
