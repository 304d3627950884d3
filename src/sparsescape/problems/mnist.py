"""MNIST in its original files, as torchvision keeps them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Batch
from ..errors import InputError
from ..init import glorot_uniform, he_normal
from .problem import Problem, units
from .recipe import Recipe
from .roots import data_root


def lenet300(recipe: Recipe, root: str | None = None) -> Problem:
    """784-300-100-10, a perceptron (LeCun et al. 1998, section III.C.4), on standardized pixels."""
    train, test = ((_standardized(pixels), labels) for pixels, labels in mnist(root))
    return Problem(_lenet300, train, test, recipe=recipe, scaled=_lenet300)


def lenet5(recipe: Recipe, root: str | None = None) -> Problem:
    """LeNet-5 with ReLU and max pooling, as in the code of Evci et al. 2020, *Gradient Flow*.

    Glorot's initialization and pixels from 0 to 1 are part of it: with He's and standardized
    pixels the outputs begin so large that the network dies at this learning rate in some seeds.
    Their weight decay leaves out the biases, ours does not.
    """
    train, test = mnist(root)
    return Problem(_lenet5, train, test, recipe=recipe, scaled=_lenet5)


def _lenet300(width: float = 1.0) -> nn.Module:
    first, second = units(width, 300, 100)
    return he_normal(
        nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 10),
        )
    )


def _lenet5(width: float = 1.0) -> nn.Module:
    first, second, third, fourth = units(width, 6, 16, 120, 84)
    return glorot_uniform(
        nn.Sequential(
            nn.Conv2d(1, first, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(first, second, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * second, third),
            nn.ReLU(),
            nn.Linear(third, fourth),
            nn.ReLU(),
            nn.Linear(fourth, 10),
        )
    )


def mnist(root: str | None = None) -> tuple[Batch, Batch]:
    """60 000 training and 10 000 test examples, (n, 1, 28, 28), pixels from 0 to 1.

    Args:
        root: the folder that holds ``MNIST/raw``, what torchvision calls ``root``; otherwise
            the environment variable ``SPARSESCAPE_DATA``.

    Raises:
        InputError: the files are not there.
    """
    hint = "torchvision.datasets.MNIST(root, download=True) fills one"
    raw = data_root(root, "MNIST", "MNIST/raw", hint) / "MNIST" / "raw"
    train = _images(raw / "train-images-idx3-ubyte"), _labels(raw / "train-labels-idx1-ubyte")
    test = _images(raw / "t10k-images-idx3-ubyte"), _labels(raw / "t10k-labels-idx1-ubyte")
    return train, test


def _images(path: Path) -> Tensor:
    return torch.from_numpy(_read_idx(path)).float().div_(255).unsqueeze(1)


def _standardized(pixels: Tensor) -> Tensor:
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
        raise InputError(
            f"There is no {path.name} in {path.parent}: torchvision.datasets.MNIST(root, "
            "download=True) fills such a folder, and --data-root says where the root is."
        )
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
