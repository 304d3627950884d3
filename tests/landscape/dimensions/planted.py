"""Objectives with a wall between the ends, and exactly so many dimensions that help around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

import sparsescape as ss


class Weights(nn.Module):
    """A model that returns its weights, so that a loss is a function on weight space."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.travel = nn.Parameter(torch.zeros(1, 1))
        self.rest = nn.Parameter(torch.zeros(rows, columns))

    def forward(self, inputs: Tensor) -> Tensor:
        flat = torch.cat([self.travel.reshape(-1), self.rest.reshape(-1)])
        return flat.expand(len(inputs), -1)


def shortfall_squared(raised: Tensor) -> Tensor:
    """(1 − h)², averaged: each one that stays down leaves its share of the wall."""
    return (1 - raised).square().mean()


def shortfall_saturating(raised: Tensor) -> Tensor:
    """1 − min(h, 1), averaged: raising one further does not make up for another."""
    return (1 - raised).relu().mean()


def shortfall_of_the_lowest(raised: Tensor) -> Tensor:
    """1 − min over h: the wall stands as high as the one that was raised least."""
    return (1 - raised).relu().amax()


@dataclass(frozen=True)
class Planted:
    """L = drop·(1 − x)/2 + height·exp(−(x/width)²)·shortfall(h) + useless²: x from −1 to 1.

    A path may keep its loss up on the way to the wall, by raising weights late, and come down only
    there: all that help are needed only where one that stays down leaves a wall above the drop.

    Args:
        helpful: how many weights lower the wall.
        distance: between the ends.
        reach: how far a helpful weight must be raised.
        examples: of the data, which are all alike.
    """

    helpful: int
    height: float = 1.0
    drop: float = 0.5
    width: float = 0.5
    distance: float = 2.0
    reach: float = 1.0
    closed: int = 60
    shortfall: Callable[[Tensor], Tensor] = shortfall_squared
    scattered: int = 7
    examples: int = 4

    @cached_property
    def where(self) -> Tensor:
        """Flat positions of the helpful weights, scattered over all closed ones."""
        order = torch.randperm(self.closed, generator=torch.Generator().manual_seed(self.scattered))
        return order[: self.helpful]

    def loss(self, weights: Tensor) -> Tensor:
        x, rest = weights[0] / (self.distance / 2), weights[1:]
        raised = rest[self.where] / self.reach
        wall = self.height * torch.exp(-((x / self.width) ** 2)) * self.shortfall(raised)
        return (
            self.drop * (1 - x) / 2
            + wall
            + 0.01 * (rest * (1 - self.score["rest"].reshape(-1))).square().sum()
        )

    @property
    def objective(self) -> ss.Objective:
        data = torch.zeros(self.examples, 1), torch.zeros(self.examples)
        model = Weights(self.closed // 10, 10)
        return ss.Objective(model, data, lambda weights, _: self.loss(weights[0]))

    @property
    def ends(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        rest = torch.zeros(self.closed // 10, 10)
        half = self.distance / 2
        return tuple({"travel": torch.full((1, 1), x), "rest": rest} for x in (-half, half))

    @property
    def mask(self) -> ss.Mask:
        closed = torch.zeros(self.closed // 10, 10, dtype=torch.bool)
        return ss.Mask({"travel": torch.ones(1, 1, dtype=torch.bool), "rest": closed})

    @cached_property
    def score(self) -> dict[str, Tensor]:
        """A user's own: the helpful ones first."""
        flat = torch.zeros(self.closed)
        flat[self.where] = 1.0
        return {"rest": flat.reshape(-1, 10)}
