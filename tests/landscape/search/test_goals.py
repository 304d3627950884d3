"""What a search makes small, against its definition; and what that finds on planted walls."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from helpers import at, bits, convnet, draw, images, moved, on_the_plane
from sparsescape.landscape.profiles.measures import climb
from sparsescape.landscape.search.goals import GOALS, Goal, find_goal, mean, uphill, worst

losses = st.lists(st.floats(0, 4, width=32), min_size=2, max_size=9).map(torch.tensor)


# ---------------------------------------------------------------------- definitions


@given(losses)
def test_uphill_is_never_below_the_climb_and_0_just_where_that_is(found):
    up, height = float(uphill(found, torch.ones(len(found)))), climb(found.tolist())
    assert up >= height - 1e-5
    assert (up == 0) == (height == 0)


@given(losses)
def test_uphill_does_not_know_which_end_is_the_start(found):
    weights = torch.ones(len(found))
    if found[0] != found[-1]:
        assert float(uphill(found, weights)) == pytest.approx(
            float(uphill(found.flip(0), weights)), abs=1e-5
        )


@given(losses, st.floats(0.5, 100))
def test_worst_is_near_the_maximum_at_any_scale(found, scale):
    spread = float(found.max() - found.min())
    value = float(worst(scale * found, torch.ones(len(found))))
    highest = scale * float(found.max())
    assert highest - 0.3 * scale * spread - 1e-4 <= value <= highest + 1e-4


def test_the_gradient_of_worst_is_that_of_the_smooth_maximum():
    found = draw(5, dtype=torch.float64).requires_grad_()
    (of_worst,) = torch.autograd.grad(worst(found, torch.ones(5)), found)
    tau = 0.1 * float((found.max() - found.min()).detach())
    (smooth,) = torch.autograd.grad(tau * torch.logsumexp(found / tau, 0), found)
    assert torch.allclose(of_worst, smooth, rtol=0, atol=1e-12)


def test_a_mean_is_weighted_by_how_rarely_its_points_are_drawn():
    assert float(mean(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.5]))) == 1.75


@pytest.mark.parametrize("points", [0, -1])
def test_a_goal_looks_at_some_points(points):
    with pytest.raises(ss.InputError, match=f"1 points or more, not {points}"):
        Goal(mean, points=points)
    with pytest.raises(ss.InputError, match="3 points or more, not 2"):
        Goal(uphill, points=2, ends=True)


def test_an_unknown_goal_is_refused():
    with pytest.raises(ss.InputError, match="no goal named 'upill'; did you mean 'uphill'"):
        find_goal("upill")


# ---------------------------------------------------------------------- the first step


@pytest.mark.parametrize("name", GOALS)
@pytest.mark.parametrize("make", [ss.Bezier, ss.PolygonalChain], ids=["bezier", "chain"])
def test_a_step_is_down_the_goals_gradient_by_hand(name, make, monkeypatch):
    """The same points on the curve, their gradients by brute force, the chain rule by hand."""
    start, end = convnet(), moved(convnet(), by=0.3)
    objective, looked = ss.Objective(start, images(0), batch_norm="batch"), []
    curve = make(start, end)
    curve.perturb_(0.1, torch.Generator().manual_seed(3))
    before = curve.control.detach().clone()
    for way in ("forward", "crossing"):
        walked = getattr(curve, way)
        monkeypatch.setattr(curve, way, lambda t, w=walked: looked.append(t) or w(t))
    several = curve.several
    monkeypatch.setattr(curve, "several", lambda t, **how: looked.extend(t) or several(t, **how))
    ss.fit_curve(curve, objective, goal=name, steps=1, lr=0.5, batch_size=12, momentum=0)
    goal = GOALS[name]
    t = sorted(looked)
    assert len(t) == goal.points
    assert (0 in t and 1 in t) == goal.ends
    assert torch.allclose(
        curve.control - before,
        -0.5 * by_hand(make, start, end, before, t, goal, objective),
        atol=2e-5,
    )


def by_hand(make, start, end, control, t, goal, objective):
    curve = make(start, end)
    with torch.no_grad():
        curve.control.copy_(control)
    values, gradients = [], []
    for s in t:
        flat = curve._flatten(curve(s)).detach().requires_grad_()
        loss = objective.batch_loss(curve._shaped(flat.split(curve._sizes)), images(0))
        values.append(loss.detach())
        (slope,) = torch.autograd.grad(loss, flat)
        if goal.across:
            near = curve._flatten(curve(min(s + 1e-3, 1))) - curve._flatten(curve(max(s - 1e-3, 0)))
            near = near.detach() / near.norm().detach()
            slope = slope - (slope @ near) * near
        gradients.append(slope)
    found = torch.stack(values).requires_grad_()
    (shares,) = torch.autograd.grad(goal.of(found, torch.ones(len(t))), found)
    total = torch.zeros_like(control)
    for s, share, slope in zip(t, shares, gradients, strict=True):
        for row, coefficient in zip(total, curve.coefficients(s)[1:-1], strict=True):
            row += share * coefficient * slope
    return total


# ---------------------------------------------------------------------- planted walls

ACROSS, ALONG = 1.0, 0.3


def hill(x, y):
    """Down from 1 to 0 as x goes from −1 to 1; for y below 1 a wall of height 1 stands between."""
    ground = torch.sigmoid(-x / ALONG)
    return ground + torch.exp(-(x**2) / 0.02) * torch.sigmoid((ACROSS - y) / ALONG)


def walled():
    return on_the_plane(lambda w: hill(w[0], w[1]))


ENDS = at(-1.0, 0.05), at(1.0, 0.05)


def climb_after(objective, curve, **settings):
    search = ss.fit_curve(curve, objective, lr=0.1, **settings)
    return ss.profile(curve, objective, points=201).climb, search.passes


def test_uphill_goes_around_a_wall_that_the_mean_hurries_through():
    """At the same cost, to the pass."""
    through, cost = climb_after(walled(), ss.Bezier(*ENDS), goal="mean", steps=1600)
    around, same_cost = climb_after(walled(), ss.Bezier(*ENDS), goal="uphill", steps=200)
    assert cost == same_cost == 1600
    assert through > 0.05
    assert around < 0.01


def in_four_dimensions():
    """The same wall over the 1st and the 3rd weight; the 2nd and the 4th would take it away."""

    def loss(outputs, _):
        x, closed, y, also_closed = outputs[0]
        return hill(x, y) / (1 + closed**2 + also_closed**2)

    model = torch.nn.Linear(1, 4, bias=False)
    objective = ss.Objective(model, (torch.ones(3, 1), torch.zeros(3)), loss)
    mask = ss.Mask({"weight": torch.tensor([[True], [False], [True], [False]])})
    start, end = ({"weight": torch.tensor([[x], [0.0], [0.05], [0.0]])} for x in (-1.0, 1.0))
    return objective, mask, start, end


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_uphill_goes_around_it_inside_a_subspace(optimizer):
    objective, mask, start, end = in_four_dimensions()
    curve = ss.Bezier(start, end, subspace=mask)
    around, _ = climb_after(objective, curve, goal="uphill", steps=200, optimizer=optimizer)
    assert around < 0.01 if optimizer == "sgd" else around < 0.9
    for point in (*curve.control_points(), curve.point(0.3)):
        assert point["weight"].flatten()[[1, 3]].tolist() == [0, 0]
    assert bits(curve.point(0)) == bits(start)
    assert bits(curve.point(1)) == bits(end)


@pytest.mark.parametrize("name", GOALS)
def test_where_there_is_no_way_none_is_found(name):
    """A ridge that never ends: every path has to cross it."""
    ridge = on_the_plane(lambda w: torch.exp(-(w[0] ** 2) / 0.02) + 0.1 * torch.sigmoid(-w[0]))
    height, _ = climb_after(ridge, ss.Bezier(*ENDS), goal=name, steps=60)
    assert math.isfinite(height)
    assert height > 0.9
