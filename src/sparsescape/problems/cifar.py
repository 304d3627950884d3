"""CIFAR-10 and CIFAR-100: 60 000 photographs of 32×32 pixels."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Examples
from ..errors import InputError
from ..init import he_normal
from .folder import class_folders, decoded
from .images import Images
from .problem import Problem, units
from .recipe import Recipe
from .resnets import resnet20, wrn22_2
from .roots import data_root
from .vgg import vgg16

_MEAN = {10: (0.4914, 0.4822, 0.4465), 100: (0.5071, 0.4865, 0.4409)}
_DEVIATION = {10: (0.2470, 0.2435, 0.2616), 100: (0.2673, 0.2564, 0.2762)}


def cifar10_conv(recipe: Recipe, root: str | None = None) -> Problem:
    """Three 3×3 convolutions of 32, 64 and 128 filters at stride 2 and a linear layer: a network of
    our own that a CPU trains in a minute.

    The training set is not augmented: the loss that is reported is the one that is trained.
    """
    train, test = cifar(10, root)
    return Problem(_conv, train.plain, test, recipe=recipe, scaled=_conv)


def cifar10_resnet20(recipe: Recipe, root: str | None = None) -> Problem:
    """ResNet-20 as He et al. 2016 train it, section 4.2: batches of 128, learning rate 0.1 divided
    by 10 at 32k and 48k of 64k steps, weight decay 1e-4, crops and flips.

    Published: 8.75 % test error (their table 6). They subtract the mean of each pixel, here it is
    that of each channel; pixels outside the image are the mean in both.
    """
    return _problem(recipe, root, 10, resnet20)


def cifar10_wrn22_2(recipe: Recipe, root: str | None = None) -> Problem:
    """WRN-22-2 as Evci et al. 2020 (RigL) train it, section 4.3 and their code
    (``cifar_resnet/resnet_train_eval.py``): 250 epochs of batches of 128, learning rate 0.1 divided
    by 5 every 30k steps, Nesterov momentum, weight decay 5e-4; pruning from 20k to 75k every 1000
    steps. The first convolution stays dense.

    Published: accuracies at 50 to 95 % sparsity, docs/problems.md. Their weight decay leaves out
    BatchNorm and biases; here it is on all parameters.
    """
    return _problem(recipe, root, 10, wrn22_2, dense=("0",))


def cifar100_wrn22_2(recipe: Recipe, root: str | None = None) -> Problem:
    """The network and the recipe of :func:`cifar10_wrn22_2` on CIFAR-100; no number of a paper is
    known to hold it against."""
    return _problem(recipe, root, 100, wrn22_2, dense=("0",))


def cifar10_vgg16(recipe: Recipe, root: str | None = None) -> Problem:
    """VGG-D as Lee et al. 2019 (SNIP) train it, section 5: batches of 128, learning rate 0.1
    divided by 10 every 30k steps, weight decay 5e-4, flips and shifts of up to 4 pixels.

    The number of steps is not in the paper; 150k ends a fifth interval of 30k. They train on 90 %
    of the training set.
    """
    return _problem(recipe, root, 10, vgg16)


def _problem(
    recipe: Recipe,
    root: str | None,
    classes: int,
    network: Callable[..., nn.Module],
    dense: tuple[str, ...] = (),
) -> Problem:
    train, test = cifar(classes, root)
    model = partial(network, classes)
    return Problem(model, train, test, recipe=recipe, dense=dense, scaled=model)


def _conv(width: float = 1.0) -> nn.Module:
    first, second, third = units(width, 32, 64, 128)
    return he_normal(
        nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 4 * third, 10),
        )
    )


def cifar(classes: int, root: str | None = None) -> tuple[Examples, Examples]:
    """50 000 training and 10 000 test examples, augmented in training by a crop out of 40×40
    pixels and a flip.

    Args:
        classes: 10 or 100.
        root: the folder that holds ``cifar-10-batches-py`` or ``cifar-10-batches-bin`` (of
            CIFAR-100 ``cifar-100-python``, ``cifar-100-binary``), as they are distributed, or
            ``cifar10/{train,test}/CLASS`` (``cifar100/…``) with images; otherwise the environment
            variable ``SPARSESCAPE_DATA``.

    Raises:
        InputError: the files are not there, or cannot be read.
    """
    name = f"CIFAR-{classes}"
    python, binary = _LAYOUTS[classes]
    images = f"cifar{classes}"
    holds = f"{python.folder}, {binary.folder} or {images}/{{train,test}}/CLASS"
    hint = f"torchvision.datasets.CIFAR{classes}(root, download=True) fills one"
    place = data_root(root, name, holds, hint)
    splits = []
    for split, padding in (("train", 4), ("test", 0)):
        if (place / python.folder).is_dir():
            pixels, targets = python.read(place, split)
        elif (place / binary.folder).is_dir():
            pixels, targets = binary.read(place, split)
        elif (place / images / split).is_dir():
            pixels, targets = _from_images(place / images, split)
        else:
            raise InputError(f"{name} is not in {place}: that folder must hold {holds} ({hint}).")
        statistics = _MEAN[classes], _DEVIATION[classes]
        splits.append(Images(pixels, targets, *statistics, padding=padding))
    train, test = splits
    return train, test


class _Layout:
    """One of the two ways in which CIFAR is distributed: files of rows of 3072 bytes.

    Args:
        parse: from a file to its rows and their classes.
    """

    def __init__(
        self,
        folder: str,
        files: dict[str, tuple[str, ...]],
        parse: Callable[[Path], tuple[np.ndarray, np.ndarray]],
    ):
        self.folder, self.files, self.parse = folder, files, parse

    def read(self, root: Path, split: str) -> tuple[Tensor, Tensor]:
        parts = []
        for file in self.files[split]:
            path = root / self.folder / file
            if not path.is_file():
                raise InputError(f"There is no {file} in {path.parent}.")
            parts.append(self.parse(path))
        rows, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
        pixels = torch.from_numpy(rows.reshape(-1, 3, 32, 32)).permute(0, 2, 3, 1).contiguous()
        return pixels, torch.from_numpy(classes.astype(np.int64))


_NAMED_BY_ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),  # numpy 2 has it under the old name as well
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


def _from_pickle(path: Path, *, labels: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        held = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        rows = np.asarray(held[b"data"], np.uint8).reshape(-1, 3072)
        classes = np.asarray(held[labels.encode()])
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a file of CIFAR: {error}") from error
    return rows, classes


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, and refuses all else that a pickle can name: that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMED_BY_ARRAYS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")


def _from_binary(path: Path, *, labels: int) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if len(data) == 0 or len(data) % (3072 + labels):
        raise InputError(f"{path} is cut short: {len(data)} bytes.")
    rows = data.reshape(-1, 3072 + labels)
    return rows[:, labels:], rows[:, labels - 1]


def _from_images(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    return decoded(folder / split, 32, class_folders(folder / "train"))


_LAYOUTS = {
    10: (
        _Layout(
            "cifar-10-batches-py",
            {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
            partial(_from_pickle, labels="labels"),
        ),
        _Layout(
            "cifar-10-batches-bin",
            {
                "train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)),
                "test": ("test_batch.bin",),
            },
            partial(_from_binary, labels=1),
        ),
    ),
    100: (
        _Layout(
            "cifar-100-python",
            {"train": ("train",), "test": ("test",)},
            partial(_from_pickle, labels="fine_labels"),
        ),
        _Layout(
            "cifar-100-binary",
            {"train": ("train.bin",), "test": ("test.bin",)},
            partial(_from_binary, labels=2),
        ),
    ),
}
