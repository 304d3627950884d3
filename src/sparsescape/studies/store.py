"""The store: finished stages under their keys, and the studies made of them.

::

    runs/
      stages/train-0123456789abcdef/   one finished stage
        stage.json                     schema, kind, settings, keys of the inputs
        metrics.json                   its results
        start.safetensors …            its points (``docs/store.md`` lists them by kind)
        provenance.json                when, how long, on what: no part of the results
      partial/train-…/                 a stage under way, with its checkpoint
      locks/                           who is working on what
      difficulty-0123456789abcdef/     one study: results.json, report.html, figures/

A stage appears by one atomic rename, so what is there is whole. The same in an object store:
:mod:`sparsescape.studies.remote`.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from .graph import Stage


class Store:
    """A folder of finished stages.

    Args:
        root: the folder; made when something is written.

    Raises:
        InputError: the root is a file, or cannot be written to.
    """

    def __init__(self, root: str | Path = "runs"):
        self.root = Path(root).absolute()
        self.address = str(self.root)
        """Where another process finds it, as ``open_store`` takes it."""
        self.is_shared = True
        """Whether another process finds anything there."""
        self._stages = f"{self.root}{os.sep}stages{os.sep}"  # joined ten thousand times
        nearest = next(p for p in (self.root, *self.root.parents) if p.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise InputError(f"The store {str(self.root)!r} is not a folder that can be written.")

    def path(self, key: str) -> Path:
        """Where the results of a stage are, or will be."""
        return self.root / "stages" / key

    def has(self, key: str) -> bool:
        return os.path.isdir(self._stages + key)

    def metrics(self, key: str) -> dict[str, Any]:
        """The results of a finished stage."""
        return self._read(key, "metrics.json")

    def description(self, key: str) -> dict[str, Any]:
        """What a finished stage is: its schema, kind, settings and the keys of its inputs."""
        return self._read(key, "stage.json")

    def provenance(self, key: str) -> dict[str, Any]:
        """When a stage was done, how long it took, and on what."""
        return self._read(key, "provenance.json")

    def _read(self, key: str, file: str) -> dict[str, Any]:
        path = f"{self._stages}{key}{os.sep}{file}"
        try:
            return read_json(path)
        except ValueError:
            raise InputError(
                f"{path!r} is damaged: remove the folder it is in, and the stage is done anew."
            ) from None

    def partial(self, key: str) -> Path:
        """Where a stage that is under way keeps what it has."""
        return self._made(self.root / "partial" / key)

    def _made(self, folder: Path) -> Path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise InputError(f"The store {str(self.root)!r} {problem}.") from None
        return folder

    def finish(self, key: str) -> None:
        """Let the partial results of a stage become its results, all at once."""
        self._made(self.path(key).parent)
        os.rename(self.root / "partial" / key, self.path(key))

    def keep(self, folder: Path) -> None:
        """To be called when the folder of a study has been written."""

    def keys(self) -> list[str]:
        """Those of all finished stages."""
        return os.listdir(self._stages) if os.path.isdir(self._stages) else []

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a stage against other processes; the lock of a process that dies is free."""
        from filelock import FileLock

        with FileLock(self._made(self.root / "locks") / f"{key}.lock"):
            yield

    def is_held(self, key: str) -> bool:
        """Whether another process holds the lock, on whichever machine that has the folder."""
        from filelock import FileLock, Timeout

        path = self.root / "locks" / f"{key}.lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True

    def forget_lock(self, key: str) -> None:
        """Remove what a lock leaves behind that nobody will hold again."""
        (self.root / "locks" / f"{key}.lock").unlink(missing_ok=True)

    def stage(self, key: str) -> Stage:
        """A finished stage as it was planned, its inputs included.

        Raises:
            InputError: there is none of that key.
        """
        if key in ("", ".", "..") or not self.has(key):  # folders, but of no stage
            raise self._no_run(key)
        return self._planned(key, {})

    def _no_run(self, key: str) -> InputError:
        near = difflib.get_close_matches(key, self.runs(), n=5, cutoff=0.0)
        if not near:
            return InputError("The store is empty: it has no runs.")
        return InputError(f"There is no run named {key!r}; the nearest are: {', '.join(near)}.")

    def _planned(self, key: str, seen: dict[str, Stage]) -> Stage:
        if key not in seen:
            description = self.description(key)
            inputs = {role: self._planned(k, seen) for role, k in description["inputs"].items()}
            seen[key] = Stage(description["kind"], description["settings"], inputs)
        return seen[key]

    def studies(self) -> list[Path]:
        """The folders of finished studies, by name."""
        found = (p.parent for p in self.root.glob("*/results.json"))
        return sorted(p for p in found if p.suffix != ".old")

    def study(self, name: str) -> Path:
        """The folder of a finished study.

        Raises:
            InputError: there is none of that name.
        """
        named = {folder.name: folder for folder in self.studies()}
        if name not in named:
            raise InputError(f"There is no study named {name!r} in the store {self.address!r}.")
        return named[name]

    def runs(self) -> list[str]:
        """The keys of the finished training runs."""
        return sorted(key for key in self.keys() if key.startswith("train-"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, the same bytes for the same value, whole or not at all; NaN becomes null."""
    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def read_json(path: str | Path) -> Any:
    with open(path, "rb") as file:
        return json.loads(file.read().decode())


def read_results(folder: str | Path) -> dict[str, Any]:
    """What a study found.

    Raises:
        InputError: the folder has no ``results.json``, or that holds something else.
    """
    file = Path(folder) / "results.json"
    if not file.is_file():
        raise InputError(f"There is no results.json in {str(folder)!r}.")
    try:
        results = read_json(file)
    except ValueError as error:
        raise InputError(f"{str(file)!r} is no JSON: {error}.") from None
    if not isinstance(results, dict):
        raise InputError(f"{str(file)!r} holds no results of a study.")
    return results


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
