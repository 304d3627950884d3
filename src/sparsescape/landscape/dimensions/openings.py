"""Which closed weights to open first: scores over weight space, and the order they make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ... import scores
from ...errors import InputError, unknown
from ...masks import Mask
from ...objective import Objective
from ...points import Point
from ..curves.curve import Curve

Scores: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Journey:
    """What a choice may look at: all that is known before a weight has been opened."""

    start: Point
    end: Point
    mask: Mask
    """Where both ends lie."""
    objective: Objective
    path: Curve
    """The best path inside the mask, which climbs."""
    reference: Point
    """What ``"distance"`` measures to: the end, unless another point was given."""
    seed: int

    @property
    def closed(self) -> int:
        """Number of weights that the mask closes."""
        return self.mask.total - self.mask.count


def by_chance(journey: Journey) -> Scores:
    """Noise: every closed weight is as likely as any other."""
    noise = scores.random(journey.start, seed=journey.seed)
    return {name: noise[name] for name in journey.mask}


def by_gradient(journey: Journey) -> Scores:
    """|∂L/∂w| at the start, over the whole data set: where it goes down steepest (RigL's score)."""
    found = journey.objective.gradient(journey.start)
    return {name: found[name].abs() for name in journey.mask}


def by_gradient_on_the_path(journey: Journey, points: int = 21) -> Scores:
    """max over t of |∂L/∂w| along the best path inside the mask, the wall it climbs included."""
    highest = {name: torch.zeros_like(journey.start[name]) for name in journey.mask}
    for i in range(points):
        found = journey.objective.gradient(journey.path.point(i / (points - 1)))
        for name, high in highest.items():
            torch.maximum(high, found[name].abs(), out=high)
    return highest


def by_distance(journey: Journey) -> Scores:
    """|reference − start|: how far each weight has to go, or how far it once went."""
    return _far(journey.start, journey.reference, journey.mask)


def _far(start: Point, reference: Point, mask: Mask) -> Scores:
    far = {name: (reference[name] - start[name]).abs() for name in mask}
    if not any((far[n][~active.to(far[n].device)] != 0).any() for n, active in mask.items()):
        raise InputError(
            "Both points lie in the mask, so their distance is 0 at every closed weight: choose "
            "otherwise, or give a reference with more weights, as the dense solution."
        )
    return far


def by_neighbours(journey: Journey) -> Scores:
    """How strong the end is next to a weight: the mean |end| over the weights of its layer that
    share its output unit or its input unit (channels, of a convolution), over the layer's own mean.

    1 is typical, whatever the layer; 0 joins two units that the end does not use.
    """
    return {name: _beside(journey.end[name].abs()) for name in journey.mask}


def _beside(strength: Tensor) -> Tensor:
    if strength.ndim < 2:  # a bias joins no units
        return torch.ones_like(strength)
    per_pair = strength.flatten(2).sum(2) if strength.ndim > 2 else strength
    outputs, inputs = per_pair.shape
    total = per_pair.sum(1, keepdim=True) + per_pair.sum(0, keepdim=True) - per_pair
    each = strength.numel() / (outputs * inputs)
    mean = total / (each * (outputs + inputs - 1))
    mean = mean / strength.mean().clamp(min=torch.finfo(strength.dtype).tiny)
    return mean.reshape(outputs, inputs, *[1] * (strength.ndim - 2)).expand(strength.shape)


CHOICES: dict[str, Callable[[Journey], Scores]] = {
    "random": by_chance,
    "gradient": by_gradient,
    "path-gradient": by_gradient_on_the_path,
    "distance": by_distance,
    "neighbours": by_neighbours,
}
"""Name → the score by which weights are opened, the highest first."""

Choice: TypeAlias = str | Scores | Callable[[Journey], Scores]


def check_choice(choose: Choice, start: Point, reference: Point, mask: Mask) -> None:
    """
    Raises:
        InputError: nothing can be chosen by this: an unknown name, scores that do not fit, a
            distance that is 0 at every closed weight.
    """
    if isinstance(choose, Mapping):
        check_scores(mask, choose)
    elif isinstance(choose, str):
        if choose not in CHOICES:
            raise unknown("choice", choose, CHOICES)
        if choose == "distance":
            check_scores(mask, _far(start, reference, mask))
    elif not callable(choose):
        raise InputError(f"Weights are chosen by a name, scores or a function, not {choose!r:.60}.")


def chosen(choose: Choice, journey: Journey) -> Scores:
    """The scores, whatever they were given as."""
    if isinstance(choose, str):
        return CHOICES[choose](journey)
    return choose if isinstance(choose, Mapping) else choose(journey)


class Order:
    """The closed weights of a mask, those with the highest score first.

    Equal scores go to the lower flat index, in the order of the mask's names.

    Args:
        mask: what is open already.
        scores: weight name → score of each weight, of the weight's shape; a weight tensor that
            they do not name stays closed.
        among: the only names whose weights may be opened.

    Raises:
        InputError: a score of no weight, of another shape, or that is NaN.

    >>> mask = Mask({"w": torch.tensor([[True, False, False]])})
    >>> order = Order(mask, {"w": torch.tensor([[9.0, 1.0, 2.0]])}, among=["w"])
    >>> len(order), order.first(1)["w"].tolist()
    (2, [[False, False, True]])
    """

    def __init__(self, mask: Mask, scores: Scores, among: Collection[str]):
        check_scores(mask, scores)
        self.shapes = mask.shapes
        names = [name for name in mask if name in among and name in scores]
        parts = {name: (~mask[name]).reshape(-1).nonzero().reshape(-1) for name in names}
        self._layers = list(parts)
        values = [
            scores[n].detach().reshape(-1).cpu().double()[at.cpu()] for n, at in parts.items()
        ]
        layers = [torch.full((len(at),), i) for i, at in enumerate(parts.values())]
        if names:
            order = torch.cat(values).argsort(descending=True, stable=True)
            self._layer = torch.cat(layers)[order]
            self._index = torch.cat([at.cpu() for at in parts.values()])[order]
        else:
            self._layer = self._index = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._index)

    def first(self, count: int) -> Mask:
        """The first so many of them, as a mask of their own."""
        layer, index = self._layer[:count], self._index[:count]
        found = {name: index[layer == i] for i, name in enumerate(self._layers)}
        nothing = torch.empty(0, dtype=torch.int64)
        return Mask.from_indices({n: found.get(n, nothing) for n in self.shapes}, self.shapes)


def check_scores(mask: Mask, scores: Scores) -> None:
    """Raise :class:`InputError` for a score of no weight, of another shape, or that is NaN."""
    if not isinstance(scores, Mapping):
        raise InputError(f"Scores are tensors by the names of weights, not {scores!r:.60}.")
    for name, score in scores.items():
        if not isinstance(score, Tensor) or score.is_complex():
            raise InputError(
                f"The scores of {name!r} are a tensor of real numbers, not {score!r:.60}."
            )
        if name not in mask:
            raise InputError(f"There are scores for {name!r}, which the mask does not name.")
        if score.shape != mask.shapes[name]:
            raise InputError(
                f"The scores of {name!r} have shape {tuple(score.shape)}, "
                f"and the weight has {tuple(mask.shapes[name])}."
            )
        if score.isnan().any():
            raise InputError(f"The scores of {name!r} contain NaN.")
