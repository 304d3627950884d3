"""The objective at many points that are combinations of a few, as those of a curve are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ...evaluation import Evaluation, Tally
from ...kernels.execution import compressed, support
from ...objective import Half, Objective
from ...points import Point

KEPT = 32 * 2**20
"""Bytes of the first layer's outputs that are kept at a time, a batch more at most."""

Products = tuple[list[Tensor], Tensor]
"""The first layer's outputs on a batch, of every corner, and the batch's targets."""


def evaluate_combinations(
    objective: Objective,
    corners: Sequence[Point],
    mixes: Sequence[Sequence[float]],
    point: Callable[[int], Point],
) -> tuple[list[Evaluation], tuple[str, ...]]:
    """Loss and accuracy at Σ_k c_k·θ_k, for every mix c of the corners θ; and the weights of the
    layers that were run sparse for it.

    A first layer that is linear is linear in the corners too: its products with the data, which
    are most of what a perceptron costs, are taken once for each corner instead of once for each
    point (:meth:`Objective.halves`). They are kept in blocks of :data:`KEPT` bytes, and every point
    is evaluated on a block before the next one is made. Up to rounding it is what
    ``objective.evaluate`` says of each point, which is asked where there is no such layer, or no
    fewer corners than points; there a network whose corners leave little of it is run sparse
    (:mod:`sparsescape.kernels.execution`).

    Args:
        objective: over all of its data.
        corners: points that are combined.
        mixes: the coefficients of each point, one for every corner.
        point: from the number of a mix to its point, buffers included.
    """
    halves = objective.halves() if len(mixes) > len(corners) else None
    if halves is None:
        return _one_by_one(objective, corners, (point(number) for number in range(len(mixes))))
    first, rest = halves
    tallies = [Tally(objective.loss) for _ in mixes]
    for block in _blocks(_products(objective, first, corners)):
        for number, (mix, tally) in enumerate(zip(mixes, tallies, strict=True)):
            here = point(number)
            for products, targets in block:
                tally.add(rest(here, _mixed(mix, products)), targets)
    penalties = (objective.penalty(point(number)) for number in range(len(mixes)))
    return [tally.evaluation(p) for tally, p in zip(tallies, penalties, strict=True)], ()


def _one_by_one(
    objective: Objective, corners: Sequence[Point], points: Iterable[Point]
) -> tuple[list[Evaluation], tuple[str, ...]]:
    """Each point by itself; all of them run sparse where the corners leave little."""
    form = compressed(objective, support(corners))
    if form is None:
        return [objective.evaluate(point) for point in points], ()
    return [form.objective.evaluate(form.into(point)) for point in points], tuple(form.mask)


def _products(objective: Objective, first: Half, corners: Sequence[Point]) -> Iterator[Products]:
    for inputs, targets in objective.batches():
        yield [first(corner, inputs) for corner in corners], targets


def _blocks(batches: Iterator[Products]) -> Iterator[list[Products]]:
    block: list[Products] = []
    size = 0
    for products, targets in batches:
        block.append((products, targets))
        size += sum(p.nbytes for p in products)
        if size >= KEPT:
            yield block
            block, size = [], 0
    if block:
        yield block


@torch.no_grad()
def _mixed(mix: Sequence[float], products: Sequence[Tensor]) -> Tensor:
    """Σ_k c_k·z_k, without the terms of no weight: at an end of a curve it is that end's to the
    bit."""
    used = [(c, z) for c, z in zip(mix, products, strict=True) if c]
    if not used:
        return torch.zeros_like(products[0])
    (weight, product), *others = used
    mixed = weight * product
    for weight, product in others:
        mixed.add_(product, alpha=weight)
    return mixed
