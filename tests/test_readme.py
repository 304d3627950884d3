"""The README's code and commands, run as a reader would run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM = Path(sysconfig.get_path("scripts")) / "sparsescape"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("sparsescape ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would be: a folder with the file that the README shows."""
    folder = tmp_path_factory.mktemp("readme")
    source = next(block for block in blocks("python") if block.startswith("# my_problem.py"))
    (folder / "my_problem.py").write_text(source, encoding="utf-8")
    return folder


def test_the_python_of_the_readme_runs_in_order_and_says_what_it_says(folder: Path) -> None:
    source = "\n".join(b for b in blocks("python") if not b.startswith("# my_problem.py"))
    said = run([sys.executable, "-W", "error", "-c", source], folder).stdout.splitlines()
    promised = re.findall(r"print\(sparsifier.mask\)  # (.*)", README)
    assert said[0] == promised[0]
    climb, barrier, monotone = said[1].split()
    assert float(climb) >= 0
    assert float(barrier) >= 0
    assert monotone in ("True", "False")


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_works(command: str, folder: Path) -> None:
    said = run([str(PROGRAM), *shlex.split(command)[1:]], folder)
    assert said.stdout.strip()


def test_ci_runs_the_two_lines_that_the_readme_begins_with() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    first, second = (block.strip().split(" && ") for block in blocks("sh")[:2])
    for part in (*first, *second):
        assert part.replace("pip install", "pip install --quiet") in script or part in script


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done
