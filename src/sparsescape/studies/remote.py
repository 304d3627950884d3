"""A store in an object store: ``s3://``, ``gs://`` and whatever else fsspec knows.

An object store has no atomic rename and no locks. A stage is there once an empty object of its
name lies under ``done/``, which is written after all its files; and what is done twice, by two
machines at once, is the same bytes. What is read lies in a folder of this machine as well: it is
fetched when it is first asked for, and can be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from .store import Store

_LISTED_FOR = 2.0  # seconds: what is done is listed at once, and not asked for stage by stage


class RemoteStore(Store):
    """Finished stages under a URL.

    Args:
        url: where they are, as fsspec takes it. Copies lie in ``$SPARSESCAPE_CACHE``, or else in
            ``~/.cache/sparsescape``.

    Raises:
        InputError: no file system is known for such a URL, or it cannot be reached.
    """

    def __init__(self, url: str):
        import fsspec  # type: ignore[import-untyped]
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
        from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

        try:
            self._files, base = fsspec.core.url_to_fs(url)
            if isinstance(self._files, LocalFileSystem):  # whose paths may hang on where one is
                url = self._files.unstrip_protocol(base)
            self._base = base.rstrip("/")
            self._files.exists(f"{self._base}/done")
        except ImportError as error:
            raise InputError(f"The store {url!r} needs one more package: {error}") from None
        except Exception as error:  # each file system has errors of its own
            raise InputError(f"The store {url!r} cannot be reached: {error}") from None
        super().__init__(_copies() / hashlib.sha256(url.encode()).hexdigest()[:16])
        self.address = url
        self.is_shared = not isinstance(self._files, MemoryFileSystem)
        self._done: set[str] = set()
        self._listed = -_LISTED_FOR

    def has(self, key: str) -> bool:
        if key not in self._done and time.monotonic() - self._listed > _LISTED_FOR:
            self._done = set(self.keys())
            self._listed = time.monotonic()
        return key in self._done

    def keys(self) -> list[str]:
        return self._names("done")

    def path(self, key: str) -> Path:
        here = super().path(key)
        if not here.is_dir() and self._files.exists(f"{self._base}/done/{key}"):
            self._fetch(f"stages/{key}", here)
        return here

    def finish(self, key: str) -> None:
        self._send(self.partial(key), f"stages/{key}")
        shutil.rmtree(super().path(key), ignore_errors=True)  # left by one that ended about here
        super().finish(key)
        self._mark(f"done/{key}")
        self._done.add(key)

    def keep(self, folder: Path) -> None:
        self._send(folder, folder.name)

    def studies(self) -> list[Path]:
        for name in self._names(""):
            if self._files.exists(f"{self._base}/{name}/results.json"):
                self._fetch(name, self.root / name)
        return super().studies()

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a stage against other processes of this machine, and show it to other machines.

        Raises:
            InputError: the store cannot be written: there is no such bucket, say.
        """
        with super().lock(key):
            try:
                self._mark(f"locks/{key}")  # the first thing that is written for a stage
            except Exception as error:  # each file system has errors of its own
                sentence = f"The store {self.address!r} cannot be written: {error}"
                raise InputError(sentence) from error
            try:
                yield
            finally:
                self._files.rm_file(f"{self._base}/locks/{key}")

    def is_held(self, key: str) -> bool:
        return self._files.exists(f"{self._base}/locks/{key}")

    def _read(self, key: str, file: str) -> dict[str, Any]:
        here = super().path(key)
        if here.is_dir():
            return super()._read(key, file)
        return json.loads(self._files.cat_file(f"{self._base}/stages/{key}/{file}"))

    def _names(self, folder: str) -> list[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._base}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def _mark(self, name: str) -> None:
        """Write an empty object."""
        path = f"{self._base}/{name}"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, b"")

    def _send(self, folder: Path, name: str) -> None:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            there = f"{self._base}/{name}/{file.relative_to(folder).as_posix()}"
            self._files.makedirs(there.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(file), there)

    def _fetch(self, name: str, here: Path) -> None:
        """Copy a folder to this machine, whole or not at all."""
        here.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=here.parent, prefix="fetched-") as fresh:
            there = f"{self._base}/{name}"
            for file in self._files.find(there):
                to = Path(fresh, "all", file[file.index(there) + len(there) :].lstrip("/"))
                to.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(file, str(to))
            if not here.is_dir():
                os.rename(Path(fresh, "all"), here)


def _copies() -> Path:
    given = os.environ.get("SPARSESCAPE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "sparsescape"
