"""From the results of a landscape study to its table and sentences."""

from __future__ import annotations

from .. import tables as shared
from ..numbers import MISSING, finite, number, percent
from ..tables import Column, Results, Row, Table, column, table


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What is common to all studies, and how fine the maps are."""
    given = results["settings"]
    return (
        *shared.facts(results),
        ("Seed", str(given["seed"])),
        ("Points of each map", f"{given['grid']} × {given['grid']}"),
    )


def lead(results: Results) -> str:
    """How many maps there are."""
    drawn = sum(not plane["diverged"] for plane in results["maps"])
    return f"{drawn} maps of the training loss, over the whole training set."


def diverged(results: Results) -> tuple[str, ...]:
    """A sentence for each map that cannot be drawn."""
    return tuple(
        f"{plane['name']}: a run that it needs diverged ({plane['run']})."
        for plane in results["maps"]
        if plane["diverged"]
    )


def maps(results: Results) -> Table:
    """One row per map: what it shows, the loss on it, and what of it lies off the plane."""
    columns = [
        column("map", "name"),
        Column("lowest loss", lambda row: number(min(_losses(row), default=None))),
        Column("highest loss", lambda row: number(max(_losses(row), default=None))),
        Column("farthest off the plane", _off),
        Column("explained by x, %", lambda row: _explained(row, 0)),
        Column("explained by y, %", lambda row: _explained(row, 1)),
    ]
    return table(
        "Maps",
        columns,
        results["maps"],
        words=1,
        note="Training loss over all examples, on the grid. What is marked on a map, or drawn as "
        "a way, may lie off its plane: the largest distance, in the units of weight space.",
    )


def runs(results: Results) -> Table:
    """One row per map: the stage that holds its numbers."""
    columns = [column("map", "name"), column("run", "run")]
    return table("Every map", columns, results["maps"], words=2)


def _losses(row: Row) -> list[float]:
    return [loss for line in row["train_loss"] for loss in line if finite(loss)]


def _off(row: Row) -> str:
    distances = [place["distance"] for place in (*row["marks"], *row["way"])]
    return number(max(distances)) if distances else MISSING


def _explained(row: Row, axis: int) -> str:
    return percent(row["explained"][axis]) if row["explained"] else MISSING
