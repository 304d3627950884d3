"""Tiny data sets in the folders and files in which people have the real ones."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def image_folder(root: Path, splits: dict[str, int], classes: tuple[str, ...], size: int) -> None:
    """``root/SPLIT/CLASS/*.jpg``, so many images of each class."""
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")


def cifar_rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar_python(root: Path, labels: str, files: dict[str, int], classes: int) -> None:
    """Files of CIFAR as they are distributed for Python: each so many images."""
    root.mkdir(parents=True)
    for seed, (file, count) in enumerate(files.items()):
        targets = [i % classes for i in range(count)]
        held = {b"data": cifar_rows(count, seed), labels.encode(): targets}
        (root / file).write_bytes(pickle.dumps(held, protocol=2))


def cifar_binary(root: Path, files: dict[str, int]) -> None:
    """Files of CIFAR-10 as they are distributed for C."""
    root.mkdir(parents=True)
    for seed, (file, count) in enumerate(files.items()):
        targets = np.arange(count, dtype=np.uint8)[:, None] % 10
        (root / file).write_bytes(np.hstack([targets, cifar_rows(count, seed)]).tobytes())


def everything(root: Path, mnist: Callable[[Path], None]) -> None:
    """A data root with every data set that the catalogue knows."""
    mnist(root)
    image_folder(root / "cifar10", {"train": 2, "test": 1}, CIFAR10, 32)
    files = {"train": 200, "test": 100}
    cifar_python(root / "cifar-100-python", "fine_labels", files, 100)
    image_folder(root / "tiny-imagenet-200", {"train": 3, "val": 1}, ("n01", "n02"), 64)
    image_folder(root / "imagenet", {"train": 3, "val": 1}, ("n01", "n02", "n03"), 48)
    draws = np.random.default_rng(0)
    text = "".join(draws.choice(list("aeinrst ,\n"), 4000, p=[0.3, 0.2, 0.2, *[0.3 / 7] * 7]))
    (root / "tinyshakespeare.txt").write_text(text, encoding="utf-8")
