"""Which patterns of active weights are allowed: functions from scores and a count to a mask.

A structure is a function ``f(scores, count)`` that returns a bool tensor with ``count`` active
positions of high score. Equal scores go to the lower flat index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, is_whole
from ..masks import Mask
from ..selection import top

Structure = Callable[[Tensor, int], Tensor]


def unstructured(scores: Tensor, count: int) -> Tensor:
    """Any positions: the ``count`` highest scores.

    >>> unstructured(torch.tensor([[1.0, 3.0], [2.0, 3.0]]), 2).int().tolist()
    [[0, 1], [0, 1]]
    """
    return top(scores, count)


def fan_in(scores: Tensor, count: int) -> Tensor:
    """Constant fan-in: each output unit keeps its count / units highest scores.

    What does not divide evenly goes, one each, to the first units (Lasby et al. 2024, *Dynamic
    Sparse Training with Structured Sparsity*, section 3).

    >>> fan_in(torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]]), 2).int().tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    each, extra = divmod(count, len(scores))
    return per_row(scores, [each + (row < extra) for row in range(len(scores))])


def per_row(scores: Tensor, counts: list[int]) -> Tensor:
    """The highest scores of each row, as many as the row's count says."""
    rows = scores.detach().flatten(1)
    order = rows.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    )
    limit = torch.tensor(counts, device=rows.device).reshape(-1, 1)
    return (rank < limit).reshape(scores.shape)


@dataclass(frozen=True)
class NofM:
    """What :func:`n_of_m` makes."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if not (is_whole(self.n, 1) and is_whole(self.m, 1) and self.n <= self.m):
            raise InputError(f"Of each {self.m} weights 1 to {self.m} can be kept, not {self.n}.")

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        if scores.shape[1] % self.m:
            raise InputError(
                f"A weight of shape {tuple(scores.shape)} has {scores.shape[1]} inputs, which is "
                f"no multiple of {self.m}; name it dense."
            )
        inputs_last = scores.movedim(1, -1)
        groups = inputs_last.reshape(-1, self.m)
        chosen = per_row(groups, [self.n] * len(groups))
        return chosen.reshape(inputs_last.shape).movedim(-1, 1)


def n_of_m(n: int, m: int) -> NofM:
    """N:M: of each ``m`` consecutive inputs the ``n`` of highest score.

    The count follows: every layer keeps n/m of its weights, whatever the distribution, and the
    sparsity that is asked for is 1 − n/m. Inputs are consecutive along the weight's second
    dimension (input features or channels), as the sparse tensor cores ask (Mishra et al. 2021,
    *Accelerating Sparse Deep Neural Networks*, section 3; Zhou et al. 2021, section 3.1).

    Raises:
        InputError: n is not between 1 and m, or a weight's inputs are no multiple of m.

    >>> n_of_m(2, 4)(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).int().tolist()
    [[0, 1, 0, 1]]
    """
    return NofM(n, m)


@dataclass(frozen=True)
class Blocks:
    """What :func:`blocks` makes."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if not (is_whole(self.height, 1) and is_whole(self.width, 1)):
            raise InputError(f"A block has at least one weight, not {self.height} × {self.width}.")

    def __call__(self, scores: Tensor, count: int) -> Tensor:
        (rows, columns), (height, width) = scores.shape[:2], (self.height, self.width)
        flat = scores.detach().reshape(rows, columns, -1).sum(2)
        padded = torch.nn.functional.pad(flat, (0, -columns % width, 0, -rows % height))
        sums = padded.unflatten(1, (-1, width)).unflatten(0, (-1, height)).sum((1, 3))
        chosen = top(sums, round(count / (scores.numel() / sums.numel())))
        spread = chosen.repeat_interleave(height, 0).repeat_interleave(width, 1)[:rows, :columns]
        return spread.reshape(rows, columns, *[1] * (scores.ndim - 2)).expand(scores.shape).clone()

    def are_alike(self, shape: torch.Size) -> bool:
        """Whether all blocks of a weight are of one size, none smaller at an edge."""
        sides = zip(shape, (self.height, self.width), strict=False)
        return all(length <= side or length % side == 0 for length, side in sides)


def blocks(height: int, width: int) -> Blocks:
    """Blocks of outputs × inputs, chosen by the sum of their scores.

    A block covers ``height`` × ``width`` of a weight's first two dimensions, and all of the
    others (the taps of a kernel). As many blocks are chosen as come nearest to the count; at the
    lower and right edge they may be smaller, but where a mask moves, and its count is to stay, all
    of a weight are of one size (Narang et al. 2017, *Block-Sparse Recurrent Neural Networks*,
    section 3).

    >>> scores = torch.tensor([[1.0, 1.0, 0.0, 5.0], [1.0, 1.0, 0.0, 0.0]])
    >>> blocks(2, 2)(scores, 4).int().tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    return Blocks(height, width)


# ---------------------------------------------------------------------------- which go where

BLOCKS, N_OF_M, FAN_IN, OWN = "blocks", "N:M", "constant fan-in", "a pattern of one's own"
ANY = (BLOCKS, N_OF_M, FAN_IN, OWN)


def kind_of(structure: Structure) -> str:
    """What it is called.

    >>> kind_of(n_of_m(2, 4)), kind_of(lambda scores, count: scores > 0)
    ('N:M', "a pattern of one's own")
    """
    if isinstance(structure, Blocks):
        return BLOCKS
    if isinstance(structure, NofM):
        return N_OF_M
    return FAN_IN if structure is fan_in else OWN


def check_structure(structure: object, taken: tuple[str, ...], by: object) -> None:
    """Refuse what is no structure, or is of a kind that a method does not take.

    Args:
        taken: the kinds it takes.
        by: the method.
    """
    if not callable(structure):
        raise InputError(
            "A structure is a function of scores and a count, as ss.structures.n_of_m(2, 4), not "
            f"{structure!r:.60}."
        )
    if structure is unstructured or kind_of(structure) in taken:
        return
    name, kind = type(by).__name__, kind_of(structure)
    if not taken:
        raise InputError(f"{name} takes no structure, and it was given {kind}.")
    raise InputError(f"{name} takes {' or '.join(taken)}, not {kind}.")


def check_density(structure: Structure, sparsity: float) -> None:
    """Refuse a sparsity that an N:M pattern has not."""
    if isinstance(structure, NofM) and abs(structure.n / structure.m - (1 - sparsity)) > 1e-6:
        raise InputError(
            f"{structure.n}:{structure.m} has a sparsity of {1 - structure.n / structure.m:.6g}, "
            f"not {sparsity:.6g}."
        )


def check_movable(structure: Structure, mask: Mask) -> None:
    """Refuse a first mask that cannot move in whole blocks, or in groups of N:M."""
    if not isinstance(structure, (Blocks, NofM)):
        return
    for name, shape in mask.shapes.items():
        active = mask[name]
        full = isinstance(structure, Blocks) and bool(active.all())
        if isinstance(structure, Blocks) and not full and not structure.are_alike(shape):
            raise InputError(
                f"{name!r} of shape {tuple(shape)} is not made of whole blocks of "
                f"{structure.height} × {structure.width}, so they cannot move: name it dense."
            )
        if not torch.equal(structure(active.float(), int(active.sum())), active):
            raise InputError(f"The first mask of {name!r} is not of the structure, {structure}.")
