"""Iterative magnitude pruning: rounds of training, pruning and rewinding, as stages.

Train dense; then in each round close a fifth of what is left, the smallest of all layers together,
rewind to step k, and train again to the end of the recipe, until the sparsity asked for is reached,
exactly, in the last round. Rewinding is one of two:

- **weights** go back to what they were at step k of the dense run (Frankle et al. 2020, *Linear
  Mode Connectivity and the Lottery Ticket Hypothesis*, section 4; k = 0 is Frankle & Carbin 2019);
- only the **learning rate** goes back to step k, the weights go on (Renda et al. 2020, *Comparing
  Rewinding and Fine-tuning in Neural Network Pruning*, section 2).

One threshold for all layers, a fifth at a time and fresh momentum in each round are those of the
authors' code (``sparse_global.py`` in open_lth); every round sees the batches of steps k, k + 1, …
again. k is 5 % of the steps: the first papers' networks for CIFAR-10 become stable between 1.5 %
and 3 %.
"""

from __future__ import annotations

import math
from typing import Any

from .graph import Stage

REWINDING = {"imp-weight-rewinding": "weights", "imp-lr-rewinding": "learning rate"}
"""Method → what is rewound."""

SHARE = 0.2
"""Of the weights that are left, closed in each round."""

REWIND = 0.05
"""k, as a share of the recipe's steps."""


def rounds(sparsity: float) -> int:
    """How often is pruned: (1 − SHARE)^rounds is at most the density, the last round less.

    >>> rounds(0.0), rounds(0.2), rounds(0.36), rounds(0.98)
    (0, 1, 2, 18)
    """
    return math.ceil(math.log(1 - sparsity) / math.log(1 - SHARE) - 1e-9)


def recipes(sparsity: float) -> float:
    """How many times the recipe's steps all rounds take together.

    >>> recipes(0.36)
    2.9
    """
    return 1 + rounds(sparsity) * (1 - REWIND)


def final(
    method: str, sparsity: float, seed: int, common: dict[str, Any], check: Stage, steps: int | None
) -> Stage:
    """The last round, with all that leads to it among its inputs.

    Args:
        common: the settings that all training stages share: the problem, and what else is common.
        check: the stage that tries the problem.
        steps: of the recipe of each round, where they are not the problem's own.
    """
    common = {**common, "steps": steps, "seed": seed}
    dense = {**common, "method": "dense", "sparsity": 0.0, "distribution": None}
    dense["start"] = "initialization"
    label = f"seed {seed}: {method}"
    early = Stage(
        "train", {**dense, "part": [0, REWIND]}, {"check": check}, f"{label}, to the rewind point"
    )
    run, last = Stage("train", dense, {"check": check}, f"seed {seed}: dense"), rounds(sparsity)
    for number in range(1, last + 1):
        reached = sparsity if number == last else 1 - (1 - SHARE) ** number
        pruned = {"problem": common["problem"], "steps": steps, "distribution": "global"}
        mask = Stage("prune", {**pruned, "sparsity": reached}, {"trained": run}, f"{label}, prune")
        start = early if REWINDING[method] == "weights" else run
        what = {**common, "method": "static", "sparsity": reached, "distribution": None}
        run = Stage(
            "train",
            {**what, "start": "rewound", "part": [REWIND, 1]},
            {"check": check, "mask": mask, "start": start},
            f"{label}, round {number} of {last}",
        )
    return run
