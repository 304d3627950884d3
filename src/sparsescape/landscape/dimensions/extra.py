"""How many closed weights must be opened, while travelling only, until a path need not climb."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ...errors import InputError, is_real, is_whole, shown
from ...masks import Mask
from ...objective import Objective, check_objective
from ...points import Point, PointLike, matching, snapshot
from ...seeds import derived_seed
from ...training.checkpoints import Checkpoint
from ..curves.curve import Curve
from ..profiles.measures import tolerance
from ..profiles.profile import Profile, check_points
from ..search.looks import first_look
from ..search.paths import Attempt, FoundPath
from ..search.trials import TRIALS, Method, check_trials
from .bisection import Ground, restarted, smallest
from .openings import Choice, Journey, Order, check_choice, chosen


@dataclass(frozen=True)
class ExtraDimensions:
    """How many dimensions it took, and all that was tried to find out."""

    count: int | None
    """Fewest opened weights with which a path without climb was found; None where there was none
    with any number of them."""
    closed: int
    """Number of weights that the mask closes."""
    profiles: Mapping[int, Profile]
    """Count → profile of the best path known with so many weights open, for every count tried. A
    path is one at every larger count too, so their climbs never rise. Over a large data set what
    was believed at a glance is replaced by the answer's path, which was looked at in full."""
    attempts: Mapping[int, tuple[Attempt, ...]]
    """Count → every search that was made there."""
    curves: Mapping[int, Curve]
    """Count → that path."""
    opened: Mask
    """What was opened for it, apart from the mask."""
    tol: float
    """The climb that counted as none."""
    choose: str
    """What was opened first."""
    among: tuple[str, ...]
    """Names of the weights that might be opened."""
    trials: tuple[Method, ...]
    """What was tried at every count, beside what is known from other counts."""
    precision: float
    """Between the last count that failed and the answer there are at most so many, as a share of
    the answer; with 0 they are neighbours, with 1 none was tried."""
    seed: int = 0

    def __repr__(self) -> str:
        tried = f"{len(self.profiles)} counts tried, {self.passes} passes"
        return f"ExtraDimensions({self.count} of {self.closed}, {self.choose!r}, {tried})"

    @property
    def curve(self) -> Curve:
        """The path at the answer; where there is none, the one that climbs least."""
        return self.curves[max(self.curves) if self.count is None else self.count]

    @property
    def paths(self) -> dict[int, FoundPath]:
        """Count → that path, its profile and what was tried for it: what another choice may begin
        with (``known``)."""
        return {
            k: FoundPath(curve, self.profiles[k], self.attempts[k])
            for k, curve in self.curves.items()
        }

    @property
    def fraction(self) -> float | None:
        """The count as a share of the closed weights."""
        return None if self.count is None else self.count / max(1, self.closed)

    @property
    def climbs(self) -> dict[int, float]:
        """Count → climb of the best path known with so many weights open, from 0 up."""
        return {count: seen.climb for count, seen in self.profiles.items()}

    @property
    def failed(self) -> int | None:
        """The largest count below the answer where no path was found; None for an answer of 0."""
        below = [k for k in self.profiles if self.count is None or k < self.count]
        return max(below, default=None)

    @property
    def passes(self) -> int:
        """Forward and backward passes over a batch, of all searches together."""
        return sum(a.passes for tried in self.attempts.values() for a in tried)

    @property
    def layers(self) -> dict[str, int]:
        """Weight name → how many of its weights are open at the answer."""
        return self.opened.counts


def extra_dimensions(
    start: PointLike,
    end: PointLike,
    mask: Mask,
    objective: Objective,
    choose: Choice = "gradient",
    *,
    among: Iterable[str] = ("*",),
    reference: PointLike | None = None,
    trials: Sequence[Method] = TRIALS,
    restarts: int = 1,
    points: int = 61,
    tol: float | None = None,
    precision: float = 0.0,
    known: Mapping[int, Curve | FoundPath] | None = None,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> ExtraDimensions:
    """The smallest k such that opening the first k closed weights leaves a path without climb.

    Both ends lie in the mask; the weights are open while travelling only: the path's control
    points lie in the mask and the opened weights. Which weights are the first is decided once, by a
    score; so the subspaces are nested, and a path with k of them is one with more. First none are
    opened, then all of them; between a count that failed and one that did not goes bisection. So
    every search but those two begins at a path that is known with more weights open, its closed
    ones set to 0, before it makes its trials (:func:`sparsescape.find_path`). Where one weight is
    enough, none is tried again, from the path with one.

    "Smallest" is what this search finds: it is an upper bound, and what it failed with is on
    record. See ``docs/dimensions.md``.

    Args:
        start, end: points or models, inside the mask.
        mask: the sparse subspace.
        objective: climbs are over all of its data.
        choose: which closed weights are opened first. ``"random"``; ``"gradient"``: the largest
            |∂L/∂w| at the start; ``"path-gradient"``: the largest along the best path inside the
            mask; ``"distance"``: the largest |reference − start|; ``"neighbours"``: those beside
            the strongest weights of the end, layer by layer; or a score of one's own, weight name
            → tensor, or a function to it from a
            :class:`~sparsescape.landscape.dimensions.openings.Journey`.
        among: patterns of the weights that may be opened, as for
            :func:`sparsescape.points.named_weights`; all of the mask's unless given.
        reference: what ``"distance"`` measures to; the end unless given. As both ends lie in the
            mask, their distance is 0 where it is closed: give the dense solution, say.
        trials: of the search at every count; those of :func:`sparsescape.find_path` unless given.
        restarts: how often the trials are made at a count before it has failed; from the second
            time on, curves start off the straight line at random.
        points: of the profiles.
        tol: the climb that still counts as none; the larger of 1e-3 and 1 % of the difference of
            the end losses unless given.
        precision: bisection stops where the two bounds are so near, as a share of the upper one;
            0 for neighbours, 1 where only none and all are to be opened.
        known: count → the best path of a search that was made there before, for other choices from
            the same start: with none open, and with all, they are one and the same search
            (:attr:`ExtraDimensions.paths`). Nothing else is tried there; a curve without its
            profile (:attr:`ExtraDimensions.curves`), or with weights that are closed here, is
            looked at.
        seed: decides every draw.
        checkpoint: as for :func:`sparsescape.find_path`.

    Raises:
        InputError: an end lies outside the mask, or its loss is not finite; an unknown choice or
            pattern; scores that do not fit; "distance" to a point that lies in the mask; a known
            curve between other ends.

    A wall of height 1 between −1 and 1, and one closed weight that leads around it:

    >>> import torch
    >>> def loss(w, _):
    ...     return (torch.exp(-4 * w[:, 0] ** 2) * (1 - w[:, 1]) ** 2 - 0.2 * w[:, 0]).mean()
    >>> class Plane(torch.nn.Linear):
    ...     def forward(self, inputs):
    ...         return self.weight.expand(len(inputs), 2)
    >>> objective = Objective(Plane(2, 1, bias=False), (torch.zeros(1, 1), torch.zeros(1)), loss)
    >>> start, end = {"weight": torch.tensor([[-1.0, 0.0]])}, {"weight": torch.tensor([[1.0, 0.0]])}
    >>> mask = Mask({"weight": torch.tensor([[True, False]])})
    >>> found = extra_dimensions(start, end, mask, objective)
    >>> found
    ExtraDimensions(1 of 1, 'gradient', 2 counts tried, 28000 passes)
    >>> found.count, found.fraction, sorted(found.profiles)
    (1, 1.0, [0, 1])
    """
    if not isinstance(mask, Mask):
        raise InputError("Without a mask there are no closed weights to open: give the ends' mask.")
    check_objective(objective)
    start, end = snapshot(start), snapshot(end)
    aim = end if reference is None else snapshot(reference)
    _check_points(start, end, aim, mask, objective)
    check_choice(choose, start, aim, mask)
    check_trials(trials)
    names = tuple(name for name in mask if name in matching(mask, among))
    part_seed = derived_seed(seed, "part")
    look = first_look(start, end, objective, points=points, tol=tol, seed=part_seed)
    losses = [look.ends[t].loss for t in (0.0, 1.0)]
    tol = tolerance(losses) if tol is None else tol
    _check_numbers(losses, tol, restarts, precision, points)
    known = dict(known or {})
    _check_known(known, start, end, mask)
    all_trials = restarted(trials, restarts)
    look = replace(look, tol=tol)
    ground = Ground(start, end, mask, look, all_trials, seed, checkpoint, known)
    order = ground.order = _order(ground, choose, names, aim)
    count = smallest(ground, len(order), precision)
    if checkpoint is not None:
        checkpoint.discard_parts(ground.searches)
    best = ground.best()
    answer = max(best) if count is None else count
    return ExtraDimensions(
        count=count,
        closed=mask.total - mask.count,
        profiles={k: found.profile for k, found in best.items()},
        attempts={k: ground.found[k].attempts for k in best},
        curves={k: found.curve for k, found in best.items()},
        opened=order.first(answer),
        tol=tol,
        choose=choose if isinstance(choose, str) else "scores of one's own",
        among=names,
        trials=all_trials,
        precision=precision,
        seed=seed,
    )


def _check_points(start: Point, end: Point, aim: Point, mask: Mask, objective: Objective) -> None:
    mask.check_contains(start, "The start")
    mask.check_contains(end, "The end")
    for point in (start, end, aim):
        objective.check(point)


def _check_numbers(
    losses: Sequence[float], tol: float, restarts: int, precision: float, points: int
) -> None:
    if not all(map(math.isfinite, losses)):
        raise InputError(f"The losses at the ends are not finite: {losses[0]} and {losses[1]}.")
    if not (is_real(tol) and tol >= 0):
        raise InputError(f"The climb that counts as none is 0 or more, not {tol!r:.60}.")
    if not is_whole(restarts, 1):
        raise InputError(f"There is at least 1 start of a search, and whole, not {restarts}.")
    if not (is_real(precision) and 0 <= precision <= 1):
        raise InputError(f"Precision is a share from 0 to 1, not {precision!r:.60}.")
    check_points(points)


def _check_known(
    known: Mapping[int, Curve | FoundPath], start: Point, end: Point, mask: Mask
) -> None:
    closed = mask.total - mask.count
    for count, path in known.items():
        curve = path.curve if isinstance(path, FoundPath) else path
        if not isinstance(curve, Curve):
            raise InputError(f"What is known of a count is a curve, not {shown(curve)}.")
        if not is_whole(count, 0) or count > closed:
            raise InputError(f"Of {closed} closed weights {count} cannot be open.")
        pairs = [
            (point[n], own[n])
            for point, own in ((start, curve.start), (end, curve.end))
            for n in curve.names
        ]
        if not all(torch.equal(mine.to(theirs), theirs) for mine, theirs in pairs):
            raise InputError(f"The curve that is known of {count} has other ends than the search.")


def _order(ground: Ground, choose: Choice, names: tuple[str, ...], aim: Point) -> Order:
    """What is opened first; nothing where a path inside the mask was found."""
    mask = ground.mask
    if ground.is_open(0):
        return Order(mask, {}, names)
    path = ground.found[0].curve
    objective = ground.look.objective
    journey = Journey(ground.start, ground.end, mask, objective, path, aim, ground.seed)
    return Order(mask, chosen(choose, journey), names)
