"""Which patterns of active weights are allowed: functions from scores and a count to a mask.

A structure is a function ``f(scores, count)`` that returns a bool tensor with ``count`` active
positions of high score. Equal scores go to the lower flat index.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError, is_whole
from ..selection import top

Structure = Callable[[Tensor, int], Tensor]


def check_structure(structure: object) -> None:
    """Refuse what is none."""
    if not callable(structure):
        raise InputError(
            "A structure is a function of scores and a count, as ss.structures.n_of_m(2, 4), not "
            f"{structure!r:.60}."
        )


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


def n_of_m(n: int, m: int) -> Structure:
    """N:M: of each ``m`` consecutive inputs the ``n`` of highest score; the count follows.

    Inputs are consecutive along the weight's second dimension (input features or channels), as
    the sparse tensor cores ask (Mishra et al. 2021, *Accelerating Sparse Deep Neural Networks*,
    section 3; Zhou et al. 2021, section 3.1).

    Raises:
        InputError: n is not between 1 and m, or a weight's inputs are no multiple of m.

    >>> n_of_m(2, 4)(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2).int().tolist()
    [[0, 1, 0, 1]]
    """
    if not (is_whole(n, 1) and is_whole(m, 1) and n <= m):
        raise InputError(f"Of each {m} weights 1 to {m} can be kept, not {n}.")

    def choose(scores: Tensor, count: int) -> Tensor:
        if scores.shape[1] % m:
            raise InputError(
                f"A weight of shape {tuple(scores.shape)} has {scores.shape[1]} inputs, which is "
                f"no multiple of {m}; name it dense."
            )
        inputs_last = scores.movedim(1, -1)
        chosen = per_row(inputs_last.reshape(-1, m), [n] * (scores.numel() // m))
        return chosen.reshape(inputs_last.shape).movedim(-1, 1)

    return choose


def blocks(height: int, width: int) -> Structure:
    """Blocks of outputs × inputs, chosen by the sum of their scores.

    A block covers ``height`` × ``width`` of a weight's first two dimensions, and all of the
    others (the taps of a kernel). As many blocks are chosen as come nearest to the count; at the
    lower and right edge they may be smaller (Narang et al. 2017, *Block-Sparse Recurrent Neural
    Networks*, section 3).

    >>> scores = torch.tensor([[1.0, 1.0, 0.0, 5.0], [1.0, 1.0, 0.0, 0.0]])
    >>> blocks(2, 2)(scores, 4).int().tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    if not (is_whole(height, 1) and is_whole(width, 1)):
        raise InputError(f"A block has at least one weight, not {height} × {width}.")

    def choose(scores: Tensor, count: int) -> Tensor:
        rows, columns = scores.shape[:2]
        flat = scores.detach().reshape(rows, columns, -1).sum(2)
        padded = torch.nn.functional.pad(flat, (0, -columns % width, 0, -rows % height))
        sums = padded.unflatten(1, (-1, width)).unflatten(0, (-1, height)).sum((1, 3))
        chosen = top(sums, round(count / (scores.numel() / sums.numel())))
        spread = chosen.repeat_interleave(height, 0).repeat_interleave(width, 1)[:rows, :columns]
        return spread.reshape(rows, columns, *[1] * (scores.ndim - 2)).expand(scores.shape).clone()

    return choose
