"""Closing elements of a tensor: a mask as bits, and one pass that ands them in.

A mask is held as integers with all bits where active and none where closed. To close is then a
bitwise and: as fast as a multiplication by floats (a tenth of what ``masked_fill_`` takes on a
CPU), and exact whatever is there, NaN and infinity included.

On a CPU the integers are bytes, which a compiled pass widens as it goes
(:mod:`sparsescape.sparsifiers.widening`). They are as wide as the numbers where torch's own pass is
the one to take: on other devices, where numba is missing, and for a large tensor where torch has
several threads, of which it uses all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from ..compilation import works
from ..errors import InputError

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
LARGE = 1 << 20
"""So many numbers are worth several threads."""

AtAddresses = Callable[[int, int, int], object]
"""A pass over numbers and a mask, called with where they are and how many."""

_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@lru_cache(maxsize=1)
def compiled_passes() -> dict[torch.dtype, AtAddresses]:
    """The pass that closes each type of number; none where numba is missing or idle."""
    if not works():
        return {}
    from .widening import and_into

    return {t: and_into[t.itemsize] for t in _NUMBERS}


@lru_cache(maxsize=1)
def compiled_looks() -> dict[torch.dtype, AtAddresses]:
    """The pass that looks whether they are closed; likewise."""
    if not works():
        return {}
    from .widening import is_within

    return {t: is_within[t.itemsize] for t in _NUMBERS}


def all_or_none(active: Tensor, *, like: Tensor) -> Tensor:
    """The mask as integers, in the memory layout of another tensor.

    >>> all_or_none(torch.tensor([True, False]), like=torch.zeros(2)).tolist()
    [-1, 0]
    """
    by_threads = like.numel() >= LARGE and torch.get_num_threads() > 1
    narrow = like.is_cpu and not by_threads and like.dtype in compiled_passes()
    dtype = torch.int8 if narrow or like.is_complex() else _INTEGERS[like.element_size()]
    return torch.empty_like(like, dtype=dtype).copy_(active).neg_()


def close(tensor: Tensor, bits: Tensor) -> None:
    """Set a tensor to 0 where the mask has no bits, in place.

    Raises:
        InputError: the mask is of another shape.

    >>> tensor = torch.tensor([1.5, float("nan")])
    >>> close(tensor, torch.tensor([-1, 0], dtype=torch.int32))
    >>> tensor.tolist()
    [1.5, 0.0]
    """
    closing(bits, tensor.dtype)(tensor)


def closing(bits: Tensor, dtype: torch.dtype) -> Callable[[Tensor], None]:
    """:func:`close` with one mask, mostly of tensors of one type of numbers.

    Run for each weight and step, on the caches that a backward pass has emptied, where every call
    counts: what is to be known of the mask is looked up here, once.
    """
    and_into = compiled_passes().get(dtype) if bits.dtype is torch.int8 and bits.is_cpu else None
    if and_into is None:
        return lambda tensor: _close_by_torch(tensor, bits)
    shape, strides, mask, count = bits.shape, bits.stride(), bits.data_ptr(), bits.numel()

    def close_alike(tensor: Tensor) -> None:
        alike = _is_plain(tensor) and tensor.dtype is dtype and tensor.is_cpu
        alike = alike and tensor.shape == shape and tensor.stride() == strides
        if alike and (address := tensor.data_ptr()):
            and_into(address, mask, count)
            if not tensor.is_inference():
                increment_version(tensor)  # as torch does: autograd may hold the tensor
        else:
            _close_by_torch(tensor, bits)

    return close_alike


def _close_by_torch(tensor: Tensor, bits: Tensor) -> None:
    if tensor.shape != bits.shape:
        raise InputError(
            f"A mask of shape {tuple(bits.shape)} cannot close a tensor of shape "
            f"{tuple(tensor.shape)}: a parameter has got other data since it was masked."
        )
    if tensor.element_size() == bits.element_size() and not tensor.is_complex():
        tensor.view(bits.dtype).bitwise_and_(bits)
    else:
        tensor.masked_fill_(bits == 0, 0)


def is_closed(tensor: Tensor, bits: Tensor) -> bool:
    """Whether :func:`close` would change no bit of it (−0 it would make 0).

    >>> is_closed(torch.tensor([1.5, 0.0]), torch.tensor([-1, 0], dtype=torch.int32))
    True
    >>> is_closed(torch.tensor([1.5, -0.0]), torch.tensor([-1, 0], dtype=torch.int32))
    False
    """
    at_addresses = bits.dtype is torch.int8 and _are_at_addresses(tensor, bits)
    is_within = compiled_looks().get(tensor.dtype) if at_addresses else None
    if is_within is not None and (address := tensor.data_ptr()):
        return bool(is_within(address, bits.data_ptr(), bits.numel()))
    return not bool((as_integers(tensor)[bits == 0] != 0).any())


def _are_at_addresses(tensor: Tensor, bits: Tensor) -> bool:
    """Whether the addresses of both say where their numbers are, in one order."""
    alike = tensor.is_cpu and bits.is_cpu and tensor.stride() == bits.stride()
    return _is_plain(tensor) and alike


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is no subclass of tensors, which may keep its numbers anywhere."""
    return type(tensor) is Tensor or type(tensor) is Parameter


def hold(tensor: Tensor, bits: Tensor, fresh: float) -> None:
    """Set a tensor to a value where the mask has no bits, in place."""
    if fresh:
        tensor.masked_fill_(bits == 0, fresh)
    else:
        close(tensor, bits)


def as_integers(tensor: Tensor) -> Tensor:
    """The tensor's own memory, read as integers as wide as its numbers, a complex one being two."""
    numbers = tensor.detach()
    numbers = torch.view_as_real(numbers) if numbers.is_complex() else numbers
    return numbers.view(_INTEGERS[numbers.element_size()])


def in_order(integers: Tensor) -> Any:
    """A dense tensor as a flat numpy array, in the order of its memory, which they share."""
    return integers.as_strided((integers.numel(),), (1,)).numpy()
