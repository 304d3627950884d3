"""Which positions of a weight are held: the structure that its values stand in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import InputError, is_whole

Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, eq=False)
class Pattern:
    """The held positions of one weight as CSR: rows are output units, in indices as narrow as fit.

    Row r's positions are ``indices[indptr[r] : indptr[r + 1]]``, sorted, each the flat index in
    ``weight[r]``: the input channel within the group times the taps of the kernel, plus the tap.

    Args:
        shape: of the dense weight: (outputs, inputs), or (outputs, inputs / groups, height, width).
        groups: of a convolution.
    """

    shape: torch.Size
    indptr: Tensor
    indices: Tensor
    groups: int = 1

    @classmethod
    def of(cls, flat: Tensor, shape: Sequence[int], groups: int = 1) -> Pattern:
        """From the sorted flat indices of the held positions; nothing dense is made.

        >>> Pattern.of(torch.tensor([1, 5]), (2, 3)).indices
        tensor([1, 2], dtype=torch.int16)

        Raises:
            InputError: an index is outside the weight, stands twice or out of order; they are no
                tensor of whole numbers.
        """
        if not isinstance(flat, Tensor) or flat.dtype not in _WHOLE:
            what = flat.dtype if isinstance(flat, Tensor) else type(flat).__name__
            raise InputError(
                "The positions of a sparse weight are a tensor of whole numbers, its flat indices, "
                f"not {what}."
            )
        size, columns = math.prod(shape), math.prod(shape[1:])
        flat = flat.reshape(-1).to("cpu", torch.int64)
        if len(flat) and (int(flat[0]) < 0 or int(flat[-1]) >= size):
            raise InputError(f"A position is outside the {size} of a weight {tuple(shape)}.")
        if not bool((flat[1:] > flat[:-1]).all()):
            raise InputError("The positions of a sparse weight must be sorted, none twice.")
        starts = torch.arange(shape[0] + 1) * columns
        indptr = torch.searchsorted(flat, starts)
        return cls(
            torch.Size(shape),
            narrow(indptr, len(flat)),
            narrow(flat % max(columns, 1), columns - 1),
            groups,
        )

    @property
    def count(self) -> int:
        """How many positions are held."""
        return self.indices.numel()

    def stands(self, values: Tensor) -> bool:
        """Whether these values stand at these positions, all of which are inside the weight.

        To be asked of what was read from elsewhere: the loops do not look where they read.

        >>> Pattern.of(torch.tensor([1, 5]), (2, 3)).stands(torch.zeros(3))
        False
        """
        counts, columns = self.indptr.long().diff(), math.prod(self.shape[1:])
        if values.shape != self.indices.shape or self.indptr.shape != (self.shape[0] + 1,):
            return False
        rows_are_whole = int(self.indptr[0]) == 0 and int(self.indptr[-1]) == self.count
        inside = bool(((self.indices >= 0) & (self.indices.long() < columns)).all())
        return rows_are_whole and inside and bool((counts >= 0).all())

    @property
    def taps(self) -> int:
        """Positions of the kernel: 1 for a Linear."""
        return math.prod(self.shape[2:])

    @property
    def channels(self) -> int:
        """Input channels, of all groups."""
        return self.shape[1] * self.groups

    @cached_property
    def arrays(self) -> Arrays:
        """``indptr`` and ``indices`` as numpy sees them, on the CPU."""
        return self.indptr.numpy(), self.indices.numpy()

    def rows(self) -> Tensor:
        """The output unit of each position (int64)."""
        counts = self.indptr.diff().long()
        return torch.arange(self.shape[0], device=counts.device).repeat_interleave(counts)

    def flat(self) -> Tensor:
        """The flat index in the dense weight of each position (int64)."""
        return self.rows() * math.prod(self.shape[1:]) + self.indices

    def input_channels(self) -> Tensor:
        """The input channel, counted over all groups, of each position (int64)."""
        within = self.indices.long().div(self.taps, rounding_mode="floor")
        if self.groups == 1:
            return within
        group = self.rows().div(self.shape[0] // self.groups, rounding_mode="floor")
        return group * self.shape[1] + within

    @cached_property
    def transposed(self) -> Transposed:
        """The same positions in the order of the gradient to the input; made when first used."""
        from scipy.sparse import csr_matrix

        order = np.arange(self.count, dtype=np.int32 if self.count < 2**31 else np.int64)
        inputs = self.input_channels().to(torch.int32).cpu().numpy()
        size = (self.shape[0], self.channels)
        by_input = csr_matrix((order, inputs, self.indptr.cpu().numpy()), shape=size).tocsc()
        rows, positions = torch.from_numpy(by_input.indices), torch.from_numpy(by_input.data)
        if self.taps > 1:
            rows = rows.long() * self.taps + self.indices.cpu()[positions.long()] % self.taps
        device = self.indices.device
        indices = narrow(rows, self.shape[0] * self.taps - 1).to(device)
        return Transposed(
            torch.from_numpy(by_input.indptr).to(device), indices, positions.to(device)
        )


@dataclass(frozen=True, eq=False)
class Transposed:
    """CSR whose rows are input channels and whose indices are output · taps + tap.

    ``order`` is the permutation from a :class:`Pattern`'s values: ``values[order]`` are its own.
    """

    indptr: Tensor
    indices: Tensor
    order: Tensor

    @cached_property
    def arrays(self) -> Arrays:
        """``indptr``, ``indices`` and ``order`` as numpy sees them, on the CPU."""
        return self.indptr.numpy(), self.indices.numpy(), self.order.numpy()


def narrow(indices: Tensor, largest: int) -> Tensor:
    """The indices as the narrowest signed integers that hold ``largest``.

    >>> narrow(torch.tensor([3, 4]), 999).dtype
    torch.int16
    """
    for dtype in (torch.int16, torch.int32):
        if largest <= torch.iinfo(dtype).max:
            return indices.to(dtype)
    return indices.to(torch.int64)


def check_shape(shape: Sequence[int]) -> None:
    """Refuse what is no shape of a weight.

    Raises:
        InputError: a size is no whole number, or is negative.
    """
    if not all(is_whole(size, 0) for size in shape):
        sizes = ", ".join(map(str, shape))
        raise InputError(f"The sizes of a weight are whole numbers from 0 on, not ({sizes}).")
