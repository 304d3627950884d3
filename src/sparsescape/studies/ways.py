"""The ways out of a bad solution that the escape study compares: each a training run's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .stages.openings import MEASURED

_SAME, _MOVE, _OPEN, _DENSE = "same mask", "drop and grow", "open and prune back", "dense detour"


@dataclass(frozen=True)
class Way:
    """A way to train on: a method of the catalogue, and what its run is set to beyond that."""

    name: str
    family: str
    summary: str
    method: str = "static"
    start: str = "point"
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)
    open: int | float | str | None = None
    """How many weights it opens: a count or a share, where it is one of those that are compared by
    how many they open."""

    @property
    def measured(self) -> bool:
        """Whether it opens as many weights as were measured to be needed."""
        return self.more.get("options", {}).get("open") == MEASURED


def all_ways(
    opened: Iterable[int | float | str], noise: float, constant_lr: float
) -> tuple[Way, ...]:
    """Every way, the cheapest idea first."""
    return (
        Way(
            "continue",
            _SAME,
            f"training on at a constant learning rate, {constant_lr:g} of the recipe's",
            more={"constant_lr": constant_lr},
        ),
        Way("restart", _SAME, "the recipe's learning rates once more (warm restart)"),
        Way(
            "noise",
            _SAME,
            f"noise of {noise:g} × the root mean square of each layer's active weights, then as "
            "restart",
            more={"noise": noise},
        ),
        Way(
            "re-initialize",
            _SAME,
            "forget the solution: fresh weights at the scale of the sparse fan-in",
            start="fresh-sparse-fan-in",
        ),
        Way("set", _MOVE, "SET from the mask: drop the smallest, grow at random", "set"),
        Way("rigl", _MOVE, "RigL from the mask: drop the smallest, grow by gradient", "rigl"),
        Way(
            "rigl 0.1",
            _MOVE,
            "RigL that moves a tenth of the weights at first, in place of 0.3",
            "rigl",
            more={"options": {"drop_fraction": 0.1}},
        ),
        *(_escape(count, layers) for layers in ("kept", "free") for count in opened),
        Way("detour", _DENSE, "open everything, prune gradually anew", "gradual-magnitude"),
        Way("ac/dc", _DENSE, "dense and sparse phases in turn", "acdc"),
    )


def _escape(count: int | float | str, layers: str) -> Way:
    what = count if isinstance(count, str) else f"{count} weights"
    if isinstance(count, float):
        what = f"{100 * count:g} %"
    kept = layers == "kept"
    return Way(
        f"open {what}" if kept else f"open {what}, free",
        _OPEN,
        f"in rounds: open {what} of the closed weights by gradient, train, prune back"
        if kept
        else "the same, over all layers together: weights may move between them",
        "escape",
        more={"options": {"open": count, "layers": layers}},
        open=count if kept else None,
    )
