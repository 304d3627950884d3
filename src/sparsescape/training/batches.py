"""Mini-batches that depend on the step alone, so that a run can go on from any step."""

from __future__ import annotations

import torch
from torch import Tensor

from ..objective import Batch
from ..seeds import generator


class Batches:
    """Batch number ``step`` of a pass-by-pass shuffled data set; the rest of a pass is left out.

    >>> batches = Batches((torch.arange(4), torch.arange(4)), batch_size=2, seed=0)
    >>> sorted(torch.cat([batches(0)[0], batches(1)[0]]).tolist())
    [0, 1, 2, 3]
    """

    def __init__(self, data: Batch, *, batch_size: int, seed: int):
        self.inputs, self.targets = data
        self.batch_size = min(batch_size, len(self.inputs))
        self.per_epoch = len(self.inputs) // self.batch_size
        self.seed = seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            shuffle = generator(self.seed, "batches", epoch)
            order = torch.randperm(len(self.inputs), generator=shuffle)
            self._epoch, self._order = epoch, order.to(self.inputs.device)
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        # By indexing, which keeps the strides of the inputs, and with them a layout that is fast.
        return self.inputs[chosen], self.targets[chosen]
