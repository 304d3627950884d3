"""The code of docs/integrations.md, run in order in a folder of its own."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*pin_memory")
@pytest.mark.parametrize("block", BLOCKS, ids=["transformers", "lightning", "accelerate"])
def test_a_block_runs_and_prints_what_it_says(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(block, {"__name__": "docs"})
    for expected in re.findall(r"print\(.*\)  # (.*)", block):
        assert expected in capsys.readouterr().out.splitlines()
