"""Random positions of a weight, without the weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..masks import keep_count
from ..seeds import generator


def random_positions(shape: Sequence[int], sparsity: float, *, seed: int) -> Tensor:
    """Sorted flat indices, exactly as many as the sparsity leaves, each set equally likely.

    Memory follows their number, unless that is more than half of all.

    >>> len(random_positions((10**6, 10**6), 1 - 1e-9, seed=0))
    1000
    """
    size = math.prod(shape)
    count = keep_count(size, sparsity)
    source = generator(seed, "positions")
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
