"""What a study tells the report; the page and the terminal are made of this and know no study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scenes import Scene
from .tables import Results, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Finding:
    """One thing that was asked, and what was found."""

    title: str
    verdict: str
    statement: str
    rule: str
    """How the verdict follows from the numbers."""
    basis: tuple[str, ...] = ()
    """What the verdict stands on, as the number of seeds."""
    evidence: tuple[str, ...] = ()

    @staticmethod
    def of(found: Mapping[str, Any]) -> Finding:
        """What stands in ``results.json`` of one finding."""
        return Finding(
            title=found["title"],
            verdict=found["verdict"],
            statement=found["statement"],
            rule=found["rule"],
            basis=(f"n = {found['n']}", seeds_listed(found["seeds"])),
            evidence=tuple(found["evidence"]),
        )


def seeds_listed(seeds: Iterable[int]) -> str:
    """Which seeds speak to a finding, as a page says it.

    >>> seeds_listed([0, 2]), seeds_listed([])
    ('seeds: 0, 2', 'seeds: none')
    """
    return f"seeds: {', '.join(map(str, seeds)) or 'none'}"


@dataclass(frozen=True)
class Reading:
    """What a person is told of one ``results.json``."""

    lead: str
    """The outcome in a sentence, under the title."""
    facts: tuple[tuple[str, str], ...]
    """The few settings that one wants to know first: name and value."""
    findings: tuple[Finding, ...]
    diverged: tuple[str, ...]
    """A sentence for each run that was given up."""
    tables: Mapping[str, Table]
    """Every table of the page, by the name that the study's template calls it."""
    printed: tuple[str, ...]
    """Those of the tables that the terminal shows too."""
    hues: Mapping[str, str]
    """Names that have a colour; a table marks rows and groups so named."""


@dataclass(frozen=True)
class Drawing:
    """A figure, and what is told of it to those who cannot see it."""

    draw: Callable[[Results], Figure]
    description: str


@dataclass(frozen=True)
class Study:
    """A study's room in the report."""

    title: str
    template: str
    """Extends ``skeleton.html.j2``: the sections, in words."""
    figures: Mapping[str, Drawing]
    """By the names of their files."""
    read: Callable[[Results], Reading]
    scenes: Callable[[Results], Mapping[str, Scene]] = lambda _: {}
    """The surfaces that can be turned, by what they are called."""
