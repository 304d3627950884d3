"""The programs that write the pages of docs/results, run on made-up results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "results"

_PROVENANCE = {
    "written": "2026-01-02T03:04:05+00:00",
    "stages": {
        "train-1": {
            "sparsescape": "0.1", "torch": "2", "python": "3", "processor": "x", "threads": 1,
        },
    },
}  # fmt: skip


def written(results: dict[str, Any], store: Path) -> str:
    """What the program of that study prints for a store that holds these results alone."""
    folder = store / f"{results['study']}-0"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(_PROVENANCE), encoding="utf-8")
    words = [str(FOLDER / f"{results['study']}.py"), str(store), results["problem"]["name"]]
    ended = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return ended.stdout
