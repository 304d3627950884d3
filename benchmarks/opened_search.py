"""How many passes each list of trials takes until it finds a path with some of the weights opened.

    python benchmarks/opened_search.py [--seeds 3] [--steps 60] [--store runs]

On scratch and pruned solutions of the difficulty study at its defaults (digits-conv, 98 %), inside
the mask; with the 32 and the 300 closed weights of the largest gradient at the start opened; with
1300 at random; with all of them. A path counts where it does not climb at an even stride either
(find_path). The default of extra_dimensions was chosen by this table, and by the planted walls of
tests/landscape/dimensions, which have a way around. The training runs are taken
from the store, or made there. No times are measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

import sparsescape as ss
from search_power import pairs
from sparsescape.landscape.curves.bezier import Line
from sparsescape.landscape.dimensions.openings import Journey, Order, chosen
from sparsescape.landscape.dimensions.trials import default_trials
from sparsescape.landscape.profiles.measures import tolerance
from sparsescape.landscape.search.paths import TRIALS, Method
from sparsescape.points import Point
from sparsescape.problems.catalogue import load

POINTS = 31


def lists(start: Point, end: Point, steps: int, tol: float) -> Mapping[str, tuple[Method, ...]]:
    """Name → trials. Learning rates of Adam are shares of the distance per weight."""
    default = default_trials(start, end, steps, tol / 4)
    mean, climb = default[1:3]
    again = replace(mean, fresh=True)
    far = replace(again, lr=10 * mean.lr)
    return {
        "mean": (mean,),
        "mean far": (far,),
        "mean, climb": (mean, climb),
        "climb, climb far, climb": (climb, replace(climb, lr=far.lr, fresh=True), climb),
        "climb, mean, climb, mean far, climb": (climb, again, climb, far, climb),
        "find_path's own": TRIALS,
        "the default": default,
    }


def spaces(start: Point, end: Point, mask: ss.Mask, objective: ss.Objective) -> Iterator:
    """What is opened, and the subspace with that."""
    journey = Journey(start, end, mask, objective, Line(start, end, subspace=mask), end, 0)
    steep, chance = (Order(mask, chosen(c, journey), tuple(mask)) for c in ("gradient", "random"))
    yield "nothing", mask
    yield "32 by gradient", mask | steep.first(32)
    yield "300 by gradient", mask | steep.first(300)
    yield "1300 at random", mask | chance.first(1300)
    yield "all", mask | steep.first(len(steep))


def table(objective: ss.Objective, start: Point, end: Point, mask: ss.Mask, steps: int) -> None:
    tol = tolerance([objective(start), objective(end)])
    print(f"{'opened':>15}  {'path':>4}  {'passes':>6}  {'climb':>8}  trials", flush=True)
    for opened, subspace in spaces(start, end, mask, objective):
        for name, trials in lists(start, end, steps, tol).items():
            found = ss.find_path(
                start, end, objective, subspace=subspace, trials=trials, points=POINTS, tol=tol
            )
            verdict = "yes" if found.profile.monotone(tol) else "no"
            seen = f"{verdict:>4}  {found.passes:6}  {found.profile.climb:8.4f}"
            print(f"{opened:>15}  {seen}  {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = load("digits-conv")
    objective = problem.objective(problem.make_model(0))
    for seed, start, end, mask in pairs(options.seeds, options.store):
        print(f"\nscratch → pruned, seed {seed}")
        table(objective, start, end, mask, options.steps)


if __name__ == "__main__":
    main()
