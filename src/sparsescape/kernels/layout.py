"""The memory order that sparse layers like, carried by ordinary tensors.

A (batch, features) tensor whose memory runs over features first and the batch innermost is nothing
special to torch: a transposed view. Elementwise operations, dropout, additions, ``flatten`` and
their gradients keep the order of their input, so consecutive sparse layers hand it on with no
wrapper and no copy; a dense layer takes it as well. The layers that would not keep it are those of
:mod:`sparsescape.kernels.carriers`.
"""

from __future__ import annotations

from torch import Tensor


def batch_innermost(x: Tensor) -> Tensor:
    """The same tensor with its batch (the first dimension) innermost in memory.

    >>> import torch
    >>> batch_innermost(torch.zeros(5, 3, 2)).stride()
    (1, 10, 5)
    """
    if lies_innermost(x):
        return x
    if x.ndim == 2:
        return x.t().contiguous().t()
    if x.is_contiguous():
        # Torch transposes a matrix several times as fast as it permutes the same numbers.
        return x.flatten(1).t().contiguous().reshape(*x.shape[1:], len(x)).movedim(-1, 0)
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


def in_usual_order(x: Tensor) -> Tensor:
    """The same tensor in torch's usual memory order, if its batch is innermost; else as it is.

    >>> import torch
    >>> in_usual_order(batch_innermost(torch.zeros(5, 3, 2))).stride()
    (6, 2, 1)
    """
    if not has_batch_innermost(x):
        return x
    return x.movedim(0, -1).reshape(-1, len(x)).t().contiguous().reshape(x.shape)


def has_batch_innermost(x: Tensor) -> bool:
    """Whether it is so already, and is not in torch's usual order too."""
    return not x.is_contiguous() and lies_innermost(x)


def by_itself(x: Tensor) -> Tensor:
    """The same numbers in the same memory, as a tensor that is no view of another.

    What a ``Function`` gives out as a view of what it made, autograd lets nobody write into, as an
    activation in place does. It asks for no gradient: to be called in the function's forward.
    """
    whole = x.untyped_storage()
    return x.new_empty(0).set_(whole, x.storage_offset(), x.shape, x.stride())


def lies_innermost(x: Tensor) -> bool:
    """Whether it is so already.

    >>> import torch
    >>> lies_innermost(torch.zeros(5, 3)), lies_innermost(torch.zeros(3, 5).t())
    (False, True)
    """
    # As in the end; a view costs as much as all that a small layer computes.
    if x.ndim == 2 and x.stride() == (1, len(x)):
        return True
    if x.ndim == 4:
        batch, _, height, width = x.shape
        if x.stride() == (1, height * width * batch, width * batch, batch):
            return True
    return x.permute(*range(1, x.ndim), 0).is_contiguous()
