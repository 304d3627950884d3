"""Over a large data set paths are refused at a few points, and none is taken for what it is not."""

import pytest
import torch

import sparsescape as ss
from helpers import Coordinates, at, classes, draw, moved, normalized
from sparsescape.landscape.profiles import glance
from sparsescape.landscape.search import looks
from sparsescape.points import snapshot

COUNT = glance.WORTH * glance.PART
ENDS = at(-1.0, 0.0), at(1.0, 0.0)


def walls(heights: torch.Tensor) -> ss.Objective:
    """Down along x; every example has a wall of its own height at x = 0, which y = 1 is beyond."""

    def loss(weights, heights):
        x, y = weights[0]
        return heights.mean() * torch.exp(-(x**2) / 0.1 - (y / 0.5) ** 2) - 0.1 * x

    return ss.Objective(Coordinates(), (torch.zeros(len(heights), 1), heights), loss)


@pytest.fixture
def full_looks(monkeypatch):
    """At how many points more a search looks over all of the data, time after time."""
    points = []

    def counted(curve, objective, *args, **kwargs):
        found = ss.profile(curve, objective, *args, **kwargs)
        if found.count == COUNT:
            points.append(len(set(found.t) - set(kwargs.get("known") or ())))
        return found

    for module in (glance, looks):
        monkeypatch.setattr(module, "profile", counted)
    return points


TRIALS = (
    ss.Trial(degree=1, steps=0),
    ss.Trial(degree=2, steps=5, lr=0.01, goal="uphill"),
    ss.Trial(degree=3, steps=5, lr=0.01, goal="uphill"),
)


def test_a_path_that_climbs_is_refused_at_two_points_and_the_best_is_seen_in_full(full_looks):
    objective = walls(torch.ones(COUNT))
    found = ss.find_path(*ENDS, objective, trials=TRIALS, points=21)
    assert not found.profile.monotone()
    looks = [points for points in full_looks if points]
    assert looks[:3] == [2, 2, 2]
    assert all(points >= 21 - 4 for points in looks[3:])
    assert 4 <= len(looks) < 6
    assert found.profile == ss.profile(found.curve, objective, t=found.profile.t)
    assert found.profile.climb == min(a.climb for a in found.attempts)


def test_it_comes_to_what_looking_at_everything_comes_to(monkeypatch):
    objective = walls(torch.ones(COUNT))
    found = ss.find_path(*ENDS, objective, trials=TRIALS, points=21)
    monkeypatch.setattr(glance, "WORTH", 10**9)
    closely = ss.find_path(*ENDS, objective, trials=TRIALS, points=21)
    assert found.profile.climb == pytest.approx(closely.profile.climb, abs=1e-6)
    for few, all_points in zip(found.attempts, closely.attempts, strict=True):
        assert few.climb <= all_points.climb + 1e-6
        assert few.climb == pytest.approx(all_points.climb, rel=0.05)


def test_a_wall_that_the_part_does_not_show_is_found_all_the_same(full_looks):
    """Of one example in all, which is not in the part."""
    heights = torch.zeros(COUNT)
    objective = walls(heights)
    part = glance.part_of(walls(torch.arange(COUNT).float()), seed=0)
    chosen = set(part.tensors()[1].long().tolist())
    heights[next(n for n in range(COUNT) if n not in chosen)] = COUNT
    seen = looks.first_look(*ENDS, objective, points=21, tol=None, seed=0)
    line = seen.at(ss.Line(*ENDS), 0.0)
    assert line.climb > 0.8


@pytest.mark.parametrize("height", [0.0, 0.1])
def test_where_the_part_is_off_it_is_asked_again_with_what_all_data_say(height):
    """Examples whose own losses cancel in the mean of all, but not of the part: there they are
    many times the wall."""
    bends = torch.randn(COUNT, generator=torch.Generator().manual_seed(0))

    def loss(weights, bends):
        x, _ = weights[0]
        return height * torch.exp(-(x**2) / 0.1) - 0.1 * x + 50 * bends.mean() * (x**2 - 1)

    data = torch.zeros(COUNT, 1), bends - bends.mean()
    objective, line = ss.Objective(Coordinates(), data, loss), ss.Line(*ENDS)
    for seed in range(6):
        part = glance.part_of(objective, seed)
        few = glance.glance(line, objective, part, 21, {})
        assert few.monotone() == (height == 0)
        assert len(few.t) < 12


def test_a_part_that_is_not_finite_says_where(full_looks):
    """As wherever one example has no loss."""

    def loss(weights, heights):
        x, _ = weights[0]
        return torch.where(x.abs() < 0.3, heights.mean() / 0.0, -x)

    objective = ss.Objective(Coordinates(), (torch.zeros(COUNT, 1), torch.ones(COUNT)), loss)
    part = glance.part_of(objective, 0)
    few = glance.glance(ss.Line(*ENDS), objective, part, 21, {}, None)
    assert (len(few.t), few.climb) == (3, float("inf"))


def test_a_wall_that_only_the_part_shows_refuses_nothing():
    """Heights that are above their mean in the part, by chance, and 0 in all."""
    heights = torch.randn(COUNT, generator=torch.Generator().manual_seed(0)) * 50
    heights -= heights.mean()
    objective = walls(heights)
    part = glance.part_of(objective, seed=2)
    assert not ss.profile(ss.Line(*ENDS), part, 21).monotone()
    found = looks.Look(objective, part, 21, None).at(ss.Line(*ENDS), 0.0)
    assert found.profile is not None
    assert found.profile.monotone()


def test_statistics_that_one_end_alone_carries_are_no_part_of_its_loss():
    """No curve has them; that end would be another point than the one its paths begin at."""
    data = draw(COUNT, 6), classes(COUNT, 3)
    objective = ss.Objective(normalized(), data, batch_norm="stored")
    start = snapshot(moved(normalized()))
    end = {name: start[name] for name in objective.parameters}
    ends = looks.first_look(start, end, objective, points=3, tol=None, seed=0).ends
    line = ss.profile(ss.Line(start, end, names=objective.parameters), objective, points=2)
    assert {t: seen.loss for t, seen in ends.items()} == dict(zip(line.t, line.loss, strict=True))


def test_a_small_data_set_is_always_looked_at_in_full():
    assert glance.part_of(walls(torch.ones(COUNT - 1)), seed=0) is None


def test_the_part_is_drawn_by_the_seed_and_has_no_example_twice():
    numbers = walls(torch.arange(COUNT).float())
    drawn = [glance.part_of(numbers, seed).tensors()[1] for seed in (0, 0, 1)]
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])
    assert len(drawn[0].unique()) == len(drawn[0]) == glance.PART
