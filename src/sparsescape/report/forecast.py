"""What a study will take, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from ..studies.forecast import Expected, Forecast
from .numbers import duration

WORDS = {
    "check": "try the problem",
    "train": "train a network",
    "prune": "prune a network",
    "fit": "search for a path",
    "find": "search by many trials",
    "along": "evaluate along a path",
    "diagnose": "diagnose a run",
    "through": "map through solutions",
    "around": "map around a solution",
    "course": "map the course of a run",
    "spectra": "find eigenvalues",
    "dimensions": "count dimensions",
}
"""Kind of stage → what it does."""


def print_forecast(found: Forecast, console: Console | None = None) -> None:
    """Print what is foretold and from what, the stages by kind, and what the machines must give."""
    console = console or Console()
    console.print(f"{_basis(found)}\n", highlight=False)
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("kind of stage", vertical="bottom")
    for heading in (
        "stages",
        "done\nbefore",
        "time of\none",
        "time of all,\nin turn",
        "FLOPs\nof all",
    ):
        grid.add_column(heading, justify="right", vertical="bottom")
    for kind in dict.fromkeys(stage.kind for stage in found.stages):
        grid.add_row(*_row(WORDS[kind], [s for s in found.stages if s.kind == kind]))
    grid.add_row(*_row("all", found.stages))
    console.print(grid, "")
    for name, value in _lines(found).items():
        console.print(f"{name:15} {value}", highlight=False)


def _basis(found: Forecast) -> str:
    """What the numbers are, and what they come from."""
    if all(stage.done for stage in found.stages):
        return "Every stage of the study is in the store already: it is answered from there."
    if found.rate is not None:
        return (
            "What the study would take, by arithmetic: nothing was run but one batch, whose "
            "operations were counted. A stage takes its floating-point operations (FLOPs), closed "
            f"weights included, at the {found.rate:.3g} a second of --plan-rate, and nothing else."
        )
    return (
        "What the study would take: a prediction, nothing of it is done yet. "
        f"{found.short_runs} of its stages were run for a short time, in "
        f"{duration(round(found.calibration))} altogether; what they took is scaled to the length "
        "of each stage, on these machines as busy as they were meanwhile."
    )


def _row(name: str, stages: Sequence[Expected]) -> list[str]:
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
    together = "1 stage at a time" if found.slots == 1 else f"{found.slots} stages side by side"
    lines = {"time to the end": f"{duration(found.wall)}, with {together}"}
    if found.cpu_hours is not None:
        lines["processor time"] = f"{found.cpu_hours:.3g} CPU-hours, of all stages together"
    if found.gpus:
        each = f"{found.gpus:g} GPU" + ("" if found.gpus == 1 else "s")
        lines["GPU time"] = f"{found.gpu_hours:.3g} GPU-hours, {each} for each stage"
    if found.memory:
        lines["memory"] = f"{found.memory / 2**30:.2f} GiB at most, for each stage that is running"
    lines["the network has"] = (
        f"{found.parameters} parameters, of which {found.weights} can be sparse"
    )
    lines["one example"] = (
        f"{found.step_flops:.2e} FLOPs (floating-point operations), forward and backward"
    )
    if any(stage.kind == "dimensions" and not stage.done for stage in found.stages):
        lines["at the least"] = (
            "counting dimensions ends where a path is found, between short runs often at once; "
            "between the whole ones it may take ten times what is said here, and more"
        )
    if found.diverged:
        lines["take with care"] = f"{found.diverged} of the short runs diverged: no finite loss"
    return lines
