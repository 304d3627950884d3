"""How many dimensions were planted, and whether that many are found."""

import pytest
import torch
from planted import (
    Planted,
    shortfall_of_the_lowest,
    shortfall_saturating,
    shortfall_squared,
)

import sparsescape as ss
from helpers import bits, classes, condition, draw, perceptron
from sparsescape.landscape.dimensions import bisection
from sparsescape.landscape.dimensions.openings import CHOICES, Journey, Order
from sparsescape.landscape.profiles import glance
from sparsescape.landscape.profiles.profile import profile
from sparsescape.landscape.search import looks
from sparsescape.landscape.search.fit import Search
from sparsescape.landscape.search.looks import Look
from sparsescape.landscape.search.trials import default_trials
from sparsescape.training.checkpoints import Checkpoint
from sparsescape.training.trainer import Run


def found_in(planted, choose="gradient", passes=240, **settings):
    settings = {"trials": default_trials(passes), "points": 31, **settings}
    return ss.extra_dimensions(*planted.ends, planted.mask, planted.objective, choose, **settings)


@pytest.mark.parametrize(
    "planted",
    [
        Planted(1),
        Planted(3, height=50, drop=1, distance=0.2, reach=0.3),
        Planted(7, height=0.1, drop=0.01, distance=10, reach=5, shortfall=shortfall_saturating),
        Planted(20, height=12, drop=0.3, reach=2),
    ],
    ids=lambda planted: f"{planted.helpful}",
)
def test_as_many_are_found_as_were_planted(planted):
    assert planted.height / planted.helpful > planted.drop  # or fewer are enough
    found = found_in(planted, passes=240)
    assert found.count == planted.helpful
    assert found.fraction == planted.helpful / planted.closed
    assert found.failed == planted.helpful - 1


def test_a_function_that_gives_no_scores_is_refused():
    planted = Planted(3, closed=10)
    with pytest.raises(ss.InputError, match="Scores are tensors by the names"):
        found_in(planted, lambda journey: [1.0], passes=5)


def test_where_only_the_straight_line_is_tried_none_is_found():
    planted = Planted(3, closed=10)
    found = ss.extra_dimensions(
        *planted.ends, planted.mask, planted.objective, trials=[ss.Trial(degree=1, steps=0)]
    )
    assert found.count is None
    assert sorted(found.profiles) == [0, 10]


def test_a_score_of_ones_own_finds_what_has_no_even_gradient():
    planted = Planted(20, height=3, reach=0.5, shortfall=shortfall_of_the_lowest)
    found = found_in(planted, planted.score)
    assert found.count == 20
    where = found.opened["rest"].reshape(-1).nonzero().reshape(-1)
    assert sorted(where.tolist()) == sorted(planted.where.tolist())
    assert found.choose == "scores of one's own"


@pytest.mark.parametrize("reach", [0.05, 10])
def test_a_way_around_may_be_of_another_size_than_the_distance_of_the_ends(reach):
    planted = Planted(2, height=3, reach=reach, closed=10)
    assert found_in(planted, passes=480).count == 2


def test_random_needs_more():
    planted = Planted(3, closed=30)
    found = found_in(planted, "random")
    assert 3 < found.count <= 30
    assert planted.score["rest"][found.opened["rest"]].sum() == 3  # all of them are among those


def test_an_interruption_changes_nothing(tmp_path, monkeypatch):
    planted, settings = Planted(1, closed=10), {"passes": 32, "tol": 1e-6}
    whole = found_in(planted, **settings)
    calls, take = [], Run.take

    def interrupted(run, step):
        calls.append(step)
        if len(calls) == 160:  # count 0 has had its 148
            raise KeyboardInterrupt
        return take(run, step)

    kept = Checkpoint(tmp_path / "found.safetensors", 0.0)
    monkeypatch.setattr(Run, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found_in(planted, checkpoint=kept, **settings)
    before = list(calls)
    assert list(tmp_path.iterdir())
    again = found_in(planted, checkpoint=kept, **settings)
    onward = calls[len(before) :]
    monkeypatch.setattr(Run, "take", take)
    assert onward[0] == before[-1] > 0  # the step that was not taken: nothing before it again
    assert (again.attempts, again.climbs) == (whole.attempts, whole.climbs)
    assert torch.equal(again.curve.control, whole.curve.control)
    assert not list(tmp_path.iterdir())


def no_way(raised):
    """The wall stands, whatever is raised."""
    return 1 + 0 * raised.sum()


def test_where_there_is_no_way_at_any_count_it_says_so():
    planted = Planted(3, closed=10, shortfall=no_way)
    found = found_in(planted, passes=160)
    assert (found.count, found.fraction) == (None, None)
    assert sorted(found.profiles) == [0, 10]  # with all of them open there is none
    assert min(found.climbs.values()) > 0.5
    assert found.failed == 10
    assert found.passes > 0


def test_where_nothing_need_be_opened_the_count_is_0():
    found = found_in(Planted(3, height=0.01))
    assert (found.count, found.fraction, found.failed) == (0, 0.0, None)
    assert found.opened.count == 0


def test_the_path_stays_where_it_may_and_does_not_climb_between_the_points_either():
    planted = Planted(2)
    found = found_in(planted)
    where = planted.mask | found.opened
    for point in found.curve.control_points():
        where.check_contains(point)
    assert bits(found.curve.point(0)) == bits(planted.ends[0])
    assert bits(found.curve.point(1)) == bits(planted.ends[1])
    assert ss.profile(found.curve, planted.objective, points=401).monotone()


def test_climbs_never_rise_with_the_count():
    found = found_in(Planted(3), passes=120)
    climbs = list(found.climbs.values())
    assert list(found.profiles) == sorted(found.profiles)
    assert climbs == sorted(climbs, reverse=True)


def test_the_same_seed_finds_the_same_and_leaves_the_random_state_alone():
    planted = Planted(1, closed=10)
    before = torch.get_rng_state()
    one, other = (found_in(planted, "random", passes=80, seed=3) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert (one.climbs, one.attempts) == (other.climbs, other.attempts)
    assert torch.equal(one.curve.control, other.curve.control)


@pytest.mark.parametrize("choose", CHOICES)
def test_a_model_is_bit_for_bit_what_it_was(choose):
    model, end, dense = perceptron(), perceptron(), perceptron()
    mask = ss.Mask.from_scores(ss.scores.random(model), sparsity=0.7)
    for ended in (model, end):
        mask.apply_(ended)
    with torch.no_grad():
        end[0].bias.add_(1.0)
    model.train()
    objective = ss.Objective(model, (draw(30, 6), classes(30, 3)))
    before = condition(model), condition(end), condition(dense)
    ss.extra_dimensions(
        model, end, mask, objective, choose, reference=dense, points=5,
        trials=[ss.Trial(degree=2, steps=2)], precision=0.5, tol=0.0,
    )  # fmt: skip
    assert (condition(model), condition(end), condition(dense)) == before


def test_restarts_are_made_where_a_count_fails_and_once_more_with_all_weights_open():
    planted = Planted(1, closed=10, shortfall=no_way)
    once, twice = (found_in(planted, passes=24, restarts=n) for n in (1, 2))
    assert [len(once.attempts[k]) for k in (0, 10)] == [1 + 10, 2 * 10]
    assert [len(twice.attempts[k]) for k in (0, 10)] == [1 + 2 * 10, 4 * 10]


def test_a_count_begins_at_the_path_that_is_known_with_more():
    found = found_in(Planted(1))
    for count, tried in found.attempts.items():
        if 0 < count < 60:
            above = min(k for k in found.attempts if k > count and found.climbs[k] <= found.tol)
            assert tried[0].trial.count == above
            assert tried[0].passes == 0


def test_where_one_is_enough_none_is_tried_again_from_its_path():
    """A path that is seen only with room around it, and does not use the room."""
    planted = Planted(1, closed=10)
    inside = planted.mask | ss.Mask({**planted.mask, "rest": planted.score["rest"] > 0})
    path = ss.find_path(*planted.ends, planted.objective, subspace=inside).curve

    class WithRoom:
        def search(self, best, objective, *, seed, checkpoint=None):
            seen = best if best.subspace.count == inside.count else path
            return seen.inside(best.subspace), Search(1, 1, 1, diverged=False)

    found = ss.extra_dimensions(*planted.ends, inside, planted.objective, trials=[WithRoom()])
    assert found.count == 0
    assert [attempt.passes for attempt in found.attempts[0]] == [1, 0]
    assert found.opened.count == 0
    inside.check_contains(found.curve.point(0.5))


def test_no_count_is_searched_at_twice(monkeypatch):
    searched, find = [], bisection.best_path

    def counted(line, *given, **settings):
        searched.append(line.subspace.count)
        return find(line, *given, **settings)

    monkeypatch.setattr(bisection, "best_path", counted)
    found = found_in(Planted(2, closed=10), passes=80)
    assert sorted(searched) == [1 + count for count in found.profiles]


LARGE = glance.WORTH * glance.PART


def closely_seen(monkeypatch):
    """The climbs of all paths of a search that are looked at in full."""
    climbs, closely = [], Look._closely

    def counted(look, *given):
        seen = closely(look, *given)
        climbs.append(seen.climb)
        return seen

    monkeypatch.setattr(Look, "_closely", counted)
    return climbs


def test_over_large_data_only_the_bounds_and_the_answer_are_looked_at_in_full(monkeypatch):
    climbs = closely_seen(monkeypatch)
    found = found_in(Planted(2, closed=10, examples=LARGE), passes=240)
    assert (found.count, found.failed) == (2, 1)
    assert len([climb for climb in climbs if climb <= found.tol]) == 2  # all of them, and 2
    assert len(found.profiles) > 4
    assert all(len(profile.t) >= 31 for profile in found.profiles.values())
    assert list(found.climbs.values()) == sorted(found.climbs.values(), reverse=True)
    small = found_in(Planted(2, closed=10), passes=240)
    assert found.count == small.count


def test_what_is_believed_too_soon_changes_no_answer(monkeypatch):
    """A glance that never sees a climb; of the bounds all is looked at in full."""

    def blind(curve, objective, part, points, ends, tol):
        return profile(curve, objective, t=(0.0, 1.0), known=ends)

    monkeypatch.setattr(looks, "glance", blind)
    climbs = closely_seen(monkeypatch)
    found = found_in(Planted(3, closed=10, examples=LARGE), passes=240)
    assert found.count == 3
    assert found.failed == 2
    assert found.climbs[2] > found.tol  # not what the glance said
    assert found.profiles[3].monotone(found.tol)
    assert len(found.profiles[3].t) >= 31
    assert max(climbs) > found.tol
    assert [a.trial.count for a in found.attempts[1][:1]] != [1]  # first from the path above


@pytest.mark.parametrize("kept", ["curves", "paths"])
def test_what_is_known_with_none_and_all_open_is_not_searched_for_again(kept):
    planted = Planted(2)
    bounds = found_in(planted, precision=1.0)
    assert sorted(bounds.curves) == sorted(bounds.climbs) == [0, planted.closed]
    alone, led = found_in(planted), found_in(planted, known=getattr(bounds, kept))
    assert led.count == alone.count
    assert led.climbs == alone.climbs
    for count, tried in led.attempts.items():
        if count in bounds.curves:
            assert [attempt.passes for attempt in tried] == [0]
        else:
            assert tried == alone.attempts[count]
    assert led.passes == alone.passes - bounds.passes


def test_what_is_known_of_other_weights_is_not_taken_for_a_path():
    """With what is closed here at 0 it is a path that was never seen."""
    planted = Planted(1, closed=10)
    open_first, last = planted.score, {"rest": -planted.score["rest"]}
    known = found_in(planted, open_first).paths
    assert known[1].profile.monotone()
    found = found_in(planted, last, passes=24, known={1: known[1], 5: known[5]})
    assert found.count == 10  # it is the last that helps
    for count, curve in found.curves.items():
        seen = ss.profile(curve, planted.objective, t=found.profiles[count].t)
        assert seen.climb == pytest.approx(found.climbs[count], abs=1e-6)
    assert [a.passes for a in found.attempts[5]] == [0]


def test_only_the_weights_of_a_pattern_are_opened():
    planted = Planted(1)
    with pytest.raises(ss.InputError, match="matches none"):
        found_in(planted, among=["nothing"])
    found = found_in(planted, among=["travel"], passes=40)
    assert (found.count, list(found.profiles)) == (None, [0])


NOWHERE = {"travel": torch.ones(1, 1), "rest": torch.full((6, 10), float("nan"))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choose": "gradeint"}, "did you mean 'gradient'"),
        ({"choose": 3}, "chosen by a name, scores or a function"),
        ({"choose": "distance"}, "Both points lie in the mask"),
        ({"choose": "distance", "reference": NOWHERE}, "NaN"),
        ({"choose": {"rest": torch.ones(2, 2)}}, "have shape"),
        ({"choose": {"other": torch.ones(2, 2)}}, "does not name"),
        ({"choose": {"rest": torch.full((6, 10), float("nan"))}}, "NaN"),
        ({"restarts": 0}, "at least 1"),
        ({"precision": 1.5}, "from 0 to 1"),
        ({"tol": -1.0}, "0 or more, not -1.0"),
        ({"tol": float("nan")}, "0 or more, not nan"),
        ({"trials": ss.Trial(steps=1)}, "in a list"),
        ({"trials": ["curve"]}, "A trial is"),
        ({"known": {0: "straight"}}, "a curve, not 'straight'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_any_search(monkeypatch, change, message):
    monkeypatch.setattr(bisection, "best_path", lambda *given, **settings: pytest.fail("searched"))
    with pytest.raises(ss.InputError, match=message):
        found_in(Planted(1), **{"passes": 8, **change})


@pytest.mark.parametrize("which", [0, 1])
def test_an_end_outside_the_mask_is_refused(which):
    planted = Planted(1)
    ends = list(planted.ends)
    ends[which] = {**ends[which], "rest": torch.ones(6, 10)}
    with pytest.raises(ss.InputError, match="is outside the subspace"):
        ss.extra_dimensions(*ends, planted.mask, planted.objective)


def test_distance_opens_what_is_furthest_from_the_reference():
    planted = Planted(2)
    far = planted.ends[1] | {"rest": planted.score["rest"] * 5}
    assert found_in(planted, "distance", reference=far).count == 2


def test_neighbours_are_the_weights_beside_the_strong_ones():
    end = {"w": torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])}
    mask = ss.Mask.of(end)
    journey = Journey(end, end, mask, None, None, end, 0)
    scores = CHOICES["neighbours"](journey)
    assert scores["w"].tolist() == [[1.5, 1.5, 1.5], [1.5, 0.0, 0.0]]


def test_the_order_is_nested_and_ties_go_to_the_lower_index():
    mask = ss.Mask({"w": torch.tensor([[True, False, False, False]])})
    order = Order(mask, {"w": torch.tensor([[9.0, 1.0, 2.0, 1.0]])}, ["w"])
    opened = [order.first(k)["w"].int().tolist()[0] for k in range(4)]
    assert opened == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1]]


def test_the_planted_wall_needs_all_that_were_planted():
    """What the tests above stand on: with one of them down, the wall is still there."""
    for shortfall in (shortfall_squared, shortfall_saturating, shortfall_of_the_lowest):
        raised = torch.ones(5)
        assert float(shortfall(raised)) == 0
        raised[3] = 0
        assert float(shortfall(raised)) >= 0.2


def test_ends_without_a_finite_loss_are_refused():
    planted = Planted(1)
    start, end = planted.ends
    end = {**end, "travel": end["travel"] * float("nan")}
    with pytest.raises(ss.InputError, match="losses at the ends are not finite"):
        ss.extra_dimensions(start, end, planted.mask, planted.objective)
