"""VGG-16 for images of 32×32 pixels."""

from __future__ import annotations

from torch import nn

from ..init import he_normal
from .problem import units

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(classes: int = 10, width: float = 1.0) -> nn.Module:
    """VGG-D of Lee et al. 2019 (SNIP, section 5): the 13 convolutions of VGG-16 (Simonyan &
    Zisserman 2015), then two hidden layers of 512 units; BatchNorm everywhere, no dropout.

    >>> sum(p.numel() for p in vgg16().parameters())
    15255626
    """
    layers: list[nn.Module] = []
    before = 3
    for filters, count in _STAGES:
        (filters,) = units(width, filters)
        for _ in range(count):
            convolution = nn.Conv2d(before, filters, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(filters), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    (hidden,) = units(width, 512)
    for _ in range(2):
        layers += [nn.Linear(before, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        before = hidden
    return he_normal(nn.Sequential(*layers, nn.Linear(hidden, classes)))
