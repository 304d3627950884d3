"""From the results of a dimensions study to its tables and sentences."""

from __future__ import annotations

from .. import tables as shared
from ..numbers import MISSING, count, finite, number, percent, percent_interval
from ..study import Finding
from ..tables import Column, Results, Row, Table, column, table, without_empty


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What is common to all studies, the sparsities, and how hard was searched."""
    given = results["settings"]
    shown = ", ".join(f"{s * 100:.4g} %" for s in given["sparsity"])
    common = shared.facts({**results, "settings": {**given, "sparsity": None}})
    own = [("Sparsity", shown), ("Passes per curve", str(given["search_passes"]))]
    return (*common, *own, ("Precision of counts", f"{given['precision'] * 100:.3g} %"))


def lead(results: Results) -> str:
    """How many starts count, from how many a path inside was found, and what the others took.

    >>> inside = {"counts": False, "bad": True, "diverged": False, "passes_inside": 960}
    >>> lead({"starts": [inside, {**inside, "passes_inside": 480}], "table": []})
    '0 of 2 starts count. From 2 a path was found with nothing opened, after 480 to 960 passes.'
    """
    starts = results["starts"]
    took = [
        f"at {row['sparsity'] * 100:.4g} %, {row['choice']} {written(row)}"
        for row in results["table"]
        if row["choice"] in ("random", "gradient") and row["n"]
    ]
    said = f"{sum(start['counts'] for start in starts)} of {len(starts)} starts count"
    said += f"; opened weights: {'; '.join(took)}." if took else "."
    inside = [s["passes_inside"] for s in starts if _is_inside(s)]
    if not inside:
        return said
    least, most = count(min(inside)), count(max(inside))
    passes = least if least == most else f"{least} to {most}"
    return f"{said} From {len(inside)} a path was found with nothing opened, after {passes} passes."


def _is_inside(start: Row) -> bool:
    """Whether a path inside the mask leads out of a bad start."""
    return start["bad"] and not start["counts"] and not start["diverged"]


def written(row: Row) -> str:
    """A count over seeds: its geometric mean and interval, and how many have none.

    >>> of = {"mean": 40.0, "low": 20.0, "high": 80.0, "n": 3}
    >>> written({"n": 4, "reached": 3, "count": of})
    '40 [20, 80], no number in 1 of 4'
    >>> written({"n": 1, "reached": 0, "count": {"mean": None, "low": None, "high": None, "n": 0}})
    'no number in 1 of 1'
    """
    of, parts = row["count"], []
    if finite(of["mean"]):
        reach = finite(of["low"]) and finite(of["high"])
        ends = f" [{count(of['low'])}, {count(of['high'])}]" if reach else ""
        parts.append(count(of["mean"]) + ends)
    if row["reached"] < row["n"]:
        parts.append(f"no number in {row['n'] - row['reached']} of {row['n']}")
    return ", ".join(parts) or MISSING


def counts(results: Results) -> Table:
    """One row per sparsity and choice."""
    columns = [
        column("opened first", "choice"),
        column("n", "n"),
        Column("opened weights", written),
        Column("of the closed, %", lambda row: percent(row["fraction"]["mean"], 2)),
        Column("of the squared gradient, %", lambda row: percent(row["gradient_share"]["mean"], 2)),
        Column("each seed", _each),
        column("passes", "passes", count),
    ]
    return table(
        "Opened weights",
        columns,
        results["table"],
        words=1,
        group=_sparsity,
        note="Geometric mean [95 % interval, Student’s t of the logarithms] over the seeds that "
        "have a count; “none”: no number of opened weights was enough for this search. The squared "
        "gradient is that of the closed weights at the start. Passes are "
        "forward and backward passes over a batch, over all searches and seeds.",
    )


def layers(results: Results) -> Table:
    """One row per sparsity and layer: where the room is used, and whether it is enough alone."""
    columns = [
        column("layer", "layer"),
        column("n", "n"),
        column("of the opened, %", "opened_share", percent_interval),
        column("of the closed, %", "closed_share", percent_interval),
        Column("opened where it alone may be", written),
        Column("each seed", _each),
    ]
    return table(
        "Layers",
        columns,
        results["layers"],
        words=1,
        group=_sparsity,
        note="Weights with the largest gradient at the start are opened first: shares are of what "
        "is open at the answer, in whatever layer; then the same search with one layer alone.",
    )


def starts(results: Results) -> Table:
    """One row per sparsity and seed: whether it is a start to get out of."""
    columns = [
        column("seed", "seed"),
        column("scratch loss", "scratch", number),
        column("pruned loss", "pruned", number),
        column("climb inside", "climb_inside", number),
        column("passes inside", "passes_inside", count),
        Column("counts", _why),
    ]
    return table(
        "Starts",
        columns,
        results["starts"],
        words=1,
        group=_sparsity,
        note="A start counts if scratch is worse than pruned by more than 0.01 + 10 % of its loss, "
        "and no search found a path inside the mask.",
    )


def searches(results: Results) -> Table:
    """One row per search: the bounds it ended with, and the stage that holds its path."""
    columns = [
        column("opened first", "choice"),
        Column("in", lambda row: row["layer"] or "all layers"),
        column("run", "run"),
        column("seed", "seed"),
        Column("opened", lambda row: "none" if row["count"] is None else count(row["count"])),
        Column("failed with", lambda row: count(row.get("failed"))),
        Column("closed", lambda row: count(row.get("closed"))),
        Column("tolerance", lambda row: number(row.get("tolerance"))),
        column("passes", "passes", count),
    ]
    full = table("Every search", columns, results["searches"], words=3, group=_sparsity)
    return without_empty(full)


def findings(results: Results) -> tuple[Finding, ...]:
    """What was asked, the verdict, and the seeds that speak to it."""
    return tuple(Finding.of(found) for found in results["findings"])


def diverged(results: Results) -> tuple[str, ...]:
    """A sentence for each start that was given up."""
    return tuple(
        f"At {start['sparsity'] * 100:.4g} %, seed {start['seed']}: a training diverged."
        for start in results["starts"]
        if start["diverged"]
    )


def _sparsity(row: Row) -> str:
    return f"{row['sparsity'] * 100:.4g} % sparse"


def _each(row: Row) -> str:
    return ", ".join("none" if k is None else count(k) for k in row["counts"]) or MISSING


def _why(row: Row) -> str:
    if row["counts"]:
        return "yes"
    if row["diverged"]:
        return "no: diverged"
    return "no: a path inside" if _is_inside(row) else "no: as good as pruned"
