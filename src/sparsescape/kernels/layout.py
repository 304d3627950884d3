"""The memory order that sparse layers like, carried by ordinary tensors.

A (batch, features) tensor whose memory runs over features first and the batch innermost is nothing
special to torch: a transposed view. Elementwise operations, dropout, additions, ``flatten`` and
their gradients keep the order of their input, so consecutive sparse layers hand it on with no
wrapper and no copy; a dense layer takes it as well. Two kinds of layer do not keep it, pooling and
BatchNorm: :func:`carry_layout` gives those a forward that looks at the same memory from the side.
And a dense convolution before a sparse one (a network's first) hands its output on in that order:
what a shortcut carries around the sparse layers is then in theirs.
"""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function


def batch_innermost(x: Tensor) -> Tensor:
    """The same tensor with its batch (the first dimension) innermost in memory.

    >>> import torch
    >>> batch_innermost(torch.zeros(5, 3, 2)).stride()
    (1, 10, 5)
    """
    if _lies_batch_innermost(x):
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
    return not x.is_contiguous() and _lies_batch_innermost(x)


def by_itself(x: Tensor) -> Tensor:
    """The same numbers in the same memory, as a tensor that is no view of another.

    What a ``Function`` gives out as a view of what it made, autograd lets nobody write into, as an
    activation in place does. It asks for no gradient: to be called in the function's forward.
    """
    whole = x.untyped_storage()
    return x.new_empty(0).set_(whole, x.storage_offset(), x.shape, x.stride())


def _lies_batch_innermost(x: Tensor) -> bool:
    # As in the end; a view costs as much as all that a small layer computes.
    if x.ndim == 2 and x.stride() == (1, len(x)):
        return True
    if x.ndim == 4:
        batch, _, height, width = x.shape
        if x.stride() == (1, height * width * batch, width * batch, batch):
            return True
    return x.permute(*range(1, x.ndim), 0).is_contiguous()


class _Pooling(nn.Module):
    """Pools over height and width; to it, channels and batch are alike.

    With the two exchanged, a batch-innermost tensor is one in torch's ``channels_last``.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or not has_batch_innermost(x):
            return super().forward(x)
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class BatchNorm1d(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that keeps the batch innermost: one sample whose length is the batch."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or not has_batch_innermost(x):
            return super().forward(x)
        return super().forward(x.t()[None]).squeeze(0).t()  # the gradient of [0] is a copy


class BatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that keeps the batch innermost: one sample whose width is the batch."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or not has_batch_innermost(x):
            return super().forward(x)
        out = super().forward(x.movedim(0, 3).flatten(1, 2)[None]).squeeze(0)
        return out.unflatten(1, x.shape[2:]).movedim(3, 0)


class MaxPool2d(_Pooling, nn.MaxPool2d):
    """``nn.MaxPool2d`` that keeps the batch innermost."""


class AvgPool2d(_Pooling, nn.AvgPool2d):
    """``nn.AvgPool2d`` that keeps the batch innermost."""


class AdaptiveMaxPool2d(_Pooling, nn.AdaptiveMaxPool2d):
    """``nn.AdaptiveMaxPool2d`` that keeps the batch innermost."""


class AdaptiveAvgPool2d(_Pooling, nn.AdaptiveAvgPool2d):
    """``nn.AdaptiveAvgPool2d`` that keeps the batch innermost."""


class _HandedOn(Function):
    """A tensor with its batch innermost, its gradient in the usual order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return by_itself(batch_innermost(x))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return in_usual_order(g)


class Conv2d(nn.Conv2d):
    """A dense ``nn.Conv2d`` before a sparse one, which gives out what that likes."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(in_usual_order(x))
        as_it_is = out.ndim != 4 or _lies_batch_innermost(out)
        handed_on: Tensor = out if as_it_is else _HandedOn.apply(out)
        return handed_on


CARRIERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.MaxPool2d: MaxPool2d,
    nn.AvgPool2d: AvgPool2d,
    nn.AdaptiveMaxPool2d: AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d: AdaptiveAvgPool2d,
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
}


def carry_layout(model: nn.Module) -> None:
    """Let the model's layers hand on what its sparse ones like, in place.

    Pooling and BatchNorm layers keep the batch innermost, and so does a dense convolution that
    comes before a sparse one among the model's modules. They stay the objects that they are (hooks,
    parameters, buffers); their class becomes a subclass of it. Subclasses of one's own are left
    alone.
    """
    for module in model.modules():
        module.__class__ = CARRIERS.get(type(module), type(module))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) or _is_sparse(m)]
    for module, after in itertools.pairwise(convolutions):
        if type(module) is nn.Conv2d and _is_sparse(after) and hasattr(after, "kernel_size"):
            module.__class__ = Conv2d


def drop_layout(model: nn.Module) -> None:
    """Undo :func:`carry_layout`."""
    for module in model.modules():
        module.__class__ = plain_class(module)


def plain_class(module: nn.Module) -> type[nn.Module]:
    """A module's class, as it is without :func:`carry_layout`."""
    return _PLAIN.get(type(module), type(module))


_PLAIN: dict[Any, type[nn.Module]] = {carrier: kind for kind, carrier in CARRIERS.items()}
_PLAIN[Conv2d] = nn.Conv2d


def _is_sparse(module: nn.Module) -> bool:
    return getattr(module, "holds_nonzeros_only", False)
