"""The residual networks of the CIFAR literature, and ResNet-18 for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..init import he_normal
from .problem import units


def resnet20(classes: int = 10, width: float = 1.0) -> nn.Module:
    """ResNet-20: three stages of three blocks, 16, 32 and 64 filters, shortcuts without weights
    (He et al. 2016, section 4.2, option A).

    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    first, second, third = units(width, 16, 32, 64)
    blocks: list[nn.Module] = []
    before = first
    for filters, stride in ((first, 1), (second, 2), (third, 2)):
        for number in range(3):
            blocks.append(PlainBlock(before, filters, stride if number == 0 else 1))
            before = filters
    stem = (_conv3(3, first), nn.BatchNorm2d(first), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(third, classes))
    return he_normal(nn.Sequential(*stem, *blocks, *head))


class PlainBlock(nn.Module):
    """Two convolutions beside a shortcut that is the identity: every second pixel where the block
    halves the image, and zeros for the filters that the block adds."""

    def __init__(self, before: int, filters: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _conv3(before, filters, stride), nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = _conv3(filters, filters), nn.BatchNorm2d(filters)
        self.stride, self.added = stride, filters - before

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        hidden = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(hidden)) + shortcut)


def wrn22_2(classes: int = 10, width: float = 1.0) -> nn.Module:
    """WRN-22-2 (Zagoruyko & Komodakis 2016) as Evci et al. 2020 (RigL) train it: three stages of
    three pre-activation blocks, 32, 64 and 128 filters, dropout of 0.3 between the convolutions.

    >>> sum(p.numel() for p in wrn22_2().parameters())
    1079642
    """
    stem, first, second, third = units(width, 16, 32, 64, 128)
    blocks: list[nn.Module] = []
    before = stem
    for filters, stride in ((first, 1), (second, 2), (third, 2)):
        for number in range(3):
            blocks.append(WideBlock(before, filters, stride if number == 0 else 1))
            before = filters
    head = (nn.BatchNorm2d(third), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return he_normal(nn.Sequential(_conv3(3, stem), *blocks, *head, nn.Linear(third, classes)))


class WideBlock(nn.Module):
    """BatchNorm and ReLU before each of two convolutions; a 1×1 convolution, of what the first
    ReLU puts out, as the shortcut where the number of filters changes."""

    def __init__(self, before: int, filters: int, stride: int, dropout: float = 0.3):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), _conv3(before, filters, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(filters), _conv3(filters, filters)
        self.dropout = nn.Dropout(dropout)
        alike = before == filters and stride == 1
        self.shortcut = None if alike else nn.Conv2d(before, filters, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        active = F.relu(self.bn1(inputs))
        shortcut = inputs if self.shortcut is None else self.shortcut(active)
        hidden = self.dropout(F.relu(self.bn2(self.conv1(active))))
        return self.conv2(hidden) + shortcut


def resnet18(classes: int = 200, width: float = 1.0) -> nn.Module:
    """ResNet-18 (He et al. 2016, table 1) for images of 64×64 pixels: a 3×3 convolution and no
    pooling in the place of the 7×7 convolution with stride 2 and max pooling.

    >>> sum(p.numel() for p in resnet18().parameters())
    11271432
    """
    stages = units(width, 64, 128, 256, 512)
    blocks: list[nn.Module] = []
    before = stages[0]
    for number, filters in enumerate(stages):
        blocks += [BasicBlock(before, filters, 2 if number else 1), BasicBlock(filters, filters)]
        before = filters
    stem = (_conv3(3, stages[0]), nn.BatchNorm2d(stages[0]), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
    return he_normal(nn.Sequential(*stem, *blocks, *head))


class BasicBlock(nn.Module):
    """Two convolutions; a 1×1 convolution with BatchNorm as the shortcut where the block halves
    the image (option B)."""

    def __init__(self, before: int, filters: int, stride: int = 1):
        super().__init__()
        self.conv1, self.bn1 = _conv3(before, filters, stride), nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = _conv3(filters, filters), nn.BatchNorm2d(filters)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != filters:
            projection = nn.Conv2d(before, filters, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(filters))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))


def _conv3(before: int, filters: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, filters, 3, stride, padding=1, bias=False)
