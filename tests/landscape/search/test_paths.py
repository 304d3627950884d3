"""The best of several searches, each from where the best one so far has come."""

import math

import pytest
import torch

import sparsescape as ss
from helpers import (
    at,
    bits,
    classes,
    convnet,
    draw,
    images,
    moved,
    normalized,
    on_the_plane,
    same_values,
    seeded,
)
from sparsescape.landscape.curves.pacing import has_flown_off, paced
from sparsescape.landscape.search.goals import find_goal
from sparsescape.landscape.search.trials import TRIALS, default_trials
from sparsescape.points import snapshot
from sparsescape.seeds import derived_seed
from sparsescape.training.checkpoints import Checkpoint

ENDS = at(-1.0, 0.05), at(1.0, 0.05)
SHORT = (
    ss.Trial(degree=1, steps=0),
    ss.Trial(degree=2, steps=30, lr=0.1),
    ss.Trial(degree=3, steps=10, lr=0.1, goal="uphill"),
    ss.Trial(bends=3, steps=10, optimizer="adam", goal="worst", fresh=True, perturbed=0.2),
    ss.Band(cycles=(ss.Cycle(5, 0.1),)),
)


@pytest.fixture
def ridge():
    """A wall that has no end, and no way around it."""
    return on_the_plane(lambda w: torch.exp(-(w[0] ** 2) / 0.02) + 0.1 * torch.sigmoid(-w[0]))


def test_a_straight_way_down_needs_no_search():
    found = ss.find_path(*ENDS, on_the_plane(lambda w: -w[0]))
    assert (found.passes, len(found.attempts), found.profile.climb) == (0, 1, 0)


def test_where_there_is_no_way_everything_was_tried_and_is_on_record(ridge):
    found = ss.find_path(*ENDS, ridge, trials=SHORT, seed=4)
    assert not found.profile.monotone()
    assert found.profile.climb == min(a.climb for a in found.attempts) > 0.9
    assert tuple(a.trial for a in found.attempts) == SHORT
    assert [a.passes for a in found.attempts] == [0, 30, 80, 80, 25]
    assert [a.seed for a in found.attempts] == [derived_seed(4, "trial", n) for n in range(5)]
    assert found.passes == 215
    assert ss.profile(found.curve, ridge, t=found.profile.t).climb == found.profile.climb


def test_the_search_ends_with_the_first_path_without_a_climb():
    hill = on_the_plane(lambda w: torch.exp(-(w[0] ** 2) / 0.1 - (w[1] / 0.5) ** 2) - 0.1 * w[0])
    trials = (*SHORT[:1], ss.Trial(steps=150, lr=0.3, goal="uphill"), *SHORT[1:])
    found = ss.find_path(*ENDS, hill, trials=trials)
    assert len(found.attempts) == 2
    assert found.profile.monotone()


@pytest.mark.parametrize("with_the_line", [True, False])
def test_a_curve_that_flew_off_is_no_path(ridge, with_the_line):
    """However few points it would be seen at near the wall, which it crosses at great speed."""
    wild = ss.Trial(degree=3, steps=20, lr=1e6)
    trials = [ss.Trial(degree=1, steps=0), wild] if with_the_line else [wild]
    found = ss.find_path(*ENDS, ridge, trials=trials)
    assert found.attempts[-1].diverged
    assert found.attempts[-1].climb == math.inf
    assert found.profile.climb > 0.9
    assert max(float(w.abs().max()) for w in found.curve.point(0.5).values()) < 2


def test_a_curve_is_looked_at_as_closely_where_it_is_fast():
    curve = ss.Bezier(*ENDS, degree=7)
    curve.set_control_points([at(0.0, (-1) ** i * 80.0) for i in range(6)])
    points = [curve.point(t) for t in paced(curve, 61)]
    flat = torch.stack([torch.cat([w.reshape(-1) for w in point.values()]) for point in points])
    steps = flat.diff(dim=0).norm(dim=1)
    assert float(steps.max()) <= 1.3 * float((flat[-1] - flat[0]).norm()) / 60
    assert not has_flown_off(curve)


def test_a_tolerance_can_be_given(ridge):
    assert len(ss.find_path(*ENDS, ridge, trials=SHORT, tol=5.0).attempts) == 1


def test_a_trial_goes_on_from_the_best_path_so_far(ridge):
    first = ss.Trial(degree=2, steps=20, lr=0.1)
    onward = ss.find_path(*ENDS, ridge, trials=(first, ss.Trial(degree=4, steps=0)))
    assert onward.attempts[1].climb == pytest.approx(onward.attempts[0].climb, abs=1e-4)
    anew = ss.find_path(*ENDS, ridge, trials=(first, ss.Trial(degree=4, steps=0, fresh=True)))
    straight = ss.profile(ss.Line(*ENDS), ridge).climb
    assert anew.attempts[1].climb == pytest.approx(straight, abs=1e-5)


def test_the_default_trials_start_with_the_line_and_get_costlier():
    assert TRIALS[0] == ss.Trial(degree=1, steps=0)
    assert len(TRIALS) > 3


@pytest.mark.parametrize("passes", [1, 100, 1000])
def test_the_default_trials_cost_the_same_each_up_to_a_step(passes):
    for trial in default_trials(passes)[1:]:
        per_step = find_goal(trial.goal).points
        assert passes <= trial.steps * per_step < passes + per_step


def test_a_reach_is_in_units_of_the_distance_of_the_ends(ridge):
    ends = at(-1.0, 0.05), at(3.0, 0.05)  # of two coordinates one differs, by 4
    given = {"degree": 2, "steps": 5, "optimizer": "adam"}
    reach, lr = (
        ss.find_path(*ends, ridge, trials=[ss.Trial(**given, **how)])
        for how in ({"reach": 0.05}, {"lr": 0.2})
    )
    assert bits(reach.curve.point(0.5)) == bits(lr.curve.point(0.5))
    assert ss.Line(*ends).spread == 4
    assert ss.Line(ends[0], ends[0]).spread == 1


def test_how_far_a_search_reaches_does_not_hang_on_how_long_batch_norm_has_counted():
    ends = snapshot(normalized()), snapshot(moved(normalized()))
    near = ss.Line(*ends).spread
    ends[1]["1.num_batches_tracked"] += 1000
    ends[1]["1.running_var"] += 10
    assert ss.Line(*ends).spread == near


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("goal", ["mean", "worst", "uphill"])
@pytest.mark.parametrize("shape", [{"degree": 4}, {"bends": 3}])
def test_every_trial_stays_in_its_subspace_and_keeps_its_ends(optimizer, goal, shape):
    start = convnet()
    mask = ss.Mask.from_scores(ss.scores.magnitude(start), sparsity=0.75)
    end = moved(start)
    for model in (start, end):
        mask.apply_(model)
    trial = ss.Trial(steps=3, batch_size=4, optimizer=optimizer, goal=goal, perturbed=0.1, **shape)
    objective = ss.Objective(start, images(0))
    found = ss.find_path(start, end, objective, subspace=mask, trials=(trial,), points=5)
    for name, active in mask.items():
        for point in (*found.curve.control_points(), found.curve.point(0.4)):
            assert (point[name][~active] == 0).all()
            assert (point[name][active] != 0).any()
    assert bits(found.curve.point(0)) == bits(start)
    assert bits(found.curve.point(1)) == bits(end)


def test_the_same_seed_finds_the_same_path_and_an_interruption_changes_nothing(
    ridge, tmp_path, monkeypatch
):
    whole = ss.find_path(*ENDS, ridge, trials=SHORT)
    calls, batch_loss = [], ridge.batch_loss

    def interrupted(point, batch):
        calls.append(1)
        if len(calls) == 60:  # inside the third trial
            raise KeyboardInterrupt
        return batch_loss(point, batch)

    monkeypatch.setattr(ridge, "batch_loss", interrupted)
    kept = Checkpoint(tmp_path / "path.safetensors", 0.0)
    with pytest.raises(KeyboardInterrupt):
        ss.find_path(*ENDS, ridge, trials=SHORT, checkpoint=kept)
    again = ss.find_path(*ENDS, ridge, trials=SHORT, checkpoint=kept)
    assert again.attempts == whole.attempts
    assert same_values(again.curve.point(0.3), whole.curve.point(0.3))
    assert not list(tmp_path.iterdir())


def test_a_search_needs_a_trial(ridge):
    with pytest.raises(ss.InputError, match="at least one trial"):
        ss.find_path(*ENDS, ridge, trials=())
    assert math.isfinite(ss.find_path(*ENDS, ridge, trials=SHORT[:1]).profile.climb)


@pytest.mark.parametrize(
    "settings",
    [
        {"perturbed": math.nan},
        {"perturbed": -1.0},
        {"perturbed": math.inf},
        {"steps": 2.5},
        {"degree": 0},
        {"bends": -1},
        {"lr": math.nan},
        {"batch_size": 0},
        {"goal": "least"},
        {"optimizer": "newton"},
        {"sampling": "odd"},
    ],
    ids=str,
)
def test_a_trial_that_makes_no_sense_is_refused_before_any_is_made(settings):
    with pytest.raises(ss.InputError):
        ss.Trial(**settings)


@pytest.mark.parametrize("end", [0, 1], ids=["start", "end"])
def test_a_search_from_or_to_a_point_without_a_loss_is_refused(ridge, end):
    ends = list(ENDS)
    ends[end] = {name: value * math.nan for name, value in ends[end].items()}
    name = ("start", "end")[end]
    with pytest.raises(ss.InputError, match=f"The loss at the {name} of the path is not finite"):
        ss.find_path(*ends, ridge, trials=SHORT)


class Centred(torch.nn.Module):
    """Inputs are taken from a mean that is no parameter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((4,), 3.0))
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, inputs):
        return self.layer(inputs - self.mean)


@pytest.mark.parametrize("form", [lambda model: model, snapshot], ids=["models", "mappings"])
def test_a_search_moves_parameters_alone_and_no_buffers(form):
    model, other = seeded(Centred), seeded(Centred, seed=1)
    objective = ss.Objective(model, (draw(20, 4), classes(20, 2)))
    trials = (
        ss.Trial(degree=1, steps=0),
        ss.Trial(degree=3, steps=2, perturbed=0.5),
        ss.Trial(bends=2, steps=2, perturbed=0.5),
        ss.Band(cycles=(ss.Cycle(2, 0.1),)),
    )
    for number in range(1, len(trials) + 1):
        found = ss.find_path(form(model), form(other), objective, trials=trials[:number], tol=-1.0)
        assert set(found.curve.names) == {"layer.weight", "layer.bias"}
        assert torch.equal(found.curve.point(0.4)["mean"], model.mean)


def test_ends_that_do_not_fit_the_model_are_refused_before_any_step():
    objective = ss.Objective(seeded(Centred), (draw(20, 4), classes(20, 2)))
    ends = {"layer.weight": torch.zeros(2, 4)}, {"layer.weight": torch.ones(2, 4)}
    with pytest.raises(ss.InputError, match=r"no value for the parameter 'layer\.bias'"):
        ss.find_path(*ends, objective, trials=(ss.Trial(steps=5),))
    with pytest.raises(ss.InputError, match=r"no value for the parameter 'layer\.bias'"):
        ss.neb(*ends, objective)
