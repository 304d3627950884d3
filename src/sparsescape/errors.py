"""What goes wrong in a way that one sentence tells: bad input, and stages that fail."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TypeGuard


class InputError(ValueError):
    """What was given cannot be used; the message is one sentence that says why.

    It is raised before any work is done. The command line prints the sentence and exits with
    status 2.
    """


class StageError(RuntimeError):
    """A stage of a study failed, for a reason that is not bad input.

    The command line prints the message and exits with status 1.
    """


def is_whole(number: object, least: int) -> bool:
    """Whether it is a whole number, of whatever library, and at least so large.

    >>> is_whole(3, 1), is_whole(0, 1), is_whole(2.5, 1)
    (True, False, False)
    """
    return isinstance(number, Integral) and int(number) >= least


def is_real(number: object) -> TypeGuard[float]:
    """Whether it is a real number, of whatever library, finite or not, but not NaN.

    >>> is_real(0.5), is_real("0.5"), is_real(math.nan)
    (True, False, False)
    """
    return isinstance(number, Real) and not math.isnan(number)


def check_steps(least: int = 0, **settings: object) -> None:
    """Refuse settings by name that are no whole numbers of steps, or too few. 7500.0 is whole.

    >>> check_steps(begin=1.5)
    Traceback (most recent call last):
    sparsescape.errors.InputError: begin is a whole number from 0 on, not 1.5.
    """
    for name, number in settings.items():
        whole = int(number) if isinstance(number, float) and number.is_integer() else number
        if not is_whole(whole, least):
            raise InputError(f"{name} is a whole number from {least} on, not {number!r:.60}.")


def check_within(least: float = -math.inf, most: float = math.inf, **settings: object) -> None:
    """Refuse settings by name that are no finite numbers, or are outside these bounds.

    >>> check_within(0, 1, smoothing=2)
    Traceback (most recent call last):
    sparsescape.errors.InputError: smoothing is a number from 0 to 1, not 2.
    """
    for name, number in settings.items():
        fits = isinstance(number, Real) and math.isfinite(number) and least <= float(number) <= most
        if not fits:
            bounds = "" if least == -math.inf else f" from {least}"
            bounds += "" if most == math.inf else f" to {most}"
            raise InputError(f"{name} is a number{bounds}, not {number!r:.60}.")


def shown(value: object) -> str:
    """A wrong argument in a sentence: what it is, or of which class where that takes lines.

    >>> shown("set"), shown(0.5), shown({"0.weight": None})
    ("'set'", '0.5', 'a dict')
    """
    plain = value is None or isinstance(value, (str, Real, type))
    return f"{value!r:.60}" if plain else f"a {type(value).__name__}"


def first_line(error: Exception) -> str:
    """What an error of somebody else's says, in one line.

    >>> first_line(ValueError("no such axis\\n  in line 3")), first_line(ValueError())
    ('no such axis', 'ValueError')
    """
    return (str(error).strip() or type(error).__name__).split("\n")[0]


@contextmanager
def told(what: str) -> Iterator[None]:
    """What code of a user's own says of its input, as an :class:`InputError`.

    Not that memory is lacking, which says nothing of the input.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError) or type(error).__name__ == "OutOfMemoryError":
            raise
        raise InputError(f"{what}: {first_line(error)}") from error


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no table, with the nearest names that are.

    >>> str(unknown("problem", "digit-conv", ["digits-conv", "mnist-lenet5"]))
    "There is no problem named 'digit-conv'; did you mean 'digits-conv'?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}."
    return InputError(f"There is no {kind} named {name!r}; {hint}")
