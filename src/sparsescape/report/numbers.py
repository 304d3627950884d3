"""How numbers are written, in the terminal and on the page alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

MISSING = "–"
"""Stands where there is no finite number."""


def finite(value: Any) -> TypeGuard[float]:
    """Whether there is a number to write: neither null nor NaN nor infinite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def number(value: float | None) -> str:
    """Three significant digits.

    >>> number(0.34821), number(2.3), number(1.2e-5), number(0), number(None)
    ('0.348', '2.30', '1.2e-5', '0', '–')
    """
    if not finite(value):
        return MISSING
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        return _scientific(value)
    return f"{value:.{_decimals(value)}f}"


def duration(seconds: float) -> str:
    """A time as one reads it.

    >>> duration(0.25), duration(95), duration(7260)
    ('0.25 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def interval(of: Mapping[str, Any] | None) -> str:
    """The mean and the half width of its interval, with the mean alone where there is no interval.

    >>> interval({"mean": 0.348, "low": 0.327, "high": 0.369, "n": 3})
    '0.348 ± 0.021'
    >>> interval({"mean": 2.5e-4, "low": 1e-4, "high": 4e-4, "n": 3})
    '2.5e-4 ± 1.5e-4'
    >>> interval({"mean": 1.5, "low": None, "high": None, "n": 1}), interval(None)
    ('1.50', '–')
    """
    if of is None or not finite(of["mean"]):
        return MISSING
    mean = of["mean"]
    if not _has_width(of):
        return number(mean)
    half = (of["high"] - of["low"]) / 2
    if mean == half == 0:
        return "0"
    if 0 < max(abs(mean), half) < 1e-3:
        return f"{_scientific(mean)} ± {_scientific(half)}"
    decimals = min(_decimals(mean), _decimals(half) + 1) if half else _decimals(mean)
    if 0 < half < 0.5 * 10**-decimals:  # it would be written as 0
        return f"{mean:.{decimals}f} ± {_scientific(half)}"
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def signed_interval(of: Mapping[str, Any] | None) -> str:
    """:func:`interval` of a difference.

    >>> signed_interval({"mean": 0.348, "low": 0.327, "high": 0.369, "n": 3})
    '+0.348 ± 0.021'
    >>> signed_interval({"mean": -1.5, "low": None, "high": None, "n": 1})
    '−1.50'
    """
    text = interval(of)
    if text == MISSING:
        return text
    return f"−{text[1:]}" if text.startswith("-") else f"+{text}"


def percent(share: float | None, decimals: int = 1) -> str:
    """A share of 1 as a percentage, without its sign.

    >>> percent(0.97812), percent(0.97812, 2), percent(1.0), percent(None)
    ('97.8', '97.81', '100.0', '–')
    """
    return f"{share * 100:.{decimals}f}" if finite(share) else MISSING


def signed_percent(share: float | None) -> str:
    """A difference as a share of 1, in whole percent, without its sign of percent.

    >>> signed_percent(1.634), signed_percent(-0.07), signed_percent(None)
    ('+163', '−7', '–')
    """
    return f"{share * 100:+.0f}".replace("-", "−") if finite(share) else MISSING


def percent_interval(of: Mapping[str, Any] | None) -> str:
    """The mean and the half width of the interval of a share of 1, as percentages.

    >>> percent_interval({"mean": 0.97812, "low": 0.96912, "high": 0.98712, "n": 3})
    '97.8 ± 0.9'
    """
    if of is None or not _has_width(of):
        return percent(of["mean"] if of else None)
    return f"{percent(of['mean'])} ± {percent((of['high'] - of['low']) / 2)}"


def signed_percent_interval(of: Mapping[str, Any] | None) -> str:
    """The mean and half width of a difference of two shares of 1, in points.

    >>> signed_percent_interval({"mean": 0.01234, "low": 0.00834, "high": 0.01634, "n": 3})
    '+1.23 ± 0.40'
    >>> signed_percent_interval({"mean": -0.01, "low": None, "high": None, "n": 1})
    '−1.00'
    """
    if of is None or not finite(of["mean"]):
        return MISSING
    mean = f"{of['mean'] * 100:+.2f}".replace("-", "−")
    return f"{mean} ± {(of['high'] - of['low']) * 50:.2f}" if _has_width(of) else mean


def count(value: float | None) -> str:
    """A whole number, its thousands set apart by a narrow space that does not break.

    >>> count(272), count(13584.0) == "13\N{NARROW NO-BREAK SPACE}584", count(None)
    ('272', True, '–')
    """
    if not finite(value):
        return MISSING
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def amount(value: float | None) -> str:
    """Three digits and an SI prefix.

    >>> amount(1.234e9), amount(98_000), amount(12), amount(None)
    ('1.23 G', '98.0 k', '12', '–')
    """
    if not finite(value):
        return MISSING
    for exponent, prefix in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**exponent:
            return f"{number(value / 10**exponent)} {prefix}"
    return f"{value:.0f}"


def _has_width(of: Mapping[str, Any]) -> bool:
    return finite(of["low"]) and finite(of["high"])


def _decimals(value: float) -> int:
    """How many decimals show three significant digits."""
    if value == 0:
        return 3
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"
