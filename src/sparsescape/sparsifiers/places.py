"""Places at which weights may be grown, and how some of them are chosen.

``drawn`` chooses so many of them, each choice as likely; ``best`` those of highest score. A list of
a weight's closed positions is longer than the weight: where the active ones are listed, the closed
ones are not. Positions are drawn from all of the weight's, and those passed over that are none of
the places; where that would take long, the places are counted off. So all forms draw the same
positions from the same random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..compilation import works
from ..errors import InputError
from ..positions import are_in, count_active, distinct, indices_of, marked
from ..selection import rankable

Flat: TypeAlias = npt.NDArray[np.int64]

Best: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""What marks the highest of some scores among those allowed: (scores, allowed, count) → bool."""

AT_ONCE = 1 << 22
"""So many scores are looked at at a time."""


class Places(Protocol):
    """A set of places."""

    @property
    def count(self) -> int: ...

    def drawn(self, chance: np.random.Generator, count: int) -> Places: ...

    def best(self, score: Tensor, count: int, best: Best) -> Places: ...


@dataclass(frozen=True)
class Marked:
    """Places of a dense weight, marked in a bool tensor of its shape."""

    marked: Tensor

    @property
    def size(self) -> int:
        return self.marked.numel()

    @cached_property
    def count(self) -> int:
        return count_active(self.marked)

    def drawn(self, chance: np.random.Generator, count: int) -> Marked:
        """
        >>> places = Marked(torch.tensor([True, False, True]))
        >>> places.drawn(np.random.default_rng(0), 2).marked.tolist()
        [True, False, True]
        """
        return drawn(self, chance, count)

    def first_of(self, some: Flat, count: int) -> Marked:
        bits = self.marked.reshape(-1).cpu().numpy()
        if not works():
            flat = first_allowed(some, bits[some], count)
            return self.numbered_at(flat)
        from ..marks import mark_first

        chosen = np.zeros(self.size, dtype=np.bool_)
        mark_first(some, bits.view(np.uint8), count, chosen.view(np.uint8))
        return Marked(torch.from_numpy(chosen).view(self.marked.shape).to(self.marked.device))

    def numbered(self, ranks: Flat) -> Marked:
        return self.numbered_at(indices_of(self.marked).cpu().numpy()[ranks])

    def numbered_at(self, flat: Flat) -> Marked:
        return Marked(marked(torch.from_numpy(flat).to(self.marked.device), self.marked.shape))

    def best(self, score: Tensor, count: int, best: Best) -> Marked:
        return Marked(best(score, self.marked, count))


@dataclass(frozen=True)
class Listed:
    """Places as their flat indices, sorted."""

    flat: Tensor
    size: int
    """How many positions there are, of which these are some."""

    @property
    def count(self) -> int:
        return len(self.flat)

    def drawn(self, chance: np.random.Generator, count: int) -> Listed:
        return drawn(self, chance, count)

    def first_of(self, some: Flat, count: int) -> Listed:
        inside = are_in(torch.from_numpy(some), self.flat.cpu()).numpy()
        return _listed(self, first_allowed(some, inside, count))

    def numbered(self, ranks: Flat) -> Listed:
        return _listed(self, self.flat.cpu().numpy()[np.sort(ranks)])

    def best(self, score: Tensor, count: int, best: Best) -> Listed:
        found = score.reshape(-1)[self.flat]
        chosen = best(found, torch.ones_like(found, dtype=torch.bool), count)
        return Listed(self.flat[chosen], self.size)


@dataclass(frozen=True)
class Outside:
    """All places of a weight of ``shape`` but those listed, which are sorted."""

    flat: Tensor
    shape: torch.Size

    @property
    def size(self) -> int:
        return self.shape.numel()

    @property
    def count(self) -> int:
        return self.size - len(self.flat)

    def drawn(self, chance: np.random.Generator, count: int) -> Listed:
        """
        >>> places = Outside(torch.tensor([0, 2]), torch.Size((2, 2)))
        >>> places.drawn(np.random.default_rng(0), 2).flat.tolist()
        [1, 3]
        """
        return drawn(self, chance, count)

    def first_of(self, some: Flat, count: int) -> Listed:
        inside = are_in(torch.from_numpy(some), self.flat.cpu()).numpy()
        return _listed(self, first_allowed(some, ~inside, count))

    def numbered(self, ranks: Flat) -> Listed:
        flat, ranks = self.flat.cpu().numpy(), np.sort(ranks)
        return _listed(self, ranks + np.searchsorted(flat - np.arange(len(flat)), ranks, "right"))

    def best(self, score: Tensor, count: int, best: Best) -> Listed:
        """Looks at some scores at a time, and makes nothing else of their number.

        Raises:
            InputError: there is not one score for each position of the dense weight.
        """
        if score.shape != self.shape:
            raise InputError(
                f"On a truly sparse layer a grow score has the shape of the dense weight, "
                f"{tuple(self.shape)}, not {tuple(score.shape)}."
            )
        scores = score.reshape(-1)
        values, places = rankable(scores[:0]), self.flat[:0]
        for start in range(0, len(scores), AT_ONCE):
            some = rankable(scores[start : start + AT_ONCE])
            allowed = torch.ones_like(some, dtype=torch.bool)
            first, last = torch.searchsorted(
                self.flat, self.flat.new_tensor([start, start + len(some)])
            ).tolist()
            allowed[self.flat[first:last] - start] = False
            found = indices_of(best(some, allowed, count))
            values = torch.cat([values, some[found]])
            places = torch.cat([places, found + start])
            if len(values) > count:
                kept = best(values, torch.ones_like(values, dtype=torch.bool), count)
                values, places = values[kept], places[kept]
        return Listed(places, self.size)


def _listed(places: Listed | Outside, flat: Flat) -> Listed:
    return Listed(torch.from_numpy(flat).to(places.flat.device), places.size)


Chosen = TypeVar("Chosen", bound=Places, covariant=True)


class Drawable(Protocol[Chosen]):
    """Places that can be drawn from."""

    @property
    def size(self) -> int:
        """How many positions there are, of which these are some."""
        ...

    @property
    def count(self) -> int: ...

    def first_of(self, some: Flat, count: int) -> Chosen:
        """The first so many, or fewer, of some positions that are among them, without repeats."""
        ...

    def numbered(self, ranks: Flat) -> Chosen:
        """Those of some ranks among them."""
        ...


def drawn(places: Drawable[Chosen], chance: np.random.Generator, count: int) -> Chosen:
    """So many of the places, each choice as likely."""
    size, room = places.size, places.count
    if not count or 2 * count > room or 8 * room < size:
        return places.numbered(ranks(chance, room, count).numpy())
    some = _positions(chance, size, room, count)
    while (chosen := places.first_of(some, count)).count < count:
        some = np.append(some, _positions(chance, size, room, count - chosen.count))
    return chosen


def _positions(chance: np.random.Generator, size: int, room: int, count: int) -> Flat:
    """Positions out of all, of which so many different ones of ``room`` places, and most likely a
    few more, are among them."""
    on_average = -size * math.log1p(-count / room)
    return chance.integers(size, size=int(on_average + 4 * math.sqrt(on_average) + 8))


def first_allowed(some: Flat, allowed: npt.NDArray[np.bool_], count: int) -> Flat:
    """The first so many different ones of some numbers that are allowed, sorted.

    >>> first_allowed(np.array([9, 3, 9, 5, 1]), np.array([True, True, True, False, True]), 2)
    array([3, 9])
    """
    at = np.flatnonzero(allowed)
    order = np.sort(some[at] * len(some) + at)  # by number, then by when it came
    numbers, came = np.divmod(order, max(len(some), 1))
    once = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    numbers, came = numbers[once], came[once]
    if len(numbers) <= count:
        return numbers
    return numbers[came <= np.partition(came, count - 1)[count - 1]]


def ranks(chance: np.random.Generator, size: int, count: int) -> Tensor:
    """So many of the numbers from 0 to below ``size``, each choice of them as likely.

    Memory follows their number, but for a small list where they are many of few.
    """
    if size > AT_ONCE and count > size // 20:  # of which numpy would make a list of all
        return distinct(size, count, torch.Generator().manual_seed(int(chance.integers(2**62))))
    chosen: Any = chance.choice(size, count, replace=False, shuffle=False)
    return torch.from_numpy(chosen)
