"""The command that computes a study again, from its settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any


def command(study: str, settings: Any) -> str:
    """``sparsescape study NAME`` with every setting that is not None as its flag.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Settings:
    ...     problem: str = "my file.py:make"
    ...     curve_steps: int = 5
    ...     steps: int | None = None
    ...     methods: tuple[str, ...] = ("set", "rigl")
    >>> command("methods", Settings())
    "sparsescape study methods --problem 'my file.py:make' --curve-steps 5 --methods set rigl"
    """
    return shlex.join(["sparsescape", "study", study, *_flags(settings)])


def _flags(settings: Any) -> Iterator[str]:
    for name, value in asdict(settings).items():
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield from map(str, value if isinstance(value, tuple) else (value,))
