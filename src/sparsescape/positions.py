"""Which positions of one weight: a bool tensor or sorted flat indices, whichever is smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .compilation import works

SMALL = 4096
"""Among fewer bools than these it is not worth calling what is compiled."""
FEW = 1 / 40
"""Of this share and less the rest is passed over several at a time."""


@dataclass(frozen=True, eq=False)
class Positions:
    """A set of positions of a weight, in whichever of two forms takes less memory.

    ``a | b`` and ``a & b`` are union and intersection; of two lists of indices they make nothing
    of the weight's size.

    >>> some, others = (Positions.at(torch.tensor(flat), (10, 10)) for flat in ([3, 5], [5]))
    >>> (some | others).as_indices().tolist(), (some & others).count
    ([3, 5], 1)
    """

    shape: torch.Size
    held: Tensor  # bool of that shape, or sorted flat indices

    @staticmethod
    def of(active: Tensor) -> Positions:
        """From a bool tensor."""
        size = active.numel()
        if count_active(active) * _width(size).itemsize >= size:
            return Positions(active.shape, active.detach().clone())
        return Positions(active.shape, indices_of(active).to(_width(size)))

    @staticmethod
    def at(flat: Tensor, shape: Sequence[int]) -> Positions:
        """From sorted flat indices, none twice."""
        sparse = Positions.listed(flat, shape)
        smaller = sparse.held.nbytes < sparse.shape.numel()
        return sparse if smaller else Positions(sparse.shape, sparse.as_bool())

    @staticmethod
    def listed(flat: Tensor, shape: Sequence[int]) -> Positions:
        """From sorted flat indices, and kept as such, though a bool tensor might be smaller."""
        shape = torch.Size(shape)
        return Positions(shape, flat.to(_width(shape.numel())))

    @property
    def is_dense(self) -> bool:
        return self.held.dtype == torch.bool

    @property
    def count(self) -> int:
        return count_active(self.held) if self.is_dense else self.held.numel()

    def as_bool(self) -> Tensor:
        """A bool tensor of the weight's shape; a copy."""
        if self.is_dense:
            return self.held.clone()
        return marked(self.held, self.shape)

    def as_indices(self) -> Tensor:
        """Sorted flat indices (int64); a copy."""
        if self.is_dense:
            return indices_of(self.held)
        return self.held.to(torch.int64, copy=True)

    def __or__(self, other: Positions) -> Positions:
        if self.is_dense or other.is_dense:
            return Positions.of(self.as_bool() | other.as_bool())
        return Positions.at(torch.cat([self.held, other.held]).unique(), self.shape)

    def __and__(self, other: Positions) -> Positions:
        if self.is_dense or other.is_dense:
            return Positions.of(self.as_bool() & other.as_bool())
        return Positions.at(self.held[are_in(self.held, other.held)], self.shape)


def are_in(some: Tensor, others: Tensor) -> Tensor:
    """For each of some numbers whether it is among others, which are sorted.

    >>> are_in(torch.tensor([1, 4, 9]), torch.tensor([4, 8, 9])).tolist()
    [False, True, True]
    """
    return found_in(some, others)[1]


def found_in(some: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Where each of some numbers would stand among others, which are sorted, and whether it does.

    >>> places, there = found_in(torch.tensor([4, 5]), torch.tensor([2, 4]))
    >>> places.tolist(), there.tolist()
    ([1, 1], [True, False])
    """
    if not len(others):
        return torch.zeros_like(some), torch.zeros_like(some, dtype=torch.bool)
    places = searched(others, some).clamp_(max=len(others) - 1)
    return places, others[places] == some


def searched(numbers: Tensor, some: Tensor, *, right: bool = False) -> Tensor:
    """``torch.searchsorted(numbers, some, right=right)``.

    >>> searched(torch.tensor([2, 4]), torch.tensor([1, 4, 9])).tolist()
    [0, 1, 2]
    """
    if numbers.device.type == "cpu":  # where numpy's takes a third of the time
        side: Literal["left", "right"] = "right" if right else "left"
        return torch.from_numpy(np.searchsorted(numbers.numpy(), some.numpy(), side))
    return torch.searchsorted(numbers, some, right=right)


def distinct(size: int, count: int, source: torch.Generator) -> Tensor:
    """So many different numbers from 0 to below ``size``, sorted; each set of them as likely.

    Memory follows their number, unless that is more than half of all.

    >>> len(distinct(10**12, 1000, torch.Generator().manual_seed(0)))
    1000
    """
    if count > size // 2:
        return torch.randperm(size, generator=source)[:count].sort().values
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < count:
        more = torch.randint(size, (count - len(found) + 16,), generator=source)
        found = torch.cat([found, more]).unique()
    surplus = torch.randperm(len(found), generator=source)[count:]
    kept = torch.ones(len(found), dtype=torch.bool)
    kept[surplus] = False
    return found[kept]


def count_active(active: Tensor) -> int:
    """How many elements of a tensor are ``True``, or not 0.

    >>> count_active(torch.tensor([[True, False], [True, True]]))
    3
    """
    if active.device.type == "cpu":  # where numpy counts many times faster
        return int(np.count_nonzero(active.numpy()))
    return int(active.count_nonzero())


def indices_of(active: Tensor) -> Tensor:
    """The flat indices at which a tensor is not 0, or ``True``, in order.

    >>> indices_of(torch.tensor([[True, False], [True, True]])).tolist()
    [0, 2, 3]
    """
    if active.device.type != "cpu":
        return active.reshape(-1).nonzero().reshape(-1)
    if active.element_size() > 1 or active.numel() < SMALL or not works():
        return torch.from_numpy(_found_by_numpy(active.numpy().reshape(-1)))
    from .marks import list_few_marked, list_marked

    count = count_active(active)
    listed = np.empty(1 << count.bit_length(), dtype=np.int64)
    (list_few_marked if count < active.numel() * FEW else list_marked)(_marks(active), listed)
    return torch.from_numpy(listed[:count])


def _found_by_numpy(bits: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where they are not 0: many times faster than torch.

    Of a tenth or less numpy looks for the next one, which between a twentieth and a tenth takes
    three times as long as to look at all: there it is given more of them, at the end.
    """
    count = int(np.count_nonzero(bits))
    if not len(bits) < 20 * count <= 2 * len(bits):
        return np.flatnonzero(bits)
    more = np.ones(len(bits) // 9 + 1, dtype=bits.dtype)
    return np.flatnonzero(np.concatenate([bits, more]))[:count]


def marked(flat: Tensor, shape: torch.Size) -> Tensor:
    """A bool tensor that is ``True`` at those flat indices.

    >>> marked(torch.tensor([0, 3]), torch.Size((2, 2))).tolist()
    [[True, False], [False, True]]
    """
    active = torch.zeros(shape, dtype=torch.bool, device=flat.device)
    if flat.device.type == "cpu":  # where numpy marks them many times faster
        active.numpy().reshape(-1)[flat.numpy()] = True
    else:
        active.view(-1)[flat.long()] = True
    return active


def marked_of(some: Tensor, flat: Tensor, shape: torch.Size) -> Tensor:
    """A bool tensor that is ``True`` at those of the flat indices that ``some`` marks.

    >>> marked_of(torch.tensor([False, True]), torch.tensor([0, 3]), torch.Size((2, 2))).tolist()
    [[False, False], [False, True]]
    """
    if flat.device.type != "cpu" or not works():
        return marked(flat[some], shape)
    assert len(some) == len(flat)
    from .marks import mark_at

    active = torch.zeros(shape, dtype=torch.bool)
    mark_at(flat.numpy(), _marks(some), _marks(active))
    return active


def taken(values: Tensor, flat: Tensor) -> Tensor:
    """The values at those flat indices, in one dimension; in float32 if they are of half width.

    >>> taken(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 3])).tolist()
    [1.0, 4.0]
    """
    row = values.detach().reshape(-1)
    if row.device.type != "cpu":
        return row[flat]
    row = row.float() if row.dtype in (torch.bfloat16, torch.float16) else row
    return torch.from_numpy(row.numpy().take(flat.numpy()))


def _marks(active: Tensor) -> npt.NDArray[np.uint8]:
    """The bools as bytes in one dimension."""
    return active.contiguous().view(-1).numpy().view(np.uint8)


def _width(size: int) -> torch.dtype:
    """The narrowest integers that can be indices of so many."""
    return torch.int32 if size <= 2**31 - 1 else torch.int64
