"""What a person sees while a command computes: stages, steps, loss and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar

from .numbers import duration


class LiveProgress:
    """A line for the whole command and one for every stage that is under way.

    A study plans in rounds, later stages by the results of earlier ones: so it is told of stages
    with :meth:`expect`, as they become known. Time and stages done are those of all rounds
    together; the time that is left is for what is known so far, and says so.

    Args:
        console: where to draw; where it is no terminal, finished stages are printed, a line each.
        clock: the seconds that have passed, from any beginning.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.console, self.clock = console, clock
        self.labels: dict[str, str] = {}
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.done = 0
        self.tasks: dict[str, TaskID] = {}
        self.live = Live(
            console=console, refresh_per_second=5, transient=True, get_renderable=self.drawn
        )
        self.began = clock()

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

    def expect(self, labels: Mapping[str, str]) -> None:
        """Learn of more stages that have to be done: their keys, and what they are called."""
        self.labels |= labels

    def drawn(self) -> Group:
        """All that is shown at this moment."""
        if not self.labels:
            return Group()
        bar = ProgressBar(total=len(self.labels), completed=self.done, width=40)
        return Group(self.whole(), Padding(bar, 0), self.progress)  # a bar ends no line itself

    def whole(self) -> str:
        """Stages done, the time since the command began, and the time left of what is planned.

        That is the mean time of a stage so far times the stages that are left, those under way
        counted by their steps.
        """
        took, planned = self.clock() - self.began, len(self.labels)
        said = f"{self.done} of {planned} stages planned so far, {duration(round(took))}"
        done = self.done + sum(task.percentage / 100 for task in self.progress.tasks)
        if not 0 < done < planned:
            return said
        return f"{said}; about {duration(round(took / done * (planned - done)))} left of these"

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
        self.done += 1
        if not self.console.is_terminal:
            self.console.print(
                f"[{self.done} of {len(self.labels)} planned, "
                f"{self.clock() - self.began:.0f} s] {self.labels[event['key']]}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
