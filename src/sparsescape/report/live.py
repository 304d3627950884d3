"""What a person sees while a study runs: stages, steps, loss and the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class LiveProgress:
    """A line for the whole study and one for every stage that is under way.

    Args:
        console: where to draw; where it is no terminal, finished stages are printed, a line each.
        labels: key of each stage that has to be done → what it is called.
    """

    def __init__(self, console: Console, labels: Mapping[str, str]):
        self.console, self.labels = console, labels
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.total = self.progress.add_task("stages", total=len(labels), note="")
        self.tasks: dict[str, TaskID] = {}
        self.live = Live(self.progress, console=console, refresh_per_second=5, transient=True)
        self.began = time.monotonic()

    def __enter__(self) -> LiveProgress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event of an executor."""
        {"begun": self._begun, "step": self._step, "done": self._done}[event["event"]](event)

    def _begun(self, event: Mapping[str, Any]) -> None:
        key = event["key"]
        if key in self.tasks:  # begun again, since its worker died
            self.progress.remove_task(self.tasks.pop(key))
        self.tasks[key] = self.progress.add_task(self.labels[key], total=None, note="")

    def _step(self, event: Mapping[str, Any]) -> None:
        note = f"step {event['step'] + 1}, loss {float(event['loss']):.4f}"
        self.progress.update(
            self.tasks[event["key"]], completed=event["step"] + 1, total=event["steps"], note=note
        )

    def _done(self, event: Mapping[str, Any]) -> None:
        self.progress.remove_task(self.tasks.pop(event["key"]))
        self.progress.advance(self.total)
        if not self.console.is_terminal:
            done = int(self.progress.tasks[0].completed)
            seconds = time.monotonic() - self.began
            self.console.print(
                f"[{done}/{len(self.labels)}, {seconds:.0f} s] {self.labels[event['key']]}",
                highlight=False,
                markup=False,
            )
