"""Where data lies: the folder that the user names. Torch is not needed for it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError

DATA_ROOT = "SPARSESCAPE_DATA"
HUB = "hf:"
"""What a data root begins with that is not a folder, but a data set of Hugging Face."""


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
