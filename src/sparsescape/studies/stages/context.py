"""Where things are and how stages are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError


@dataclass(frozen=True)
class Context:
    """Where things are and how stages are run: nothing that decides a result."""

    problem: str
    """As :func:`sparsescape.problems.catalogue.load` takes it."""
    data_root: str | None = None
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints of a stage."""
    rehearse: bool = False
    """Whether a worker does its first stage of each kind twice, and times the second."""
    device: str = "auto"
    """As :func:`sparsescape.problems.catalogue.load` takes it."""

    methods: Sequence[str] = ()
    """Those that were asked for, as :func:`sparsescape.sparsifiers.catalogue.make_method` takes
    them: where the file of a stage's method is found."""

    def __post_init__(self) -> None:
        if not self.checkpoint_every >= 0:
            raise InputError(f"--checkpoint-every is 0 or more, not {self.checkpoint_every}.")
