"""From the results of a methods study to its tables."""

from __future__ import annotations

from .. import tables as shared
from ..numbers import (
    MISSING,
    amount,
    count,
    finite,
    number,
    percent,
    signed_percent,
)
from ..tables import Column, Results, Row, Table, column, interval_column, table, without_empty
from . import standing
from .families import family_of, in_families


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What is common to all studies, how many methods, and what the budget of FLOPs is."""
    given, dense = results["settings"], standing.dense_flops(results)
    own = [("Methods", str(len(results["methods"])))]
    if given.get("distribution"):
        own.append(("Densities", given["distribution"]))
    if given.get("flops"):
        absolute = f" ({amount(given['flops'] * dense)})" if dense else ""
        own.append(("Budget of FLOPs", f"{given['flops']:g} × dense training{absolute}"))
    return (*shared.facts(results), *own)


def comparison(results: Results, budget: str) -> Table:
    """One row per method at one budget: families in their order, the best first in each.

    Training FLOPs are relative to dense training over the recipe's steps, where that was run.
    Columns that hold nothing at all are left out.
    """
    by, dense, family = standing.measure(results), standing.dense_flops(results), family_of(results)
    rows = standing.at(results, budget)
    columns = [
        column("method", "method"),
        column("n", "n"),
        interval_column(by.name, by.key, by.shown),
        interval_column("gain over static", "gain", by.gain_shown),
        interval_column("train loss", "train_loss"),
        Column("sparsity, %", lambda row: percent(_mean(row, "sparsity"), 2)),
        Column("FLOPs, × dense", lambda row: number(_mean(row, "flops") / dense))
        if dense
        else Column("training FLOPs", lambda row: amount(_mean(row, "flops"))),
        Column("off budget, %", lambda row: signed_percent(row.get("off"))),
        Column("steps", lambda row: count(_mean(row, "steps"))),
        Column("diverged", lambda row: str(row["diverged"] or MISSING)),
    ]
    order = [method for members in in_families(results, list(rows)).values() for method in members]
    full = table(
        f"At {standing.BUDGETS[budget]}",
        columns,
        [{**rows[m], "gain": None} if m == standing.REFERENCE else rows[m] for m in order],
        words=1,
        group=lambda row: family[row["method"]],
        note="Means over n seeds ± half the 95 % interval (Student’s t). Gain is "
        f"{by.gain}, paired by seed. Training FLOPs follow each layer’s density as it moves.",
    )
    return without_empty(full)


def runs(results: Results) -> Table:
    """One row per trained network: its numbers, and the stage that holds its points."""
    columns = [
        column("method", "method"),
        Column("budget", lambda row: standing.BUDGETS[row["budget"]]),
        *shared.of_a_run(),
        Column("active", lambda row: count(row.get("active"))),
        column("nonzeros", "nonzeros", count),
        Column("sparsity, %", lambda row: percent(row["sparsity"], 2)),
        column("training FLOPs", "flops", amount),
        column("steps", "steps", count),
    ]
    methods, budgets = list(family_of(results)), list(standing.BUDGETS)

    def place(run: Row) -> tuple[int, int, int]:
        return methods.index(run["method"]), budgets.index(run["budget"]), run["seed"]

    rows = sorted(results["runs"], key=place)
    return without_empty(table("Every network", columns, rows, words=3))


def methods(results: Results) -> Table:
    """What every method does, and whose it is."""
    columns = [
        column("method", "name"),
        column("what it does", "summary"),
    ]
    rows = results["methods"]
    return table("Methods", columns, rows, words=2, group=lambda method: method["family"])


def _mean(row: Row, key: str) -> float:
    mean = (row.get(key) or {}).get("mean")
    return mean if finite(mean) else float("nan")
