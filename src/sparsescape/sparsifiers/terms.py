"""The gradient over all positions of truly sparse layers, for the steps that ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..errors import InputError
from .gradients import STEPPED, Sample, at_end_of_backward
from .nonzeros import Nonzeros

Term: TypeAlias = Callable[[], Tensor]


@dataclass
class _Summed:
    grad: Tensor  # the weight's own gradient, which is the terms' sum at its positions
    version: int  # of its data, when the pass was over
    terms: list[Term]
    sample: Sample  # of the gradient


class Terms:
    """Keeps what the gradient is the sum of, instead of the sum.

    A term is the outer product of a layer's inputs and output gradients in one backward pass; those
    are kept, which takes the memory of the layer's activations. The sum over the micro-batches of a
    step, and over the ranks of DistributedDataParallel, is made when it is asked for: of one weight
    at a time, so that no two are there at once. Nothing is kept between the steps that ask.
    """

    def __init__(self) -> None:
        self._told: dict[str, list[Term]] = {}  # in the pass under way
        self._accumulated: dict[str, Tensor] = {}  # likewise: weights whose gradient is there
        self._summed: dict[str, _Summed] = {}

    def told(self, name: str, term: Term) -> None:
        """To be called in a backward pass with a term of a weight's gradient."""
        if not self._told:
            at_end_of_backward(self._end)
        self._told.setdefault(name, []).append(term)

    def accumulated(self, name: str, weight: Tensor) -> None:
        """To be called when a backward pass has added to ``weight.grad``.

        Raises:
            InputError: an optimizer has stepped already, and the gradient is gone.
        """
        if weight.grad is None:
            raise InputError(STEPPED.format(name))
        before = self._summed.pop(name, None)
        # It may have been zeroed since: then what was summed before is no part of it.
        added = before is not None and before.grad is weight.grad
        if added and before is not None and weight.grad._version == before.version + 1:
            self._told[name] = before.terms + self._told.get(name, [])
        self._accumulated[name] = weight

    def _end(self) -> None:
        """Terms of a gradient that nobody has accumulated, as of an input alone, are dropped."""
        for name, weight in self._accumulated.items():
            grad: Any = weight.grad
            if grad is not None:
                told = self._told.get(name, [])
                self._summed[name] = _Summed(grad, grad._version, told, Sample(grad))
        self._told.clear()
        self._accumulated.clear()

    @torch.no_grad()
    def of(self, name: str, held: Nonzeros) -> Tensor:
        """The sum, of the dense weight's shape; 0 where there was no gradient.

        If the loop scaled the gradient meanwhile (it clipped, or undid a loss scale), all of it is
        scaled as the part at the weight's positions was. All ranks must call it.
        """
        if name in self._accumulated:
            raise InputError(STEPPED.format(name))
        known = self._summed.get(name)
        if known is None and held.parameter.grad is not None:
            raise InputError(
                f"The gradient of {name!r} was not made by a backward pass, and only there is a "
                "truly sparse layer's gradient over all positions known."
            )
        total = _sum(known.terms if known is not None else [], held)
        if held.replicas is not None:
            held.replicas.mean_(total)
        if known is not None and not (
            known.grad._version == known.version and known.sample.tells(known.grad)
        ):
            inside = held.at_active(total).float().norm()
            if inside > 0:
                total *= known.grad.float().norm() / inside
        return total

    def clear(self) -> None:
        self._summed.clear()


def _sum(terms: list[Term], held: Nonzeros) -> Tensor:
    if not terms:
        return held.parameter.detach().new_zeros(held.shape)
    first, *others = terms
    total = first().to(held.parameter.dtype)
    for term in others:
        total += term()
    return total
