"""One of several ranks that train; started by ``test_ranks``.

With a step to stop at, the second run is interrupted there, after its checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sparsescape.studies import single
from sparsescape.studies.executors.together import RanksExecutor
from sparsescape.studies.graph import Stage
from sparsescape.studies.stages.context import Context
from sparsescape.studies.store import Store
from sparsescape.training.ranks import Ranks, process_group


def runs(problem: str, parallel: str) -> tuple[Stage, Stage]:
    """The run that is left alone, and the one that is interrupted."""
    common = {"sparsity": 0.7, "distribution": "erk", "steps": None, "parallel": parallel}
    return (
        single.training(problem, method="gradual-magnitude", seed=0, **common),
        single.training(problem, method="rigl", seed=1, **common),
    )


def stop_at(step: int) -> None:
    draw = Ranks.draw

    def stopped(self: Ranks, seed: int, now: int) -> None:
        if now == step:
            raise KeyboardInterrupt
        draw(self, seed, now)

    Ranks.draw = stopped


def train(problem: str, parallel: str, store: str, stop: str) -> list[dict]:
    """What the executor told of both runs."""
    events: list[dict] = []

    def run(stage: Stage) -> None:
        context = Context(problem, checkpoint_every=0.0)
        RanksExecutor(parallel).run([stage], Store(store), context, events.append)

    whole, interrupted = runs(problem, parallel)
    run(whole)
    if stop != "no":
        stop_at(int(stop))
    try:
        run(interrupted)
    except KeyboardInterrupt:
        events.append({"event": "stopped"})
    return events


def main() -> None:
    problem, parallel, store, meeting, rank, world, stop = sys.argv[1:]
    place = {"init_method": f"file://{meeting}", "rank": int(rank), "world_size": int(world)}
    with process_group("gloo", **place):
        events = train(problem, parallel, store, stop)
    Path(f"{meeting}.{rank}.json").write_text(json.dumps(events))


if __name__ == "__main__":
    main()
