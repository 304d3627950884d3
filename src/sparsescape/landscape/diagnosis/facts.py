"""What a diagnosis is decided by: measured when it is asked for, and once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch

from ...errors import InputError
from ...masks import Mask
from ...objective import Objective
from ...points import PointLike, as_point
from ...seeds import derived_seed
from ..curvature.descent import AWAY, STEPS, Descent, curvature_descent, newton_descent
from ..curvature.stationarity import Ends, Stationarity, eigenvalues, with_slopes
from ..search.paths import FoundPath, find_path
from ..search.trials import Trial
from .constant import constant_answer

_NOTHING_LEARNED = 0.9
"""Share of the best constant answer's loss from which on a network has learned next to nothing."""

TOL = 1e-5
"""Error of the eigenvalues that a diagnosis rests on, as a share of the largest."""


class Facts:
    """A point, the mask it was trained in, and perhaps a better point to compare it with."""

    def __init__(
        self,
        objective: Objective,
        point: PointLike,
        mask: Mask | None,
        reference: PointLike | None,
        trials: Sequence[Trial],
        seed: int,
    ):
        self.objective = objective
        self.point = objective.check(point)
        self.mask = mask
        self.reference = None if reference is None else objective.check(reference)
        self.trials = trials
        self.seed = seed

    # ------------------------------------------------------------------ losses

    @cached_property
    def stationarity(self) -> Stationarity:
        return with_slopes(self.objective, self.point, self.mask, self.ends)

    @cached_property
    def ends(self) -> Ends:
        where = self.objective, self.point, self.mask
        return eigenvalues(*where, tol=TOL, max_products=300, seed=self.seed)

    @property
    def loss(self) -> float:
        return self.stationarity.loss

    @cached_property
    def reference_loss(self) -> float:
        assert self.reference is not None
        loss = self.objective(self.reference)
        if not math.isfinite(loss):
            raise InputError(f"The loss at the reference is not finite: {loss}.")
        return loss

    @cached_property
    def constant(self) -> float | None:
        """The loss of the best constant answer."""
        return constant_answer(self.objective, self.point)

    @property
    def scale(self) -> float:
        """What decreases are measured in: the loss, or a hundredth of the constant answer's where
        that is more, so that a solved problem does not look like a slope."""
        return max(abs(self.loss), 0.01 * abs(self.constant or 0.0)) or 1.0

    # ------------------------------------------------------------------ ways down

    @cached_property
    def inside(self) -> Descent:
        """Newton steps in the mask; more of them where nothing was learned yet, since a run that
        has only begun is beside a saddle or a plateau, where three of them win little."""
        loss, constant = self.loss - self.objective.penalty(self.point), self.constant
        learned = constant is None or loss < _NOTHING_LEARNED * constant
        steps = STEPS if learned else AWAY
        return newton_descent(self.objective, self.point, self.mask, self.loss, steps)

    @cached_property
    def dense(self) -> Descent:
        """Newton steps in all of weight space."""
        if self.mask is None:
            return self.inside
        return newton_descent(self.objective, self.point, None, self.loss)

    @cached_property
    def downward(self) -> Descent:
        """A step along the most negative curvature in the mask, and Newton steps from there."""
        way = self.ends.inside.smallest
        return curvature_descent(self.objective, self.point, self.mask, way, self.loss, self.scale)

    @cached_property
    def away(self) -> Descent:
        """From there on for as many Newton steps as it takes to get away from a saddle."""
        here = self.downward
        if not here.decrease > 0:
            return here
        below = newton_descent(self.objective, here.point, self.mask, here.loss, AWAY)
        return Descent(below.point, below.loss, self.loss)

    @cached_property
    def lowest(self) -> float:
        """The lowest loss at any of the three, without regularizer."""
        ways = (self.inside, self.dense, self.downward)
        return min(way.loss - self.objective.penalty(way.point) for way in ways)

    # ------------------------------------------------------------------ the network

    @property
    def emptied(self) -> list[str]:
        """The weights that the mask closes altogether."""
        return [n for n in self.mask or () if self.mask is not None and not self.mask[n].any()]

    @cached_property
    def answers_vary(self) -> bool:
        """Whether the network's outputs depend on what it is shown, beyond rounding."""
        answers = [outputs for outputs, _ in self.objective.outputs(self.point)]
        said = torch.cat([each.reshape(len(each), -1) for each in answers])
        rounding = 64 * torch.finfo(said.dtype).eps * said.abs().amax(0)
        return bool((said.amax(0) - said.amin(0) > rounding).any())

    @property
    def silent(self) -> list[str]:
        """Layers all of whose units are dead, where a signal enters the network at all."""
        signals = self.stationarity.signals
        enters = any(signal.variance > 0 for signal in signals)
        return [s.layer for s in signals if enters and s.dead == 1]

    # ------------------------------------------------------------------ paths

    @cached_property
    def is_within(self) -> bool:
        """Whether the reference lies in the mask."""
        assert self.reference is not None
        try:
            if self.mask is not None:
                self.mask.check_contains(self.reference)
        except InputError:
            return False
        return True

    @cached_property
    def sparse_path(self) -> FoundPath | None:
        """The best path to the reference inside the mask; None where the reference is outside."""
        return self._path(self.mask, "sparse") if self.is_within else None

    @property
    def searched(self) -> FoundPath | None:
        """That path, if a rule has asked for it."""
        return vars(self).get("sparse_path")

    @cached_property
    def dense_path(self) -> FoundPath:
        """The best path to the reference through all of weight space."""
        return self._path(None, "dense")

    def _path(self, subspace: Mask | None, space: str) -> FoundPath:
        assert self.reference is not None
        ends = as_point(self.point), as_point(self.reference)
        return find_path(
            *ends,
            self.objective,
            subspace=subspace,
            trials=self.trials,
            seed=derived_seed(self.seed, "diagnosis", space),
        )
