"""Running a network so that its loss has second derivatives, and the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """What runs inside the block has second derivatives, where a faster way through it has none.

    Of attention only one implementation has them. The fused weight normalization takes the norm as
    a constant in its second derivative, so that Hessians would be wrong and not even symmetric.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(1, 1, bias=False))
    >>> direction = torch.nn.init.constant_(layer.parametrizations.weight.original1, 2.0)
    >>> with twice_differentiable():
    ...     weight = layer.weight.sum()  # g·v/|v|, of which all derivatives in v are 0
    >>> (slope,) = torch.autograd.grad(weight, direction, create_graph=True)
    >>> float(torch.autograd.grad(slope.sum(), direction)[0].abs()) < 1e-6
    True
    """
    with sdpa_kernel(SDPBackend.MATH), _UnfusedWeightNorm():
        yield


class _UnfusedWeightNorm(TorchFunctionMode):
    """Takes the place of ``torch._weight_norm``, by which torch normalizes weights."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch._weight_norm:
            return _weight_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))
