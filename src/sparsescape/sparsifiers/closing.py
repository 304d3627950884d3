"""Setting to exactly 0 what a mask closes, at the speed of a multiplication.

A mask is held as integers of the weight's width, all bits set where it is active. A bitwise *and*
then leaves active values as they are and makes the others 0, whatever they were: infinite, not a
number, or −0. ``masked_fill_`` does the same on a CPU in ten times the time, and a multiplication
leaves what is not finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits_of(active: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask for tensors of a dtype.

    >>> bits_of(torch.tensor([True, False]), torch.float32)
    tensor([-1,  0], dtype=torch.int32)
    """
    return -active.to(_INTEGERS[dtype.itemsize])


def close_(tensor: Tensor, bits: Tensor) -> None:
    """Set the tensor to 0 where the bits are 0, in place; without gradient tracking.

    >>> values = torch.tensor([3.0, float("nan")])
    >>> close_(values, bits_of(torch.tensor([True, False]), values.dtype))
    >>> values.tolist()
    [3.0, 0.0]
    """
    if tensor.element_size() != bits.element_size():
        bits = bits.to(_INTEGERS[tensor.element_size()])
    tensor.view(bits.dtype).bitwise_and_(bits)
