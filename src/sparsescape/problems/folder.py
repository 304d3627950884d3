"""Images in one folder for each class."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def class_folders(split: Path) -> list[str]:
    """The names of the classes, one folder each, in alphabetical order."""
    return sorted(entry.name for entry in os.scandir(split) if entry.is_dir())


def has_splits(folder: Path, *splits: str) -> bool:
    """Whether the folder has a folder of each of these names."""
    return all((folder / split).is_dir() for split in splits)


def images_in(folder: Path) -> list[Path]:
    """All images below a folder, in alphabetical order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _IMAGES)


def decoded(split: Path, size: int, classes: list[str]) -> tuple[Tensor, Tensor]:
    """The images of ``split/CLASS/…`` as bytes (n, size, size, 3), and their classes.

    Decoding takes a minute for a large data set, so what was decoded is kept beside the folder,
    where it can be written, under the hash of the names and sizes of all files. Images of another
    size are resized, the shorter side first, and cut to the middle.

    Raises:
        InputError: a class has no image, or a file is no image.
    """
    files = {name: images_in(split / name) for name in classes}
    for name, found in files.items():
        if not found:
            raise InputError(f"There is no image in {split / name}.")
    named = [path for found in files.values() for path in found]
    targets = torch.cat([torch.full((len(f),), i) for i, f in enumerate(files.values())])
    kept = split.with_name(f".{split.name}-{_hash(split, named, size)}.safetensors")
    pixels = _load(kept)
    if pixels is None:
        pixels = torch.stack([_decode(path, size) for path in named])
        _save(pixels, kept)
    return pixels, targets


def opened(path: str | Path) -> Any:
    """The image in a file, whole and in colors.

    Raises:
        InputError: the file is no image, or is cut short.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # each format has its own
        raise InputError(f"{path} cannot be read as an image: {error}") from error


def _decode(path: Path, size: int) -> Tensor:
    import numpy as np

    image = opened(path)
    if image.size != (size, size):
        scale = size / min(image.size)
        image = image.resize(tuple(max(size, round(scale * s)) for s in image.size))
        left, top = ((s - size) // 2 for s in image.size)
        image = image.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image))


def _hash(split: Path, files: list[Path], size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for path in files:
        digest.update(f"{path.relative_to(split)}\0{path.stat().st_size}\0".encode())
    return digest.hexdigest()[:16]


def _load(path: Path) -> Tensor | None:
    from safetensors.torch import load_file

    return load_file(str(path))["pixels"] if path.is_file() else None


def _save(pixels: Tensor, path: Path) -> None:
    """Written whole or not at all; where nothing can be written, it stays in memory alone."""
    from safetensors.torch import save_file

    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as fresh:
            pass
        save_file({"pixels": pixels}, fresh.name)
        os.chmod(fresh.name, 0o644)  # the folder's readers are its readers too
        os.replace(fresh.name, path)
    except OSError:
        return
