"""What a study will take, in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from ..studies.forecast import Expected, Forecast
from .numbers import duration


def print_forecast(found: Forecast, console: Console | None = None) -> None:
    """Print the stages by kind, and what the machines must give."""
    console = console or Console()
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("stages")
    for heading in ("number", "there", "time each", "time", "FLOPs"):
        grid.add_column(heading, justify="right")
    for kind in dict.fromkeys(stage.kind for stage in found.stages):
        grid.add_row(*_row(kind, [s for s in found.stages if s.kind == kind]))
    grid.add_row(*_row("all", found.stages))
    console.print(grid, "")
    for name, value in _lines(found).items():
        console.print(f"{name:24} {value}", highlight=False)


def _row(name: str, stages: tuple[Expected, ...] | list[Expected]) -> list[str]:
    missing = [stage for stage in stages if not stage.done]
    seconds = sum(stage.seconds for stage in missing)
    flops = sum(stage.flops for stage in missing)
    each = duration(seconds / len(missing)) if missing and name != "all" else ""
    done = len(stages) - len(missing)
    return [
        name,
        str(len(stages)),
        str(done),
        each,
        duration(seconds),
        f"{flops:.2e}" if flops else "",
    ]


def _lines(found: Forecast) -> dict[str, str]:
    lines = {
        "parameters": f"{found.parameters}, of which {found.weights} can be sparse",
        "FLOPs of an example": f"{found.step_flops:.2e}, forward and backward, dense",
    }
    if found.memory is not None:
        lines["memory of a worker"] = f"{found.memory / 2**30:.2f} GiB at its peak"
    if found.cpu_hours is not None:
        lines["CPU-hours"] = f"{found.cpu_hours:.3g}"
    lines |= {
        "GPU-hours": f"{found.gpu_hours:.3g}",
        f"time, {found.slots} at once": duration(found.wall),
        "calibration": duration(found.calibration),
    }
    if found.diverged:
        lines["diverged"] = f"{found.diverged} of the short runs: take the times with care"
    return lines
