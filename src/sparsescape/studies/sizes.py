"""How long a stage is, and the same stage made shorter: what a calibration runs in its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..problems.recipe import Recipe
from .graph import Stage

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """What a stage of some kind takes time in proportion to, beside what it takes once."""

    of: Callable[[Settings], int]
    less: Callable[[Settings, int], dict[str, Any]]
    """The settings of a stage of another size."""
    least: int
    """The smallest size at which what is done once is done as often as at any other."""


def sizes(recipe: Recipe) -> dict[str, Size]:
    """Kind → its size, of the kinds that have one.

    A training run of other steps moves its mask equally often, as long as there are as many steps
    as updates: so those are part of what it takes once.
    """
    moves = -(-recipe.steps // recipe.prune_every)
    trials = Size(
        lambda s: sum(trial["steps"] for trial in s["trials"]), _shorter_trials, least=140
    )
    grid = Size(lambda s: s["grid"] ** 2, lambda s, n: {**s, "grid": math.isqrt(n)}, 25)
    return {
        "train": Size(lambda s: s["steps"] or recipe.steps, _with("steps"), max(20, moves)),
        "fit": Size(lambda s: s["curve_steps"], _with("curve_steps"), 15),
        "find": trials,
        "along": Size(lambda s: len(s["t"]), lambda s, n: {**s, "t": fewer(s["t"], n)}, 4),
        "dimensions": trials,
        "through": grid,
        "around": grid,
        "course": grid,
    }


def _with(name: str) -> Callable[[Settings, int], dict[str, Any]]:
    return lambda settings, size: {**settings, name: size}


def _shorter_trials(settings: Settings, size: int) -> dict[str, Any]:
    share = size / sum(trial["steps"] for trial in settings["trials"])
    trials = [{**trial, "steps": math.ceil(share * trial["steps"])} for trial in settings["trials"]]
    return {**settings, "trials": trials}


def fewer(t: Sequence[float], count: int) -> list[float]:
    """So many of the places on a path, evenly, 0 and 1 among them.

    >>> fewer([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5], 4)
    [0.0, 0.25, 0.75, 1.0]
    """
    others = [s for s in t if s not in (0, 1)]
    kept = min(max(count - 2, 0), len(others))
    chosen = [others[(2 * i + 1) * len(others) // (2 * kept)] for i in range(kept)]
    return sorted([0.0, 1.0, *chosen])


def alike(stage: Stage) -> str:
    """The same for stages that take the same time for their size."""
    apart = {"seed", "t", "from", "curve_steps"} | ({"steps"} if stage.kind == "train" else set())
    settings = {name: value for name, value in stage.settings.items() if name not in apart}
    curve = stage.inputs.get("curve")
    degree = curve.settings.get("degree", curve.kind) if curve else None
    return json.dumps([stage.kind, settings, sorted(stage.inputs), degree], sort_keys=True)


class Shorter:
    """Stages made shorter, with inputs that are as short as can be, all of the same seed."""

    def __init__(self, recipe: Recipe):
        self.sizes = sizes(recipe)
        self._made: dict[tuple[str, int, int], Stage] = {}

    def size(self, stage: Stage) -> int:
        """How long a stage is; 1 of a kind that has no size."""
        sized = self.sizes.get(stage.kind)
        return max(1, sized.of(stage.settings)) if sized else 1

    def least(self, stage: Stage) -> int:
        """The size that a calibration begins with."""
        sized = self.sizes.get(stage.kind)
        return min(sized.least, self.size(stage)) if sized else 1

    def __call__(self, stage: Stage, size: int, seed: int = 0) -> Stage:
        """The stage of another size, for another seed."""
        made = self._made.get((stage.key, size, seed))
        if made is None:
            settings = dict(stage.settings)
            if "seed" in settings:
                settings["seed"] = seed
            if stage.kind in self.sizes:
                settings = self.sizes[stage.kind].less(settings, size)
            inputs = {role: self(s, self.least(s), seed) for role, s in stage.inputs.items()}
            full = self.size(stage)
            label = stage.label if size == full else f"{stage.label} ({size} of {full})"
            made = Stage(stage.kind, settings, inputs, label)
            self._made[stage.key, size, seed] = made
        return made
