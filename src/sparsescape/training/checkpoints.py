"""Checkpoints of a run in the middle: data only, written whole or not at all."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

_STATE = "state"


@dataclass
class Checkpoint:
    """One file on disk that holds the latest state of a run.

    A state is any nesting of dicts and lists of tensors, numbers, strings and None. It is one
    safetensors file, with everything that is no tensor as JSON in its metadata; a new one takes
    the place of the old one in one step.

    Args:
        path: the file; its folder is made when it is first needed.
        every: seconds between two writes.
    """

    path: Path
    every: float = 30.0
    _last: float = field(default_factory=time.monotonic)

    def part(self, number: int) -> Checkpoint:
        """The checkpoint of one part of a run of several, in a file beside this one."""
        return Checkpoint(
            self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}"), self.every
        )

    def discard_parts(self, count: int) -> None:
        """Remove the files of the first so many parts."""
        for number in range(count):
            self.part(number).discard()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; until it is whole the one before it stays."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        text = json.dumps(_take_out(state, tensors))
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(fresh), metadata={_STATE: text})
        os.replace(fresh, self.path)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The latest state, or None where there is none."""
        from safetensors import safe_open

        if not self.path.exists():
            return None
        with safe_open(str(self.path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return _put_back(json.loads(file.metadata()[_STATE]), tensors)

    def discard(self) -> None:
        """Remove the file, and one that was being written."""
        for path in (self.path, self.path.with_name(self.path.name + ".new")):
            path.unlink(missing_ok=True)


def _take_out(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree with each tensor replaced by its number in ``tensors``; keys keep their type."""
    if isinstance(tree, Tensor):
        key = str(len(tensors))
        tensors[key] = tree.detach().clone().contiguous()
        return {"tensor": key}
    if isinstance(tree, dict):
        return {"dict": [[key, _take_out(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, (list, tuple)):
        return [_take_out(value, tensors) for value in tree]
    return tree


def _put_back(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_put_back(value, tensors) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    return {key: _put_back(value, tensors) for key, value in tree["dict"]}
