"""What ``sparsescape study difficulty --plan`` foretells, against what the study then takes.

    python benchmarks/forecast.py                                  # the digits
    python benchmarks/forecast.py mnist-lenet300 --data-root data --steps 3000

Each problem is foretold, done, and foretold again, one after the other on the same machine: the
CPU time of all stages together, and the time from beginning to end, which on a machine that others
use too is theirs as well. Prints both forecasts over what it took; 1 is exact.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sparsescape.studies import difficulty
from sparsescape.studies.executors.local import LocalExecutor
from sparsescape.studies.forecast import Forecast, Forecaster, temporary
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store, read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", default=["digits-conv", "digits-mlp"])
    parser.add_argument("--data-root")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--curve-steps", type=int, default=1000)
    parser.add_argument("--points", type=int, default=61)
    given = parser.parse_args()
    print("problem          CPU time: foretold / took        to the end: foretold / took")
    for problem in given.problems:
        context = Context(problem, given.data_root)
        stages = planned(problem, given)
        with tempfile.TemporaryDirectory() as folder:
            before = foretold(stages, context, Path(folder, "before"))
            took, whole = done(stages, context, Path(folder, "study"))
            after = foretold(stages, context, Path(folder, "after"))
        cpu = [3600 * found.cpu_hours for found in (before, after)]
        print(
            f"{problem:16} {cpu[0]:6.0f} s, {cpu[1]:.0f} s / {took:.0f} s"
            f" = {cpu[0] / took:.2f}, {cpu[1] / took:.2f}"
            f"   {before.wall:6.0f} s, {after.wall:.0f} s / {whole:.0f} s"
            f" = {before.wall / whole:.2f}, {after.wall / whole:.2f}"
            f"   (calibrations: {before.calibration:.0f} s, {after.calibration:.0f} s)",
            flush=True,
        )


def planned(problem: str, given: argparse.Namespace) -> list[Stage]:
    settings = difficulty.Settings(
        problem, 0.98, "erk", given.seeds, given.steps, given.curve_steps, 0.05, given.points
    )
    return [stage for seed in difficulty.plan(settings) for stage in seed.all()]


def foretold(stages: list[Stage], context: Context, root: Path) -> Forecast:
    store, executor = Store(root), LocalExecutor()
    rehearsed = replace(context, rehearse=True)
    with temporary(store) as folder:
        forecaster = Forecaster(
            store,
            context,
            executor,
            lambda runs, short: executor.run(runs, short, rehearsed, lambda event: None),
            Path(folder),
        )
        forecaster.do(stages)
        return forecaster.forecast()


def done(stages: list[Stage], context: Context, root: Path) -> tuple[float, float]:
    """CPU seconds of all stages together, and seconds from beginning to end."""
    store, began = Store(root), time.perf_counter()
    LocalExecutor().run(stages, store, context, lambda event: None)
    whole = time.perf_counter() - began
    keys = [stage.key for stage in with_inputs(stages)]
    return sum(read_json(store.path(k) / "provenance.json")["cpu_seconds"] for k in keys), whole


if __name__ == "__main__":
    main()
