"""From how many bad solutions each list of trials finds a path, and with how many passes.

    python benchmarks/opened_search.py [--seeds 5] [--sparsity 0.98] [--passes 1000] [--store runs]

On scratch and pruned solutions of the difficulty study (digits-conv), inside the mask; with the 32
and the 300 closed weights of the largest gradient at the start opened; with 1300 at random; with
all of them. A path counts where it does not climb at an even stride either (find_path). The default
trials were chosen by this table, and by the planted walls of tests/landscape/dimensions, which have
a way around. The training runs are taken from the store, or made there. No times are measured.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

import sparsescape as ss
from search_power import pairs
from sparsescape.landscape.curves.bezier import Line
from sparsescape.landscape.dimensions.openings import Journey, Order, chosen
from sparsescape.landscape.profiles.measures import tolerance
from sparsescape.landscape.search.trials import default_trials
from sparsescape.points import Point
from sparsescape.problems.catalogue import load

POINTS = 31


def lists(passes: int) -> Mapping[str, tuple[ss.Trial, ...]]:
    """Name → trials, each of so many passes."""
    mean = replace(default_trials(passes)[1], reach=None, lr=0.05, optimizer="sgd")
    climb = replace(default_trials(passes)[7], fresh=True)

    def means(reach: float, degrees: tuple[int, ...]) -> tuple[ss.Trial, ...]:
        of = replace(mean, reach=reach, optimizer="adam")
        return tuple(replace(of, degree=degree) for degree in degrees)

    return {
        "mean, cubic, SGD (Garipov)": (mean,),
        "mean at 3, reach 0.05": means(0.05, (3,)),
        "mean at 3, reach 0.015": means(0.015, (3,)),
        "mean at 7, reach 0.015": means(0.015, (7,)),
        "mean at 3, 5, 7, reach 0.05": means(0.05, (3, 5, 7)),
        "mean at 3, 5, 7, reach 0.015": means(0.015, (3, 5, 7)),
        "mean at 3, 5, 7, reach 0.005": means(0.005, (3, 5, 7)),
        "climb at 3, 5, 7, reach 0.05": tuple(
            replace(climb, degree=d, reach=0.05, fresh=d == 3) for d in (3, 5, 7)
        ),
        "the default": default_trials(passes),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sparsity", type=float, default=0.98)
    parser.add_argument("--passes", type=int, default=1000)
    parser.add_argument("--store", type=Path, default=Path("runs"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = load("digits-conv")
    objective = problem.objective(problem.make_model(0))
    spent: dict[tuple[str, str], list[tuple[bool, int]]] = defaultdict(list)
    for _, start, end, mask in pairs(options.seeds, options.store, options.sparsity):
        tol = tolerance([objective(start), objective(end)])
        for opened, subspace in spaces(start, end, mask, objective):
            for name, trials in lists(options.passes).items():
                found = ss.find_path(
                    start, end, objective, subspace=subspace, trials=trials, points=POINTS, tol=tol
                )
                spent[name, opened].append((found.profile.monotone(tol), found.passes))
    opened = list(dict.fromkeys(space for _, space in spent))
    print("| trials | " + " | ".join(opened) + " |")
    print("|---" * (1 + len(opened)) + "|")
    for name in lists(options.passes):
        cells = [_cell(spent[name, space]) for space in opened]
        print(f"| {name} | {' | '.join(cells)} |")


def _cell(made: list[tuple[bool, int]]) -> str:
    """From how many a path was found, and the median of passes, found or not."""
    median = statistics.median(passes for _, passes in made)
    return f"{sum(found for found, _ in made)} of {len(made)}, {median:.0f}"


if __name__ == "__main__":
    main()
