"""What the settings of a study may be, told in the words of the flags that set them."""

from __future__ import annotations

import math

from ..errors import InputError


def flag(name: str) -> str:
    """The flag of a setting.

    >>> flag("curve_steps")
    '--curve-steps'
    """
    return f"--{name.replace('_', '-')}"


def check_sparsity(sparsity: float) -> None:
    """Raise :class:`InputError` unless it is from 0 to below 1."""
    if not 0 <= sparsity < 1:
        raise InputError(f"Sparsity is a number from 0 to below 1, not {sparsity}.")


def check_sparse(sparsity: float) -> None:
    """Raise :class:`InputError` unless it is above 0 and below 1: something has to be closed."""
    if not 0 < sparsity < 1:
        raise InputError(f"Sparsity is a number above 0 and below 1, not {sparsity}.")


def check_at_least(settings: object, **least: int) -> None:
    """Raise :class:`InputError` if a setting that is given is less than this."""
    for name, low in least.items():
        value = getattr(settings, name)
        if value is not None and value < low:
            raise InputError(f"{flag(name)} is at least {low}, not {value}.")


def check_above_zero(settings: object, *names: str) -> None:
    """Raise :class:`InputError` unless each of these settings is above 0 and finite."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise InputError(f"{flag(name)} is above 0 and finite, not {value}.")
