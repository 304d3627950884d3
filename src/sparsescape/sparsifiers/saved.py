"""The state of a sparsifier that was saved: whether another one can go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import InputError
from ..masks import Mask
from .masked import read

PARTS = ("step", "counts", "mask", "memory", "fresh")


def check_state(state: object, method: str, optimizers: int) -> None:
    """Refuse what is no state, or that of another method or another number of optimizers."""
    if not isinstance(state, Mapping):
        raise InputError(f"A sparsifier's state is what state_dict gave, not {state!r:.60}.")
    if missing := set(PARTS) - state.keys():
        raise InputError(f"This is no sparsifier's state: it has no {sorted(missing)[0]!r}.")
    if (other := state.get("method", method)) != method:
        raise InputError(f"This is the state of {other}, and {method} cannot go on from it.")
    if (others := len(state["counts"])) != optimizers:
        raise InputError(
            f"This is the state of a run with {others} optimizers, and {method} is attached to "
            f"{optimizers}."
        )


def saved_mask(state: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> Mask:
    """The mask in it, if it is for weights of these shapes."""
    mask = Mask({n: read(t, shapes.get(n, t.shape)) for n, t in state["mask"].items()})
    if mask.shapes != shapes:
        raise InputError("The mask in the state is for other weights than the attached ones.")
    return mask
