"""Mini-batches that depend on the step alone, so that a run can go on from any step."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..data import Batch, Examples, as_examples, reader
from ..seeds import Draw, generator


class Batches:
    """Batch number ``step`` of a pass-by-pass shuffled data set; the rest of a pass is left out.

    Augmentation is drawn anew at every step, from the seed and the step.

    Args:
        data: a pair of tensors, or :class:`~sparsescape.data.Examples`.

    >>> batches = Batches((torch.arange(4), torch.arange(4)), batch_size=2, seed=0)
    >>> sorted(torch.cat([batches(0)[0], batches(1)[0]]).tolist())
    [0, 1, 2, 3]
    """

    def __init__(self, data: Batch | Examples, *, batch_size: int, seed: int):
        self._data, self._seed = as_examples(data), seed
        order = _Order(len(self._data), batch_size, seed)
        self.batch_size, self.per_epoch = order.batch_size, order.per_epoch
        self._order = order
        workers = self._data.workers
        self._ahead = reader(partial(_read, self._data, order), workers) if workers else None

    def __call__(self, step: int) -> Batch:
        draw = Draw(self._seed, step)
        if self._ahead is None:  # a step of a small network is not much more than this
            return self._data.draw(self._order(step), draw)
        return self._data.finish(self._ahead(step), draw)


class _Order:
    """From a step to the numbers of its examples."""

    def __init__(self, count: int, batch_size: int, seed: int):
        self.count, self.seed = count, seed
        self.batch_size = min(batch_size, count)
        self.per_epoch = count // self.batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> Tensor:
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            shuffle = generator(self.seed, "batches", epoch)
            self._epoch, self._order = epoch, torch.randperm(self.count, generator=shuffle)
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]


def _read(data: Examples, order: _Order, step: int) -> Batch:
    return data.read(order(step), Draw(order.seed, step))
