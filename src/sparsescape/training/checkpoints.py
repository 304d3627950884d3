"""Checkpoints of a run in the middle: data only, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import InputError

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


class Several(Protocol):
    """Processes that write together."""

    @property
    def rank(self) -> int: ...

    @property
    def mesh(self) -> Any:
        """All of them, for shards."""

    def agree(self, verdict: bool) -> bool:
        """What the first one says."""
        ...

    def wait(self) -> None:
        """Until all have come here."""
        ...


@dataclass
class ShardedCheckpoint:
    """The latest state of a run of several ranks, to which each writes its shards.

    What :class:`Checkpoint` is for one process, by ``torch.distributed.checkpoint``: a folder of
    safetensors files and one of JSON. Any number of ranks can go on from it. All ranks call every
    method, with a path that all of them see.

    Args:
        path: the folder.
        ranks: whose state it is.
        every: seconds between two writes.
    """

    path: Path
    ranks: Several
    every: float = 30.0
    _last: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        return self.ranks.agree(time.monotonic() - self._last >= self.every)

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; until it is whole the one before it stays."""
        from torch.distributed.checkpoint import save

        tensors: dict[str, Any] = {}
        tree = _take_out(state, tensors)
        like = {key: _described(tensor) for key, tensor in tensors.items()}
        folder = f"step-{state['step']:09d}"
        save(tensors, storage_writer=_storage("Writer", self.path / folder, save_distributed=True))
        if self.ranks.rank == 0:
            fresh = self.path / "latest.new"
            fresh.write_text(json.dumps({"folder": folder, "tree": tree, "tensors": like}))
            os.replace(fresh, self.path / _LATEST)
            for old in self.path.glob("step-*"):
                if old.name != folder:
                    shutil.rmtree(old)
        self.ranks.wait()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The latest state, sharded over these ranks, or None where there is none."""
        from torch.distributed.checkpoint import load

        latest = self.path / _LATEST
        if not self.ranks.agree(latest.exists()):
            return None
        kept = json.loads(latest.read_text())
        tensors = {key: self._empty(**like) for key, like in kept["tensors"].items()}
        load(tensors, storage_reader=_storage("Reader", self.path / kept["folder"]))
        return _put_back(kept["tree"], tensors)

    def _empty(self, shape: list[int], dtype: str, sharded: bool) -> Any:
        from torch.distributed.tensor import Shard, zeros

        if sharded:
            mesh, kind = self.ranks.mesh, getattr(torch, dtype)
            return zeros(shape, dtype=kind, device_mesh=mesh, placements=[Shard(0)])
        return torch.zeros(shape, dtype=getattr(torch, dtype))

    def discard(self) -> None:
        """Remove the folder."""
        if self.ranks.rank == 0:
            shutil.rmtree(self.path, ignore_errors=True)
        self.ranks.wait()


_LATEST = "latest.json"


def _described(tensor: Any) -> dict[str, Any]:
    """What a tensor is read into."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"shape": list(tensor.shape), "dtype": dtype, "sharded": hasattr(tensor, "to_local")}


def _storage(what: str, path: Path, **options: Any) -> Any:
    """Torch's own storage of sharded tensors in safetensors files: data that cannot run code."""
    try:
        from torch.distributed.checkpoint import hf_storage

        return getattr(hf_storage, f"HuggingFaceStorage{what}")(str(path), **options)
    except (ImportError, AttributeError, TypeError):
        raise InputError("Sharded checkpoints need torch 2.9 or newer.") from None


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
