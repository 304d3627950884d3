"""Images in memory, on the device that trains: augmented there, a whole batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import Batch, Examples
from ..seeds import Draw

Channels = tuple[float, ...]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Images(Examples):
    """Images as bytes, standardized and augmented as they are drawn.

    Args:
        pixels: bytes, (n, height, width, channels): a batch of them has its channels last in
            memory, which is the layout that convolutions are fast in.
        targets: classes, (n,).
        mean, deviation: of each channel, of pixels from 0 to 1.
        padding: pixels of the mean added on every side before a crop of the original size is
            drawn, and a horizontal flip with probability ½; none of both where it is 0
            (He et al. 2016, section 4.2).

    >>> pixels = torch.full((3, 4, 4, 1), 255, dtype=torch.uint8)
    >>> images = Images(pixels, torch.arange(3), mean=(0.5,), deviation=(0.25,))
    >>> inputs, targets = images.draw(torch.tensor([2, 0]), Draw(0, 0))
    >>> inputs.shape, inputs.unique().tolist(), targets.tolist()
    (torch.Size([2, 1, 4, 4]), [2.0], [2, 0])
    """

    pixels: Tensor
    targets: Tensor
    mean: Channels
    deviation: Channels
    padding: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        chosen = chosen.to(self.pixels.device)
        return self.pixels[chosen], self.targets[chosen]

    def finish(self, batch: Batch, draw: Draw) -> Batch:
        pixels, targets = batch
        if self.padding:
            pixels = crop_and_flip(pixels, self.padding, self.mean, draw)
        return standardized(pixels, self.mean, self.deviation), targets

    @property
    def plain(self) -> Images:
        return replace(self, padding=0)

    def to(self, device: str | torch.device) -> Images:
        return replace(self, pixels=self.pixels.to(device), targets=self.targets.to(device))


def standardized(pixels: Tensor, mean: Channels, deviation: Channels) -> Tensor:
    """Bytes (n, height, width, channels) as numbers of mean 0 and deviation 1, (n, channels,
    height, width), the channels last in memory."""
    scale = torch.tensor(deviation, device=pixels.device).mul_(255)
    shift = torch.tensor(mean, device=pixels.device).mul_(255)
    return ((pixels - shift) / scale).permute(0, 3, 1, 2)


def crop_and_flip(pixels: Tensor, padding: int, mean: Channels, draw: Draw) -> Tensor:
    """Every image padded, cropped to its size at random and flipped at random, by one gather.

    Args:
        pixels: bytes, (n, height, width, channels).
        mean: what is padded with, from 0 to 1.

    >>> pixels = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3, 1)
    >>> crop_and_flip(pixels, 1, (0.0,), Draw(0, 1))[0, :, :, 0].tolist()
    [[1, 0, 0], [4, 3, 0], [7, 6, 0]]
    """
    count, height, width, _ = pixels.shape
    draws = draw.generator("crop and flip")
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=draws)
    flipped = torch.rand(count, 1, generator=draws) < 0.5
    across = torch.arange(width)
    rows = torch.arange(height) + top
    columns = torch.where(flipped, across.flip(0), across) + left
    fill = torch.tensor(mean, device=pixels.device).mul_(255).round_().to(torch.uint8)
    around = fill.expand(count, height + 2 * padding, width + 2 * padding, -1).clone()
    around[:, padding : padding + height, padding : padding + width] = pixels
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    each = torch.arange(count, device=pixels.device)
    return around[each[:, None, None], rows[:, :, None], columns[:, None, :]]
