"""Random positions of a weight, without the weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..positions import distinct
from ..seeds import generator
from ..selection import keep_count
from .pattern import check_shape


def random_positions(shape: Sequence[int], sparsity: float, *, seed: int) -> Tensor:
    """Sorted flat indices, exactly as many as the sparsity leaves, each set equally likely.

    Memory follows their number, unless that is more than half of all.

    Raises:
        InputError: the sparsity is no number from 0 to 1, or the shape is none.

    >>> len(random_positions((10**6, 10**6), 1 - 1e-9, seed=0))
    1000
    """
    check_shape(shape)
    size = math.prod(shape)
    return distinct(size, keep_count(size, sparsity), generator(seed, "positions"))
