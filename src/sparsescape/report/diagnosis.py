"""A diagnosis in the terminal: the verdict, what it rests on, what to try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_STYLES = {"good enough": "bold green", "undecided": "bold yellow"}
_BOTH = {
    "coordinates": "coordinates",
    "gradient": "gradient norm",
    "rms": "its root mean square",
}
_INSET = (0, 0, 0, 3)


def print_diagnosis(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a diagnosis.

    Args:
        found: what stands in the ``metrics.json`` of its stage.
        console: where to; standard output unless given.
    """
    console = console or Console()
    if found["diverged"]:
        console.print(Text("diverged: there is no point to diagnose; lower the learning rate"))
        return
    style = _STYLES.get(found["verdict"], "bold red")
    confidence = (f"  confidence: {found['confidence']}", "dim")
    console.print(Text.assemble((found["verdict"], style), confidence))
    console.print(Padding(Text(found["meaning"]), _INSET))
    for condition in found["evidence"]:
        console.print(Padding(Text(f"· {condition['text']}"), _INSET))
    for space in ("sparse", "dense"):
        if path := found[f"{space}_path"]:
            console.print(Padding(Text(f"· {_path(space, path)}"), _INSET))
    _print_others(found, console)
    console.print(_slopes(found["stationarity"]), "", _layers(found["stationarity"]), "")
    console.print(Text("Try", style="bold"))
    for remedy in found["try"]:
        console.print(Padding(Text(remedy["why"]), _INSET))
        for label, line in (("", remedy["command"]), ("in Python: ", remedy["code"])):
            if line:  # whole, however long: it is there to be copied
                said = Text.assemble(f"      {label}", (line, "cyan"))
                console.print(said, soft_wrap=True)


def _path(space: str, path: Mapping[str, Any]) -> str:
    climb = "infinite" if path["climb"] is None else f"{path['climb']:.4g}"
    tries = len(path["attempts"])
    return (
        f"best {space} path to the reference: climb {climb} (tolerance {path['tolerance']:.2g}; "
        f"{tries} tries, {path['passes']} passes)"
    )


def _print_others(found: Mapping[str, Any], console: Console) -> None:
    console.print()
    for ruled in found["ruled_out"]:
        sentence = f"not {ruled['verdict']}: {ruled['text']}"
        console.print(Padding(Text(sentence, style="dim"), _INSET))
    if found["open"]:
        sentence = f"open without --reference: {', '.join(found['open'])}"
        console.print(Padding(Text(sentence, style="yellow"), _INSET))
    console.print()


def _slopes(s: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "inside the mask", "outside", "dense"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, title in _BOTH.items():
        cells = [f"{s[f'{name}_{where}']:.4g}" for where in ("inside", "outside")]
        table.add_row(title, *cells, "")
    for name in ("largest", "smallest"):
        cells = [
            f"{s[f'{name}_{where}']:.4g} ± {s['bounds'][f'{name}_{where}']:.1g}"
            for where in ("inside", "dense")
        ]
        table.add_row(f"{name} eigenvalue", cells[0], "", cells[1])
    return table


def _layers(s: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("layer", "units", "dead", "signal variance"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for signal in s["signals"]:
        dead = f"{100 * signal['dead']:.0f} %"
        table.add_row(signal["layer"], str(signal["units"]), dead, f"{signal['variance']:.3g}")
    return table
