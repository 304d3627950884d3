"""Where data lies: the folder that the user names, and images in one folder for each class."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError

DATA_ROOT = "SPARSESCAPE_DATA"
HUB = "hf:"
"""What a data root begins with that is not a folder, but a data set of Hugging Face."""
_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def data_root(given: str | None, what: str, holds: str, hint: str = "") -> Path:
    """The folder that the user names.

    Args:
        given: the folder; otherwise the environment variable ``SPARSESCAPE_DATA``.
        what: the data set, for the message.
        holds: what lies in the folder, for the message.
        hint: where it comes from, for the message.

    Raises:
        InputError: neither names one.
    """
    root = given or os.environ.get(DATA_ROOT)
    if not root:
        more = f" ({hint})" if hint else ""
        raise InputError(
            f"{what} is needed: give the folder that holds {holds} with --data-root or in "
            f"{DATA_ROOT}{more}."
        )
    return Path(root)


def absolute_root(given: str | None) -> str | None:
    """The same data root, for a process that works in another folder.

    >>> absolute_root("hf:ILSVRC/imagenet-1k")
    'hf:ILSVRC/imagenet-1k'
    """
    root = given or os.environ.get(DATA_ROOT)
    if not root:
        return None
    path = root.removeprefix(HUB)
    if path == root:
        return str(Path(root).absolute())
    return HUB + absolute_if_folder(path)


def absolute_if_folder(name: str) -> str:
    """The path of a folder, whole; the name of what is none, as it is.

    >>> absolute_if_folder("ILSVRC/imagenet-1k")
    'ILSVRC/imagenet-1k'
    """
    return str(Path(name).absolute()) if Path(name).is_dir() else name


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


def _decode(path: Path, size: int) -> Tensor:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
            if image.size != (size, size):
                scale = size / min(image.size)
                image = image.resize(tuple(max(size, round(scale * s)) for s in image.size))
                left, top = ((s - size) // 2 for s in image.size)
                image = image.crop((left, top, left + size, top + size))
            return torch.from_numpy(np.array(image))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error


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
