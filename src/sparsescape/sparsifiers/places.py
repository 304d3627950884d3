"""Places at which weights may be grown, and how some of them are chosen.

``drawn`` chooses so many of them, each choice as likely; ``best`` those of highest score. A list of
a weight's closed positions is longer than the weight: where the active ones are listed, the closed
ones are not, and the n-th of them is found by counting. So both forms draw the same positions from
the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..positions import count_active, distinct, indices_of, marked, searched, taken

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

    @cached_property
    def count(self) -> int:
        return count_active(self.marked)

    def drawn(self, chance: np.random.Generator, count: int) -> Marked:
        """
        >>> places = Marked(torch.tensor([True, False, True]))
        >>> places.drawn(np.random.default_rng(0), 2).marked.tolist()
        [True, False, True]
        """
        places = indices_of(self.marked)
        chosen = ranks(chance, len(places), count).to(places.device)
        return Marked(marked(taken(places, chosen), self.marked.shape))

    def best(self, score: Tensor, count: int, best: Best) -> Marked:
        return Marked(best(score, self.marked, count))


@dataclass(frozen=True)
class Listed:
    """Places as their flat indices, sorted."""

    flat: Tensor

    @property
    def count(self) -> int:
        return len(self.flat)

    def drawn(self, chance: np.random.Generator, count: int) -> Listed:
        chosen = ranks(chance, self.count, count)
        return Listed(self.flat[chosen.to(self.flat.device)].sort().values)

    def best(self, score: Tensor, count: int, best: Best) -> Listed:
        found = score.reshape(-1)[self.flat]
        return Listed(self.flat[best(found, torch.ones_like(found, dtype=torch.bool), count)])


@dataclass(frozen=True)
class Outside:
    """All places of a weight of ``shape`` but those listed, which are sorted."""

    flat: Tensor
    shape: torch.Size

    @property
    def count(self) -> int:
        return self.shape.numel() - len(self.flat)

    def drawn(self, chance: np.random.Generator, count: int) -> Listed:
        """
        >>> places = Outside(torch.tensor([0, 2]), torch.Size((2, 2)))
        >>> places.drawn(np.random.default_rng(0), 2).flat.tolist()
        [1, 3]
        """
        chosen = ranks(chance, self.count, count).to(self.flat.device).sort().values
        before = self.flat - torch.arange(len(self.flat), device=self.flat.device)
        return Listed(chosen + searched(before, chosen, right=True))

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
        values, places = scores[:0].float(), self.flat[:0]
        for start in range(0, len(scores), AT_ONCE):
            some = scores[start : start + AT_ONCE].float()
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
        return Listed(places)


def ranks(chance: np.random.Generator, size: int, count: int) -> Tensor:
    """So many of the numbers from 0 to below ``size``, each choice of them as likely.

    Memory follows their number, but for a small list where they are many of few.
    """
    if size > AT_ONCE and count > size // 20:  # of which numpy would make a list of all
        return distinct(size, count, torch.Generator().manual_seed(int(chance.integers(2**62))))
    chosen: Any = chance.choice(size, count, replace=False, shuffle=False)
    return torch.from_numpy(chosen)
