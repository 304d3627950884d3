"""What the guide says of problems is what the catalogue has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sparsescape.cli import main
from sparsescape.problems.catalogue import CATALOGUE

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")


def test_the_table_is_what_its_script_prints() -> None:
    words = [sys.executable, str(ROOT / "docs" / "problems.py")]
    said = subprocess.run(words, capture_output=True, text=True, check=True, encoding="utf-8")
    assert said.stdout in GUIDE
    assert said.stdout.count("\n") == 2 + len(CATALOGUE)


def test_the_list_has_a_line_for_each(capsys) -> None:
    assert main(["list", "problems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CATALOGUE)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from sparsescape.problems.catalogue import CATALOGUE, describe;"
        "describe('cifar10-resnet20'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
