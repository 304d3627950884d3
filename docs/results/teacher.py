"""A problem outside the catalogue: classes that a small network gives, from few of many inputs.

Of 100 inputs, all from N(0, 1), a random network of one hidden layer reads 15; its largest output,
each centred and scaled over the data, is the class. The other 85 say nothing. So a sparse network
is the better for reading the right inputs, which a method can find out or be lucky with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sparsescape as ss

INPUTS, RELEVANT, HIDDEN, CLASSES = 100, 15, 32, 10
TRAIN, TEST = 8000, 4000


def make_problem() -> ss.Problem:
    x, y = examples()
    recipe = ss.Recipe(steps=2000, batch_size=100, lr=0.1, weight_decay=1e-4)
    return ss.Problem(
        student, train=(x[:TRAIN], y[:TRAIN]), test=(x[TRAIN:], y[TRAIN:]), recipe=recipe
    )


def student() -> nn.Module:
    return nn.Sequential(
        nn.Linear(INPUTS, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, CLASSES)
    )


def examples() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(TRAIN + TEST, INPUTS, generator=source)
    read = torch.randperm(INPUTS, generator=source)[:RELEVANT]
    first = torch.randn(RELEVANT, HIDDEN, generator=source) / RELEVANT**0.5
    second = torch.randn(HIDDEN, CLASSES, generator=source) / HIDDEN**0.5
    outputs = (2 * x[:, read] @ first).tanh() @ second
    return x, ((outputs - outputs.mean(0)) / outputs.std(0)).argmax(1)
