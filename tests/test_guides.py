"""The code in the guides runs, block after block, as a reader would paste it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).parent.parent / "docs"
ELSEWHERE = {"integrations.md", "methods.md", "store.md"}
"""Run by tests of their own, or about files that only a reader has."""


def blocks(guide: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), flags=re.DOTALL)


RUN = [g.name for g in sorted(GUIDES.glob("*.md")) if g.name not in ELSEWHERE and blocks(g)]


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_guide_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "guide"}
    for block in blocks(GUIDES / name):
        exec(block, names)
