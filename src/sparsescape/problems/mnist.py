"""MNIST in its original files, as torchvision keeps them."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..init import he_normal
from ..objective import Batch
from .problem import Problem
from .recipe import Recipe

DATA_ROOT = "SPARSESCAPE_DATA"


def lenet300(recipe: Recipe, data_root: str | None = None) -> Problem:
    """The perceptron 784-300-100-10 (LeCun et al. 1998, section III.C.4)."""
    train, test = mnist(data_root)

    def model() -> nn.Module:
        return he_normal(
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(784, 300),
                nn.ReLU(),
                nn.Linear(300, 100),
                nn.ReLU(),
                nn.Linear(100, 10),
            )
        )

    return Problem(model, train, test, recipe=recipe)


def lenet5(recipe: Recipe, data_root: str | None = None) -> Problem:
    """LeNet-5 with ReLU and max pooling, as in Evci et al. 2020, *Gradient Flow*, appendix."""
    train, test = mnist(data_root)

    def model() -> nn.Module:
        return he_normal(
            nn.Sequential(
                nn.Conv2d(1, 6, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 16, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(256, 120),
                nn.ReLU(),
                nn.Linear(120, 84),
                nn.ReLU(),
                nn.Linear(84, 10),
            )
        )

    return Problem(model, train, test, recipe=recipe)


def mnist(data_root: str | None = None) -> tuple[Batch, Batch]:
    """60 000 training and 10 000 test examples, (n, 1, 28, 28), standardized.

    Args:
        data_root: the folder that holds ``MNIST/raw``, what torchvision calls ``root``; otherwise
            the environment variable ``SPARSESCAPE_DATA``.

    Raises:
        InputError: the files are not there.
    """
    root = data_root or os.environ.get(DATA_ROOT)
    if root is None:
        raise InputError(
            "MNIST is needed: give the folder that holds MNIST/raw with --data-root or in "
            f"{DATA_ROOT} (torchvision.datasets.MNIST(root, download=True) fills one)."
        )
    raw = Path(root) / "MNIST" / "raw"
    train = _images(raw / "train-images-idx3-ubyte"), _labels(raw / "train-labels-idx1-ubyte")
    test = _images(raw / "t10k-images-idx3-ubyte"), _labels(raw / "t10k-labels-idx1-ubyte")
    return train, test


def _images(path: Path) -> Tensor:
    pixels = torch.from_numpy(_read_idx(path)).float().div_(255).unsqueeze(1)
    return pixels.sub_(0.1307).div_(0.3081)  # mean and deviation of the training pixels


def _labels(path: Path) -> Tensor:
    return torch.from_numpy(_read_idx(path)).long()


def _read_idx(path: Path) -> np.ndarray:
    """LeCun's idx format: two zero bytes, the type, the number of dimensions, the dimensions."""
    if path.is_file():
        data = path.read_bytes()
    elif path.with_name(path.name + ".gz").is_file():
        data = _unpacked(path.with_name(path.name + ".gz"))
    else:
        raise InputError(f"There is no {path.name} in {path.parent}.")
    if data[:3] != b"\x00\x00\x08":
        raise InputError(f"{path} is not a file of unsigned bytes in the idx format.")
    if len(data) < 4 or len(data) < 4 + 4 * data[3]:
        raise InputError(f"{path} is cut short: it ends within its header.")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4).astype(int)
    start = 4 + 4 * len(shape)
    if len(data) - start != shape.prod():
        raise InputError(f"{path} is cut short: {len(data) - start} of {shape.prod()} bytes.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}") from error
