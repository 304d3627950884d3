"""Layers that a mask leaves without weights."""

from __future__ import annotations

import warnings
from typing import Literal

from torch import Size, Tensor

from ..errors import InputError
from ..positions import Positions, count_active
from .holding import Held


class LayerCollapse(UserWarning):
    """A layer lost all its weights, or those of a slice that it divides by the norm of.

    The message names it.
    """


def check_collapse(
    name: str,
    held: Held,
    active: Tensor | Positions,
    norm: Size | None,
    on_collapse: Literal["warn", "raise"],
) -> int:
    """How many weights a mask leaves a layer.

    Args:
        norm: the shape of the weight's norms, where it is normalized.

    Raises:
        InputError: they are none, and ``on_collapse`` says so.
    """
    count = active.count if isinstance(active, Positions) else count_active(active)
    if not count:
        _say(f"The layer {name!r} has lost all its weights.", on_collapse)
    elif norm is not None and not held.own(active).sum_to_size(norm).all():
        _say(
            f"The layer {name!r} is normalized, and in a slice of it no weight is left: NaN.",
            on_collapse,
        )
    return count


def _say(message: str, on_collapse: Literal["warn", "raise"]) -> None:
    if on_collapse == "raise":
        raise InputError(message)
    warnings.warn(message, LayerCollapse, stacklevel=3)
