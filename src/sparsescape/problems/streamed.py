"""Data that does not fit into memory: read by other processes, ahead of the steps."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..data import Batch, Examples
from ..seeds import Draw, global_seed
from .images import Channels


@dataclass(frozen=True, eq=False)
class Streamed(Examples):
    """A torch ``Dataset`` of images as bytes, (channels, height, width), and their classes.

    Whatever its transforms draw from torch's generator is drawn from the seed and the step, so a
    run that resumes, with any number of workers, sees the same batches.

    Args:
        dataset: as it is trained on, with random transforms.
        evaluated: the same examples with the transforms of evaluation.
        mean, deviation: of each channel, of pixels from 0 to 1.
        mixup: p of Beta(p, p), where images and classes of a batch are mixed (Zhang et al. 2018,
            equation 1); 0 for not.
        classes: how many there are, for mixing them.
        device: where batches lie.
        workers: processes that read ahead; 0 for none.
    """

    dataset: Any
    evaluated: Any
    mean: Channels
    deviation: Channels
    mixup: float = 0.0
    classes: int = 0
    device: str | torch.device = "cpu"
    workers: int = 0
    size: int = 128

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        with global_seed(draw.seed, "transforms", draw.step):
            items = [self.dataset[number] for number in chosen.tolist()]
        images, classes = zip(*items, strict=True)
        return torch.stack(images), torch.tensor(classes)

    def finish(self, batch: Batch, draw: Draw) -> Batch:
        pixels, targets = (part.to(self.device, non_blocking=True) for part in batch)
        scale = torch.tensor(self.deviation, device=self.device).mul_(255).view(-1, 1, 1)
        shift = torch.tensor(self.mean, device=self.device).mul_(255).view(-1, 1, 1)
        inputs = (pixels.contiguous(memory_format=torch.channels_last) - shift) / scale
        if self.mixup:
            return mixed(inputs, targets, self.classes, self.mixup, draw)
        return inputs, targets

    @property
    def plain(self) -> Streamed:
        return replace(self, dataset=self.evaluated, mixup=0.0)

    def to(self, device: str | torch.device) -> Streamed:
        """On a GPU, whose processor has nothing else to do, a worker for every core."""
        gpu = torch.device(device).type == "cuda"
        return replace(self, device=device, workers=(os.cpu_count() or 1) if gpu else 0)


def mixed(inputs: Tensor, targets: Tensor, classes: int, p: float, draw: Draw) -> Batch:
    """λ·x + (1−λ)·x′ and λ·y + (1−λ)·y′, x′ the batch the other way round, λ ~ Beta(p, p).

    >>> inputs, targets = mixed(torch.eye(2), torch.tensor([0, 1]), 2, 0.2, Draw(0, 0))
    >>> torch.equal(inputs, targets), targets.sum(1).tolist()
    (True, [1.0, 1.0])
    """
    with global_seed(draw.seed, "mixup", draw.step):
        share = torch.distributions.Beta(p, p).sample().item()
    hot = torch.nn.functional.one_hot(targets, classes).to(inputs.dtype)
    return inputs.lerp(inputs.flip(0), 1 - share), hot.lerp(hot.flip(0), 1 - share)
