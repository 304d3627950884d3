"""One undisturbed run of the difficulty study, which several tests look at."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from sparsescape.cli import main
from sparsescape.studies.store import Store


@dataclass(frozen=True)
class Finished:
    """A finished study: the problem that was named, its store and its results."""

    problem: str
    store: Store
    results: dict[str, Any]

    def file(self, stage: str, name: str) -> Path:
        return self.store.path(stage) / f"{name}.safetensors"


@pytest.fixture(scope="session")
def tiny_problem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A problem file that all share, so that all results name the same one."""
    return tiny.write(tmp_path_factory.mktemp("problem"))


@pytest.fixture(scope="session")
def finished(tiny_problem: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The study of the tiny problem by two worker processes, undisturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert main(tiny.study(tiny_problem, root, "--workers", "2")) == 0
    return Finished(tiny_problem, Store(root), tiny.results(root))


@pytest.fixture
def deadline() -> Iterator[None]:
    """Whatever hangs is an error after a while."""

    def hangs(*_: object) -> None:
        raise TimeoutError("It hangs.")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(int(tiny.DEADLINE))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
