"""Layers that keep the batch innermost, in the place of torch's that would not.

Elementwise layers keep the memory order of their input. Three kinds of layer do not, pooling,
BatchNorm and a dense Linear: :func:`carry_layout` gives those a forward that looks at the same
memory from the side. And a dense convolution before a sparse one (a network's first) hands its
output on in that order: what a shortcut carries around the sparse layers is then in theirs.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, compiler, nn
from torch.autograd import Function

from .layout import batch_innermost, by_itself, has_batch_innermost, in_usual_order, lies_innermost
from .normalization import normalized, normalizes
from .transforms import by_torch_alone


class _Pooling(nn.Module):
    """Pools over height and width; to it, channels and batch are alike.

    With the two exchanged, a batch-innermost tensor is one in torch's ``channels_last``.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4 or not has_batch_innermost(input):
            return super().forward(input)
        found = super().forward(input.transpose(0, 1))
        if isinstance(found, tuple):  # with return_indices, which count within a plane
            return tuple(each.transpose(0, 1) for each in found)  # type: ignore[return-value]
        return found.transpose(0, 1)


class Linear(nn.Linear):
    """``nn.Linear`` that keeps the batch innermost.

    It multiplies from the left, weight · inputᵀ: from the right, by a narrow weight (a network's
    last), the matrix product takes several times as long on an input in that order.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 2 or not has_batch_innermost(input):
            return super().forward(input)
        if self.bias is None:
            out = torch.mm(self.weight, input.t()).t()
        else:
            out = torch.addmm(self.bias[:, None], self.weight, input.t()).t()
        # A view that was made without gradients, autograd lets nobody write into later.
        return out if torch.is_grad_enabled() else out.clone()


class BatchNorm1d(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` that keeps the batch innermost: one sample whose length is the batch."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 2 or not has_batch_innermost(input):
            return super().forward(input)
        return super().forward(input.t()[None]).squeeze(0).t()  # the gradient of [0] is a copy


class BatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that keeps the batch innermost, by loops of its own where they are faster.

    Elsewhere it is one sample whose width is the batch.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4 or not has_batch_innermost(input):
            return super().forward(input)
        by_the_batch = self.training or (self.running_mean is None and self.running_var is None)
        if by_the_batch and normalizes(input, self.weight, self.bias, self.running_mean):
            out, mean, variance = normalized(input, self.weight, self.bias, self.eps)
            self._keep(mean, variance, input.numel() // input.shape[1])
            return out
        out = super().forward(input.movedim(0, 3).flatten(1, 2)[None]).squeeze(0)
        return out.unflatten(1, input.shape[2:]).movedim(3, 0)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as torch does."""
        tracks = self.training and self.track_running_stats
        if not tracks or self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        self.running_mean.lerp_(mean, share or 0.0)
        self.running_var.lerp_(variance * (count / (count - 1)), share or 0.0)


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

    def forward(self, input: Tensor) -> Tensor:
        out = super().forward(in_usual_order(input))
        # A compiled model ends its graph before a sparse layer, which then does that itself.
        seen_by_torch = compiler.is_dynamo_compiling() or by_torch_alone()
        as_it_is = out.ndim != 4 or seen_by_torch or lies_innermost(out)
        handed_on: Tensor = out if as_it_is else _HandedOn.apply(out)
        return handed_on


CARRIERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: Linear,
    nn.MaxPool2d: MaxPool2d,
    nn.AvgPool2d: AvgPool2d,
    nn.AdaptiveMaxPool2d: AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d: AdaptiveAvgPool2d,
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
}


def carry_layout(model: nn.Module) -> None:
    """Let the model's layers hand on what its sparse ones like, in place.

    Pooling, BatchNorm and dense Linear layers keep the batch innermost, and so does a dense
    convolution that comes before a sparse one among the model's modules. They stay the objects that
    they are (hooks, parameters, buffers); their class becomes a subclass of it. Subclasses of one's
    own are left alone.
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
