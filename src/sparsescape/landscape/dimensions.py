"""How many closed weights must be opened, while travelling only, until a path need not climb."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..errors import InputError
from ..masks import Mask
from ..objective import Objective
from ..points import Point, PointLike, matching, snapshot
from ..seeds import derived_seed
from ..training.checkpoints import Checkpoint
from .curves import Curve
from .measures import tolerance
from .openings import Choice, Journey, Order, check_choice, chosen
from .pacing import paced
from .paths import Attempt, FoundPath, Method, Trial, find_path
from .profiles import Profile, profile
from .search import Search


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
    path is one at every larger count too, so their climbs never rise."""
    attempts: Mapping[int, tuple[Attempt, ...]]
    """Count → every search that was made there."""
    curve: Curve
    """The path at the answer; where there is none, the one that climbs least."""
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
    the answer; with 0 they are neighbours."""
    seed: int = 0

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
    trials: Sequence[Method] | None = None,
    restarts: int = 1,
    points: int = 61,
    tol: float | None = None,
    precision: float = 0.0,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
) -> ExtraDimensions:
    """The smallest k such that opening the first k closed weights leaves a path without climb.

    Both ends lie in the mask; the weights are open while travelling only: the path's control
    points lie in the mask and the opened weights. Which weights are the first is decided once, by a
    score; so the subspaces are nested, and a path with k of them is one with more. Counts 0, 1, 2,
    4, … are tried until a path is found, then bisection goes on between the last that failed and
    the first that did not; the largest count that failed is tried once more from the path just
    above it. At every count the search begins at the best path known with fewer weights and at the
    one known with more, its closed weights set to 0, before it makes its trials
    (:func:`sparsescape.find_path`). A path
    found must not climb between the grid's points either: it is looked at again at an even stride
    (:func:`sparsescape.landscape.pacing.paced`).

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
            → tensor, or a function from a :class:`~sparsescape.landscape.openings.Journey` to it.
        among: patterns of the weights that may be opened, as for
            :func:`sparsescape.points.named_weights`; all of the mask's unless given.
        reference: what ``"distance"`` measures to; the end unless given. As both ends lie in the
            mask, their distance is 0 where it is closed: give the dense solution, say.
        trials: of the search at every count; :func:`default_trials` unless given.
        restarts: how often the trials are made at a count before it has failed; from the second
            time on, curves start off the straight line at random.
        points: of the profiles.
        tol: the climb that still counts as none; the larger of 1e-3 and 1 % of the difference of
            the end losses unless given.
        precision: bisection stops where the two bounds are so near, as a share of the upper one;
            0 for neighbours.
        seed: decides every draw.
        checkpoint: as for :func:`sparsescape.find_path`.

    Raises:
        InputError: an end lies outside the mask; an unknown choice or pattern; scores that do not
            fit; "distance" to a point that lies in the mask.

    A wall of height 1 between −1 and 1, and one closed weight that leads around it:

    >>> def loss(w, _):
    ...     return (torch.exp(-4 * w[:, 0] ** 2) * (1 - w[:, 1]) ** 2 - 0.2 * w[:, 0]).mean()
    >>> class Plane(torch.nn.Linear):
    ...     def forward(self, inputs):
    ...         return self.weight.expand(len(inputs), 2)
    >>> objective = Objective(Plane(2, 1, bias=False), (torch.zeros(1, 1), torch.zeros(1)), loss)
    >>> start, end = {"weight": torch.tensor([[-1.0, 0.0]])}, {"weight": torch.tensor([[1.0, 0.0]])}
    >>> mask = Mask({"weight": torch.tensor([[True, False]])})
    >>> found = extra_dimensions(start, end, mask, objective)
    >>> found.count, found.fraction, sorted(found.profiles)
    (1, 1.0, [0, 1])
    """
    if not isinstance(mask, Mask):
        raise InputError("Without a mask there are no closed weights to open: give the ends' mask.")
    start, end = snapshot(start), snapshot(end)
    mask.check_contains(start, "The start")
    mask.check_contains(end, "The end")
    objective.check(start)
    objective.check(end)
    check_choice(choose)
    names = tuple(name for name in mask if name in matching(mask, among))
    if restarts < 1:
        raise InputError(f"There is at least 1 start of a search, not {restarts}.")
    if not 0 <= precision < 1:
        raise InputError(f"Precision is a share from 0 to below 1, not {precision}.")
    if tol is None:
        tol = tolerance([objective(start), objective(end)])
    if trials is None:
        trials = default_trials(start, end, enough=tol / 4)
    all_trials = _restarted(trials, restarts)
    ground = _Ground(start, end, objective, mask, all_trials, points, tol, seed, checkpoint)
    if ground.is_open(0):
        order = Order(mask, {}, names)
    else:
        reference = end if reference is None else snapshot(reference)
        path = ground.found[0].curve
        journey = Journey(start, end, mask, objective, path, reference, seed)
        order = Order(mask, chosen(choose, journey), names)
    ground.order = order
    count = _smallest(ground, len(order), precision)
    best = ground.best()
    answer = max(best) if count is None else count
    return ExtraDimensions(
        count=count,
        closed=mask.total - mask.count,
        profiles={k: found.profile for k, found in best.items()},
        attempts={k: tuple(ground.attempts[k]) for k in best},
        curve=best[answer].curve,
        opened=order.first(answer),
        tol=tol,
        choose=choose if isinstance(choose, str) else "scores of one's own",
        among=names,
        trials=all_trials,
        precision=precision,
        seed=seed,
    )


def default_trials(
    start: Point, end: Point, steps: int = 120, enough: float | None = None
) -> tuple[Method, ...]:
    """The straight line; then cubic curves that are trained against every uphill step.

    Adam, so that the height of the wall does not matter, with learning rates relative to how far
    apart the ends are: the root mean square of their difference over the parameters that differ.
    With 0.05 of it a way around of about that size is found; 0.5 reaches ten times as far, and is
    followed by 0.05, which smooths what it found. On planted walls that was enough for weights that
    have to be raised by 0.025 to 5 times the distance of the ends; for others, or where a cubic
    curve cannot bend enough, give trials of your own.

    Args:
        start, end: of the path.
        steps: at most, of each curve.
        enough: the goal below which a search may end before (:func:`sparsescape.fit_curve`).

    >>> trials = default_trials({"w": torch.ones(1, 1)}, {"w": torch.zeros(1, 1)})
    >>> [(trial.lr, trial.fresh) for trial in trials[1:]]
    [(0.05, True), (0.5, True), (0.05, False)]
    """
    apart = torch.cat([(end[n] - start[n]).double().reshape(-1) for n in start if n in end])
    moved = apart[apart != 0]
    scale = float(moved.square().mean().sqrt()) if len(moved) else 1.0

    def cubic(rate: float, *, fresh: bool) -> Trial:
        lr = rate * scale
        return Trial(
            degree=3,
            steps=steps,
            lr=lr,
            goal="uphill",
            optimizer="adam",
            fresh=fresh,
            enough=enough,
        )

    line = Trial(degree=1, steps=0)
    return line, cubic(0.05, fresh=True), cubic(0.5, fresh=True), cubic(0.05, fresh=False)


@dataclass(frozen=True)
class Known:
    """The method of not searching: a path that was found with other weights open.

    The control points' weights that are closed here are set to 0.
    """

    count: int
    """With how many opened weights it was found."""
    curve: Curve = field(repr=False, compare=False)

    def search(
        self, best: Curve, objective: Objective, *, seed: int, checkpoint: Checkpoint | None = None
    ) -> tuple[Curve, Search]:
        """The known path, laid into the subspace of the best one so far."""
        return self.curve.inside(best.subspace), Search(0, 0, 0, diverged=False)


def _is_line(trial: Method) -> bool:
    """Whether it is the straight line, which is the same whatever is open."""
    return isinstance(trial, Trial) and trial.bends is None and trial.degree == 1


@dataclass
class _Ground:
    """What is known of every count so far."""

    start: Point
    end: Point
    objective: Objective
    mask: Mask
    trials: tuple[Method, ...]
    points: int
    tol: float
    seed: int
    checkpoint: Checkpoint | None
    order: Order | None = None
    found: dict[int, FoundPath] = field(default_factory=dict)
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    searches: int = 0

    def is_open(self, count: int) -> bool:
        """Search with so many weights open; whether there is a path.

        Asked again, it begins at the best paths known by then and makes the last trial only. A path
        that only seemed to have no climb, as it hurried past something between two points of the
        grid, does not end the search: the trials that are left are made.
        """
        tried = self.attempts.setdefault(count, [])
        trials = self.trials if not count else tuple(t for t in self.trials if not _is_line(t))
        fresh = trials if not tried else trials[-1:]
        left: tuple[Method, ...] = (*self._known(count), *fresh)
        while left and count not in self.open:
            found = self._search(count, left, len(tried))
            tried.extend(found.attempts)
            left = left[len(found.attempts) :] if found.profile.monotone(self.tol) else ()
            found = self._looked_at(found)
            if count not in self.found or found.profile.climb < self.found[count].profile.climb:
                self.found[count] = found
            if found.profile.monotone(self.tol):
                self.open.add(count)
        return count in self.open

    def _search(self, count: int, trials: Sequence[Method], number: int) -> FoundPath:
        return find_path(
            self.start,
            self.end,
            self.objective,
            subspace=self.mask if self.order is None else self.mask | self.order.first(count),
            trials=trials,
            points=self.points,
            tol=self.tol,
            seed=derived_seed(self.seed, "opened", count, number),
            checkpoint=self._next_part(),
        )

    def _next_part(self) -> Checkpoint | None:
        """The checkpoint of the next search: every search has its own, or one that is taken up
        again would begin with the state of a later one."""
        self.searches += 1
        return self.checkpoint and self.checkpoint.part(self.searches)

    def _looked_at(self, found: FoundPath) -> FoundPath:
        """A path without climb on the even grid, with its profile at an even stride."""
        if not found.profile.monotone(self.tol):
            return found
        t = paced(found.curve, self.points)
        return replace(found, profile=profile(found.curve, self.objective, t=t))

    def _known(self, count: int) -> list[Method]:
        """The path known here or of the nearest count below, and that of the nearest above."""
        below = [k for k in self.found if k <= count]
        above = [k for k in self.open if k > count]
        near = ([max(below)] if below else []) + ([min(above)] if above else [])
        return [Known(k, self.found[k].curve) for k in near]

    def best(self) -> dict[int, FoundPath]:
        """Count → the best path known, found with as many weights open or with fewer."""

        def better(one: FoundPath, other: FoundPath) -> FoundPath:
            return other if other.profile.climb < one.profile.climb else one

        counts = sorted(self.found)
        best = itertools.accumulate((self.found[k] for k in counts), better)
        return dict(zip(counts, best, strict=True))


def _smallest(ground: _Ground, most: int, precision: float) -> int | None:
    """The smallest count that is open, by doubling and then by bisection."""
    if 0 in ground.open:
        return 0
    failed, count = 0, min(1, most)
    while count and not ground.is_open(count):
        if count == most:
            return None
        failed, count = count, min(2 * count, most)
    if not count:
        return None
    squeezed = failed  # what failed before there was a path above to begin with
    while True:
        while count - failed > max(1, precision * count):
            middle = (failed + count) // 2
            if ground.is_open(middle):
                count = middle
            else:
                failed = middle
        if failed != squeezed or not ground.is_open(failed):
            return count
        below = [k for k in ground.found if k < failed]
        if not below:
            return failed
        count, failed = failed, max(below)
        squeezed = failed


def _restarted(trials: Sequence[Method], restarts: int) -> tuple[Method, ...]:
    """The trials, and again so many times from curves that start off the straight line."""
    if not trials:
        raise InputError("A search for a path needs at least one trial.")
    searched = [t for t in trials if not (isinstance(t, Trial) and t.steps == 0)]
    again = [replace(t, perturbed=0.5) if isinstance(t, Trial) and t.fresh else t for t in searched]
    return (*trials, *(again * (restarts - 1)))
