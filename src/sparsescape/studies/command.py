"""The command that computes a study again, from its settings, and what results begin with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..problems import catalogue
from .flags import flag


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


def heading(study: str, settings: Any) -> dict[str, Any]:
    """What every ``results.json`` begins with: which study, of what, and how to repeat it."""
    given = {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(settings).items()}
    return {
        "study": study,
        "schema": 1,
        "command": command(study, settings),
        "settings": given,
        "problem": {"name": settings.problem, **catalogue.describe(settings.problem)},
    }


def _flags(settings: Any) -> Iterator[str]:
    for name, value in asdict(settings).items():
        if value is not None:
            yield flag(name)
            yield from map(str, value if isinstance(value, tuple) else (value,))
