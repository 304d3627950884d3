"""Text as a stream of tokens, of which each predicts the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import Batch, Examples
from ..errors import InputError
from ..seeds import Draw


@dataclass(frozen=True, eq=False)
class Windows(Examples):
    """Windows of a stream: inputs (n, length), and targets, the same moved on by one token.

    Evaluated are the windows that lie end to end. In training each is moved on by a number of
    tokens that is drawn anew at every step, below its length, so that every token is seen in every
    place.

    >>> stream = Windows(torch.arange(7), length=3)
    >>> inputs, targets = next(iter(stream))
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])

    Raises:
        InputError: the stream is too short for a window.
    """

    tokens: Tensor
    length: int
    moved: bool = True

    def __post_init__(self) -> None:
        if len(self.tokens) <= self.length:
            raise InputError(
                f"The text has {len(self.tokens)} tokens: too few for a window of {self.length}."
            )

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def read(self, chosen: Tensor, draw: Draw) -> Batch:
        starts = chosen * self.length
        if self.moved:
            draws = draw.generator("windows")
            starts = starts + torch.randint(self.length, starts.shape, generator=draws)
            starts = starts.clamp(max=len(self.tokens) - 1 - self.length)
        places = starts[:, None] + torch.arange(self.length + 1)
        window = self.tokens[places.to(self.tokens.device)].long()
        return window[:, :-1], window[:, 1:]

    @property
    def plain(self) -> Windows:
        return replace(self, moved=False)

    def to(self, device: str | torch.device) -> Windows:
        return replace(self, tokens=self.tokens.to(device))
