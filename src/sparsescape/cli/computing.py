"""What commands share: computing stages in front of the person who waits, and telling of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..studies.executor import Context
    from ..studies.graph import Stage
    from ..studies.store import Store

Distribution = Literal["uniform", "erk", "global"]
Execution = Literal["auto", "masked", "sparse"]


def compute(stages: list[Stage], store: Path, context: Context, workers: int) -> Store:
    """Do the stages that are not done yet, in front of the person who waits."""
    from rich.console import Console

    from ..report.live import LiveProgress
    from ..studies.executor import LocalExecutor
    from ..studies.graph import with_inputs
    from ..studies.store import Store

    kept, executor = Store(store), LocalExecutor(workers)
    missing = {s.key: s.label for s in with_inputs(stages) if not kept.has(s.key)}
    with LiveProgress(Console(stderr=True), missing) as live:
        executor.run(stages, kept, context, live)
    return kept


def tell(results: dict[str, Any], stages: Sequence[Stage], kept: Store) -> None:
    """Write the study's folder and print its tables, its findings and where its page is."""
    from ..report import publish, terminal

    folder = publish.publish(results, stages, kept)
    terminal.print_results(results)
    print(f"\n{folder / 'report.html'}")


def print_metrics(store: Store, key: str) -> None:
    metrics = store.metrics(key)
    for name, value in metrics.items():
        if not isinstance(value, list):
            print(f"{name:15} {value}")
    print(f"{'run':15} {key}")
