"""Scikit-learn's digits: 1797 handwritten digits of 8×8 pixels, real data without a download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data import Batch
from ..init import he_normal
from ..seeds import generator
from .problem import Problem, units
from .recipe import Recipe

_TEST = 360


def conv(recipe: Recipe, root: str | None = None) -> Problem:
    """Two 3×3 convolutions of 16 and 32 filters with max pooling, 64 hidden units."""
    train, test = digits()
    return Problem(_conv, train, test, recipe=recipe, scaled=_conv)


def mlp(recipe: Recipe, root: str | None = None) -> Problem:
    """A perceptron of the shape of LeNet-300-100."""
    train, test = digits()
    return Problem(_mlp, train, test, recipe=recipe, scaled=_mlp)


def _conv(width: float = 1.0) -> nn.Module:
    first, second, hidden = units(width, 16, 32, 64)
    return he_normal(
        nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * second, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )
    )


def _mlp(width: float = 1.0) -> nn.Module:
    first, second = units(width, 300, 100)
    return he_normal(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 10),
        )
    )


def digits() -> tuple[Batch, Batch]:
    """1437 examples for training and 360 for testing, in a fixed shuffled order.

    Inputs are (n, 1, 8, 8), from 0 to 1; the background is 0, as is what convolutions pad with.
    """
    table = torch.from_numpy(_table())
    inputs = table[:, :64].float().reshape(-1, 1, 8, 8) / 16
    targets = table[:, 64].long()
    order = torch.randperm(len(inputs), generator=generator(0, "digits split"))
    inputs, targets = inputs[order], targets[order]
    # With one channel these strides mean the same and say channels-last, in which torch's
    # convolutions and pooling on a CPU take three quarters of the time.
    inputs = inputs.as_strided(inputs.shape, (64, 1, 8, 1))
    return (inputs[_TEST:], targets[_TEST:]), (inputs[:_TEST], targets[:_TEST])


def _table() -> np.ndarray:
    """One row per example: 64 pixels from 0 to 16, and the digit.

    The file is read where scikit-learn keeps it: its own ``load_digits`` does just that, but
    takes a second longer, for importing most of scikit-learn and of scipy.
    """
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(path, delimiter=",", dtype=np.float32)
