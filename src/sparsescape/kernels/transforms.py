"""Where torch has to see every operation: what it records or transforms are its own alone.

``torch.jit.trace`` writes operations down as they are done; the transforms of ``torch.func`` do
others in their place, and forward-mode differentiation others beside them. Loops that numba
compiled are none of them: there a layer is computed by its dense weight, the zeros included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, compiler
from torch.autograd import forward_ad

from ..errors import InputError


def by_torch_alone() -> bool:
    """Whether what is computed now is recorded or transformed by torch.

    Raises:
        InputError: it is exported, which takes no positions that only their values tell.

    >>> by_torch_alone(), float(torch.func.grad(lambda x: x * by_torch_alone())(torch.ones(())))
    (False, 1.0)
    """
    if compiler.is_compiling() and not compiler.is_dynamo_compiling():
        raise InputError(
            "torch.export takes no truly sparse layers: give it ss.to_dense(copy.deepcopy(model)), "
            "or write the model with ss.export.onnx."
        )
    # As torch itself asks; there are no public names for it.
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return transformed or torch.jit.is_tracing()


def one_by_one(*gradients: Tensor) -> None:
    """To be called where a backward pass begins, on what it is given. Torch may hand it many
    gradients as one, for its own operations to take; other loops see no numbers in such a tensor.

    Raises:
        InputError: that is so.
    """
    for gradient in gradients:
        if _older(gradient) or _newer(gradient):
            raise InputError(
                "Truly sparse layers take no batch of gradients (is_grads_batched=True, "
                "vectorize=True): use torch.func.jacrev, on the function itself."
            )


# As torch itself asks, of its two ways to batch; there are no public names for it.
_older: Any = torch._C._functorch.is_legacy_batchedtensor
_newer: Any = torch._C._functorch.is_batchedtensor
