"""Checkpoints of a run in the middle: data only, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass
class Checkpoint:
    """One place on disk that holds the latest state of a run.

    A state is any nesting of dicts and lists of tensors, numbers, strings and None. It is kept as
    ``state.json`` beside ``tensors.safetensors``.

    Args:
        path: a folder; made when it is first needed.
        every: seconds between two writes.
    """

    path: Path
    every: float = 30.0
    _last: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state beside the old one, then let it take its place."""
        from safetensors.torch import save_file

        fresh, old = self.path.with_suffix(".new"), self.path.with_suffix(".old")
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        tensors: dict[str, Tensor] = {}
        (fresh / "state.json").write_text(json.dumps(_take_out(state, tensors)))
        save_file(tensors, str(fresh / "tensors.safetensors"))
        if self.path.exists():
            os.rename(self.path, old)
        os.rename(fresh, self.path)
        shutil.rmtree(old, ignore_errors=True)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The latest state, or None where there is none."""
        from safetensors.torch import load_file

        found = next((p for p in (self.path, self.path.with_suffix(".old")) if p.exists()), None)
        if found is None:
            return None
        state = json.loads((found / "state.json").read_text())
        return _put_back(state, load_file(str(found / "tensors.safetensors")))


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
