"""What a store of 10 000 finished stages costs: to list, to resume, to report.

    python benchmarks/store.py [--stages 10000]

The stages are those of one methods study, with made-up numbers in the place of training: resuming
it finds all of them done, gathers its results and prints its tables; the first time it also draws
its figures, with a dot for every run. Every command is a process of its own, so importing is part
of its time, which is CPU time. A tenth of the stages is timed beside all of them: what is linear
costs at most ten times as much.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from sparsescape.studies import methods
from sparsescape.studies.graph import Stage, with_inputs
from sparsescape.studies.store import Store, write_json

METHODS = ("snip", "grasp", "synflow", "one-shot", "gradual-magnitude", "set", "rigl", "mest")
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stages", type=int, default=10_000)
    given = parser.parse_args()
    print("stages   list runs   resume and tell   draw the report as well")
    with tempfile.TemporaryDirectory() as folder:
        for count in (given.stages // 10, given.stages):
            seeds = count // (len(METHODS) + 2)  # and dense and static, which are always there
            root = Path(folder, str(count))
            made = fill(Store(root), seeds)
            listed = least(["list", "runs", "--store", str(root)])
            drawn = seconds(study(root, seeds))
            told = least(study(root, seeds))
            print(f"{made:6}   {listed:7.2f} s   {told:13.2f} s   {drawn:13.2f} s", flush=True)


def fill(store: Store, seeds: int) -> int:
    """Leave every stage of the study as if it had been done; returns how many there are."""
    settings = methods.Settings("digits-conv", 0.9, "erk", seeds, None, 0.0, METHODS)
    cells = methods.equal_steps(settings)
    stages = with_inputs([cell.stage for cell in cells])
    for number, stage in enumerate(stages):
        finish(store, stage, number / len(stages))
    return len(stages)


def finish(store: Store, stage: Stage, value: float) -> None:
    out = store.partial(stage.key)
    losses = ("initial_loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    counts = {"active": 1358, "nonzeros": 1358, "weights": 13_584, "steps": 2000, "flops": 1e10}
    metrics = {**dict.fromkeys(losses, value), **counts, "sparsity": 0.9, "diverged": False}
    write_json(out / "stage.json", stage.description)
    write_json(out / "metrics.json", metrics)
    write_json(out / "provenance.json", {"began": 0.0, "seconds": value})
    store.finish(stage.key)


def study(root: Path, seeds: int) -> list[str]:
    words = ["study", "methods", "--flops", "0", "--seeds", str(seeds), "--store", str(root)]
    return [*words, "--methods", *METHODS]


def least(words: list[str]) -> float:
    """Seconds of the command, the least of some: what else runs on the machine only adds."""
    return min(seconds(words) for _ in range(REPEATS))


def seconds(words: list[str]) -> float:
    """CPU time of the command: it waits for nobody, so on a machine of its own that is its time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "sparsescape", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
