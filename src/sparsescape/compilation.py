"""How loops are compiled by numba, and under which names it keeps them on disk."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
}


@lru_cache(maxsize=1)
def works() -> bool:
    """Whether numba is installed, fits what else is, and compiles."""
    try:
        import numba
    except ImportError:
        return False
    return not getattr(numba.config, "DISABLE_JIT", False)


def compiled_as(name: str, function: Any, **options: Any) -> Any:
    """The function under a name of its own, compiled.

    By names alone numba's cache on disk tells functions of a module apart, and the linker what of
    it came from there. Two that differ in what they close over, or in how they are compiled, but
    not in name, are taken for each other as soon as several processes fill the cache at once: one
    that writes 64 numbers for one that writes 32. And what was compiled holds the functions that
    it calls, as they were then, of whatever file: so the name has the state of all files beside it.
    """
    from numba import njit

    code, closure = function.__code__, function.__closure__
    name = f"{name}_{state_of(Path(code.co_filename).parent)}"
    twin = FunctionType(code, function.__globals__, name, function.__defaults__, closure)
    twin.__qualname__ = name
    return njit(**OPTIONS, **options)(twin)


def compiled(function: Any) -> Any:
    """A decorator: the function, compiled under its own name."""
    return compiled_as(function.__name__, function)


@lru_cache
def state_of(folder: Path) -> str:
    """A digest of the folder's sources and of this one: of all that is compiled or decides how."""
    files = [*sorted(folder.glob("*.py")), Path(__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
