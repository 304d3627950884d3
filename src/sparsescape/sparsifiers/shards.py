"""One protocol for a weight: whole on one device, sharded over many (FSDP2) or replicated (DDP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..points import PointLike, named_parameters


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def local(tensor: Any) -> Tensor:
    """The part of a tensor that lies on this rank; of a plain tensor, the tensor itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def writes(tensor: Any) -> tuple[int, int]:
    """Counts what is written into a tensor: into a sharded one as such, and into its part here."""
    return tensor._version, local(tensor)._version


def whole(tensor: Any) -> Tensor:
    """The tensor with the shards of all ranks put together. All ranks must call it."""
    tensor = tensor.detach()
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def share(tensor: Tensor, like: Any) -> Tensor:
    """This rank's part of a tensor that is whole on every rank, cut as ``like`` is."""
    tensor = tensor.to(like.device)
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None).to_local()


def put_together(part: Tensor, like: Any) -> Tensor:
    """The inverse of :func:`share`: the whole of which this rank has a part, cut as ``like``."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor

    mesh, placements = like.device_mesh, like.placements
    sharded = DTensor.from_local(part, mesh, placements, shape=like.shape, stride=like.stride())
    return sharded.full_tensor()


def total(part: Tensor, like: Any) -> Tensor:
    """The sum over the ranks of numbers that each has found for its part of ``like``. All ranks
    must call it."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor, Partial, Replicate

    mesh = like.device_mesh
    each = [Replicate() if placed.is_replicate() else Partial() for placed in like.placements]
    return DTensor.from_local(part, mesh, each).full_tensor()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without what ``torch.compile`` and DistributedDataParallel put around it."""
    inner: Any = model
    while isinstance(inner, DistributedDataParallel) or hasattr(inner, "_orig_mod"):
        inner = inner.module if isinstance(inner, DistributedDataParallel) else inner._orig_mod
    return inner


@torch.no_grad()
def gathered(model: nn.Module) -> PointLike:
    """The model; of a sharded one, its parameters put together."""
    parameters = named_parameters(model)
    if not any(map(is_sharded, parameters.values())):
        return model
    return {name: whole(p) for name, p in parameters.items()}


@dataclass(frozen=True)
class Replicas:
    """The ranks over which DistributedDataParallel averages gradients."""

    group: Any

    def mean_(self, tensor: Tensor) -> None:
        """Replace the tensor by its mean over the ranks. All ranks must call it."""
        torch.distributed.all_reduce(tensor, group=self.group)
        tensor /= torch.distributed.get_world_size(self.group)


def replicas() -> Replicas | None:
    """Those of the DistributedDataParallel whose forward pass is under way, if one is.

    So it does not matter whether a sparsifier was given the wrapped model or what is in it.
    """
    model = DistributedDataParallel._get_active_ddp_module()
    return None if model is None else Replicas(model.process_group)


def replicas_in(model: nn.Module) -> Replicas | None:
    """Those of the DistributedDataParallel that a model is, or is wrapped in by others."""
    wrapped = (m for m in model.modules() if isinstance(m, DistributedDataParallel))
    found = next(wrapped, None)
    return None if found is None else Replicas(found.process_group)


def copied(tree: Any) -> Any:
    """The tree with its tensors copied: what runs must not change what was saved."""
    if isinstance(tree, Mapping):
        return {key: copied(value) for key, value in tree.items()}
    return tree.detach().clone() if isinstance(tree, Tensor) else tree
