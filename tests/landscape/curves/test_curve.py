"""Curves against the constructions they are named after."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from helpers import draw


def point(*values):
    return {"w": torch.tensor([values], dtype=torch.float64)}


def with_control(curve, rows):
    curve.set_control_points([point(*row) for row in rows])
    return curve


def de_casteljau(points, t):
    """Interpolate between neighbours until one is left."""
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in itertools.pairwise(points)]
    return points[0]


@pytest.mark.parametrize(
    "point", [{}, {"w": torch.zeros(1)}, {"w": torch.zeros(3, 1)}], ids=["none", "fewer", "turned"]
)
def test_a_control_point_of_another_form_is_refused_and_none_is_moved(point):
    curve = ss.Bezier({"w": torch.zeros(1, 3)}, {"w": torch.ones(1, 3)}, degree=3)
    before = curve.control.clone()
    with pytest.raises(ss.InputError, match=r"no 'w' of shape \(1, 3\)"):
        curve.set_control_points([{"w": torch.full((1, 3), 5.0)}, point])
    assert torch.equal(curve.control, before)


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 8])
@given(t=st.floats(0, 1))
def test_a_bezier_curve_is_de_casteljaus(degree, t):
    rows = [draw(3, seed=k, dtype=torch.float64) for k in range(degree + 1)]
    curve = ss.Bezier(point(*rows[0]), point(*rows[-1]), degree=degree)
    with_control(curve, rows[1:-1])
    assert torch.allclose(curve.point(t)["w"][0], de_casteljau(rows, t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("degree", [2, 3, 5])
@given(t=st.floats(0, 1))
def test_the_derivative_with_respect_to_the_control_points_is_de_casteljaus(degree, t):
    rows = [draw(2, seed=k, dtype=torch.float64).requires_grad_() for k in range(degree + 1)]
    curve = ss.Bezier(point(*rows[0].tolist()), point(*rows[-1].tolist()), degree=degree)
    with_control(curve, [row.tolist() for row in rows[1:-1]])
    (found,) = torch.autograd.grad(curve(t)["w"].square().sum(), curve.control)
    inner = torch.autograd.grad(de_casteljau(rows, t).square().sum(), rows[1:-1])
    assert torch.allclose(found, torch.stack(inner), rtol=0, atol=1e-6)


def test_a_bezier_curve_of_degree_2_worked_out_by_hand():
    """At 1/4: 9/16·(0, 0) + 6/16·(4, 8) + 1/16·(16, 0)."""
    curve = with_control(ss.Bezier(point(0, 0), point(16, 0), degree=2), [(4, 8)])
    assert curve.point(0.25)["w"].tolist() == [[2.5, 3.0]]


def test_a_chain_goes_straight_from_bend_to_bend():
    curve = with_control(ss.PolygonalChain(point(0, 0), point(3, 0), bends=2), [(0, 3), (3, 3)])
    on_the_way = {1 / 6: (0, 1.5), 1 / 3: (0, 3), 0.5: (1.5, 3), 2 / 3: (3, 3), 5 / 6: (3, 1.5)}
    for t, expected in on_the_way.items():
        assert curve.point(t)["w"][0].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_line_goes_on_beyond_its_ends():
    line = ss.Line(point(1, 0), point(3, 4))
    assert line.point(1.5)["w"].tolist() == [[4.0, 6.0]]
    assert line.point(-0.5)["w"].tolist() == [[0.0, -2.0]]


def test_a_line_has_nothing_to_train():
    assert ss.Line(point(0), point(1)).control.numel() == 0
    assert ss.Line(point(0), point(1)).control_points() == []


@pytest.mark.parametrize(("degree", "free"), [(1, 0), (2, 1), (4, 3)])
def test_a_bezier_curve_of_degree_n_has_one_free_control_point_less(degree, free):
    assert len(ss.Bezier(point(0), point(1), degree=degree).control_points()) == free


def test_control_points_start_evenly_spaced_on_the_line():
    curve = ss.PolygonalChain(point(0, 0), point(4, 8), bends=3)
    assert [p["w"][0].tolist() for p in curve.control_points()] == [[1, 2], [2, 4], [3, 6]]


@pytest.mark.parametrize("degree", [0, -1])
def test_a_degree_below_1_is_refused(degree):
    with pytest.raises(ss.InputError, match=f"at least 1 and whole, not {degree}"):
        ss.Bezier(point(0), point(1), degree=degree)


def test_a_negative_number_of_bends_is_refused():
    with pytest.raises(ss.InputError, match="bends"):
        ss.PolygonalChain(point(0), point(1), bends=-1)


def test_a_curve_says_how_large_it_is_and_where_it_lies():
    ends = {"w": torch.tensor([[1.0, 0.0]])}, {"w": torch.tensor([[2.0, 0.0]])}
    mask = ss.Mask({"w": torch.tensor([[True, False]])})
    assert repr(ss.Bezier(*ends, degree=3)) == "Bezier(2 free control points of 2 numbers)"
    inside = f"PolygonalChain(1 free control point of 2 numbers, inside {mask})"
    assert repr(ss.PolygonalChain(*ends, subspace=mask)) == inside
