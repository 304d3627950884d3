"""What the pages of results share: finished studies of a store, and tables as Markdown."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from sparsescape.studies.store import Store, read_json


def finished(root: str, study: str, problem: str) -> list[Path]:
    """The folders of all finished studies of that kind and problem."""
    folders = Store(root).studies()
    return [
        folder for folder in folders if _is_of(read_json(folder / "results.json"), study, problem)
    ]


def _is_of(results: dict[str, Any], study: str, problem: str) -> bool:
    return results["study"] == study and results["problem"]["name"] == problem


def machine(folder: Path) -> str:
    """When, with what and on what a study was computed."""
    provenance = read_json(folder / "provenance.json")
    stage = next(iter(provenance["stages"].values()))
    return (
        f"Written {provenance['written'][:10]}; sparsescape {stage['sparsescape']}, torch "
        f"{stage['torch']}, Python {stage['python']}, {stage['processor']}, "
        f"{stage['threads']} thread per stage."
    )


def figures(folder: Path, names: Collection[str] | None = None) -> str:
    """The figures of a study, or those of these names, copied beside the pages."""
    kept = Path(__file__).parent / "figures"
    lines = []
    for figure in sorted(folder.glob("figures/*.png")):
        if names is not None and figure.stem not in names:
            continue
        kept.mkdir(exist_ok=True)
        name = f"{folder.name}-{figure.name}"
        shutil.copyfile(figure, kept / name)
        lines.append(f"![{figure.stem}](figures/{name})")
    return "\n".join(lines) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
