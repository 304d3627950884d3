"""From the results of an escape study to its tables and sentences."""

from __future__ import annotations

from .. import tables as shared
from ..numbers import (
    MISSING,
    amount,
    count,
    finite,
    number,
    percent,
    percent_interval,
    signed_percent,
    signed_percent_interval,
)
from ..study import Finding
from ..tables import Column, Results, Row, Table, column, interval_column, table, without_empty
from .families import family_of

_NO_BAD_START = (
    "No start is bad: in no seed does training from scratch end above the pruned solution by more "
    "than the margin, 0.01 + 10 % of the pruned loss. So there is nothing to get out of, and no "
    "way was tried."
)


def rows(results: Results) -> dict[str, Row]:
    """Way → its row of the table, in the order of the study."""
    return {row["way"]: row for row in results["table"]}


def bad_flops(results: Results) -> float | None:
    """What the bad solutions' own training cost, in the mean."""
    spent = [s["flops"] for s in results["solutions"] if s["arm"] == "scratch"]
    known = [flops for flops in spent if finite(flops) and flops > 0]
    return sum(known) / len(known) if known else None


def lead(results: Results) -> str:
    """The three verdicts in a sentence."""
    if not results["findings"]:
        return "Nothing was run." if results["unpriced"] else _NO_BAD_START
    out, climbs, knowing = (found["verdict"] for found in results["findings"])
    return (
        f"Of the ways to train on, {out}; that they climb on the way: {climbs}; that knowing how "
        f"many weights to open beats RigL: {knowing}."
    )


def findings(results: Results) -> tuple[Finding, ...]:
    return tuple(Finding.of(found) for found in results["findings"])


def diverged(results: Results) -> tuple[str, ...]:
    """A sentence for each run that was given up, and for each way that was not run for that."""
    runs = (run for run in results["runs"] if run["diverged"])
    return (
        *(f"{run['way']}, seed {run['seed']}: training diverged ({run['run']})." for run in runs),
        *(f"{way}: a pilot diverged, so it was not run." for way in results["unpriced"]),
    )


def facts(results: Results) -> tuple[tuple[str, str], ...]:
    """What is common to all studies, the bad seeds, and what the budget of FLOPs is."""
    given, bad = results["settings"], bad_flops(results)
    absolute = f" ({amount(given['budget'] * bad)})" if bad else ""
    return (
        *shared.facts(results),
        ("Bad solutions", str(len(bad_seeds(results)))),
        ("Budget of FLOPs", f"{given['budget']:g} × the bad solution’s{absolute}"),
    )


def bad_seeds(results: Results) -> list[int]:
    """The seeds whose solution is bad: those that anything is judged by."""
    return sorted({run["seed"] for run in results["runs"] if run["gap"] is not None})


def comparison(results: Results) -> Table:
    """One row per way."""
    unit, family = bad_flops(results), family_of(results)

    def flops(row: Row) -> str:
        mean = row["flops"]["mean"]
        return number(mean / unit) if finite(mean) and unit else MISSING

    columns = [
        column("way", "way"),
        column("n", "n"),
        interval_column("gap closed, %", "closed", percent_interval),
        interval_column("train loss", "train_loss"),
        interval_column("test accuracy, %", "test_accuracy", percent_interval),
        column("verdict", "verdict"),
        Column("left", lambda row: _of(row, "left")),
        Column("arrived", lambda row: _of(row, "arrived")),
        Column("runs that climb", lambda row: _of(row, "climbing")),
        interval_column("climb of the run", "climb"),
        Column(
            "lines that climb", lambda row: f"{row['n'] - row['line_decreasing']} of {row['n']}"
        ),
        interval_column("climb of the line", "line_climb"),
        Column("FLOPs, × bad", flops),
        Column("off budget, %", lambda row: signed_percent(row.get("off"))),
        Column("steps", lambda row: count(row["steps"]["mean"])),
        Column("diverged", lambda row: str(row["diverged"] or MISSING)),
    ]
    full = table(
        "At equal training FLOPs",
        columns,
        rows(results).values(),
        words=1,
        group=lambda row: family[row["way"]],
        note="Over the n seeds whose solution is bad: means ± half the 95 % interval (Student’s "
        "t). The gap is between the training losses of the bad and the pruned solution.",
    )
    return without_empty(full)


def against_rigl(results: Results) -> Table:
    """Every way's gain over RigL at both drop fractions, paired by seed."""
    columns = [
        column("way", "way"),
        column("against", "reference"),
        Column("n", lambda pair: str(pair["gain"]["n"])),
        column("gain, points of the gap", "gain", signed_percent_interval),
        Column("level, %", lambda pair: f"{100 * pair['level']:.4g}"),
        Column(
            "gain in accuracy, points", lambda pair: signed_percent_interval(pair["accuracy_gain"])
        ),
        Column("better in", lambda pair: f"{pair['better']} of {pair['gain']['n']}"),
        column("verdict", "verdict"),
    ]
    return table(
        "Against RigL",
        columns,
        results["comparisons"],
        words=2,
        note="The share of the gap closed minus RigL’s, paired by seed; ± half the interval at the "
        "level that the rule asks for, which is higher where several numbers of weights are tried.",
    )


def ways(results: Results) -> Table:
    """What every way does."""
    columns = [
        column("way", "name"),
        column("what it does", "summary"),
    ]
    return table("Ways", columns, results["ways"], words=2, group=lambda way: way["family"])


def runs(results: Results) -> Table:
    """One row per trained network: the bad and pruned solutions, then every run."""
    columns = [
        column("way", "way"),
        column("run", "run"),
        column("seed", "seed"),
        Column("gap closed, %", lambda row: percent(row.get("closed"))),
        column("train loss", "train_loss", number),
        column("test loss", "test_loss", number),
        column("test accuracy, %", "test_accuracy", percent),
        Column("climb", lambda row: number(row.get("climb"))),
        column("active", "active", count),
        column("training FLOPs", "flops", amount),
        column("steps", "steps", count),
    ]
    ends = [{**s, "way": s["arm"]} for s in results["solutions"]]
    return without_empty(table("Every network", columns, [*ends, *results["runs"]], words=2))


def _of(row: Row, key: str) -> str:
    return f"{row[key]} of {row['n']}"
