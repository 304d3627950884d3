"""What every curve must pass. A new one is a line in CURVES."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import sparsescape as ss
from helpers import bits, classes, condition, convnet, draw, images, moved, normalized, perceptron
from sparsescape.points import as_point, is_statistic, snapshot

CURVES = {
    "line": lambda *ends, **more: ss.Line(*ends, **more),
    "bezier of degree 2": lambda *ends, **more: ss.Bezier(*ends, degree=2, **more),
    "bezier of degree 3": lambda *ends, **more: ss.Bezier(*ends, **more),
    "chain of 1 bend": lambda *ends, **more: ss.PolygonalChain(*ends, **more),
    "chain of 4 bends": lambda *ends, **more: ss.PolygonalChain(*ends, bends=4, **more),
}
BENT = {name: make for name, make in CURVES.items() if name != "line"}

every_curve = pytest.mark.parametrize("make", CURVES.values(), ids=CURVES)
every_bent_curve = pytest.mark.parametrize("make", BENT.values(), ids=BENT)
unit = st.floats(0, 1)


def ends_in_a_subspace(make_model=perceptron, sparsity=0.75):
    """Two models with nothing outside one mask, and the mask."""
    start = make_model()
    mask = ss.Mask.from_scores(ss.scores.magnitude(start), sparsity=sparsity)
    end = moved(start)
    for model in (start, end):
        mask.apply_(model)
    return start, end, mask


def bent(curve, seed=0):
    """The curve with its control points anywhere, outside the subspace too."""
    with torch.no_grad():
        curve.control.copy_(draw(*curve.control.shape, seed=seed, dtype=curve.control.dtype))
    return curve


# ---------------------------------------------------------------------- the ends


@every_curve
@pytest.mark.parametrize("seed", [0, 1])
def test_the_ends_are_exact_to_the_bit(make, seed):
    start, end = normalized(), moved(normalized())
    for i, model in enumerate((start, end)):
        with torch.no_grad():
            model[0].weight[i] = -0.0
            model[0].weight[2, i] = 1e-42  # too small for a normal number
            model[1].num_batches_tracked.fill_(7 + i)
    curve = bent(make(start, end), seed)
    assert bits(curve.point(0.0)) == bits(curve.point(0)) == bits(start)
    assert bits(curve.point(1.0)) == bits(curve.point(1)) == bits(end)


@every_curve
def test_points_or_models_can_be_given(make):
    start, end = perceptron(), moved(perceptron())
    of_models, of_points = make(start, end), make(as_point(start), as_point(end))
    assert bits(of_models.point(0.3)) == bits(of_points.point(0.3))


@every_curve
def test_later_training_of_the_ends_does_not_move_the_curve(make):
    start, end = normalized(), moved(normalized())
    curve = make(start, end)
    before = [bits(curve.point(t)) for t in (0, 0.3, 1)]
    for model in (start, end):
        for tensor in as_point(model).values():
            tensor.add_(1)
    curve.point(0)["0.weight"].add_(1)
    curve.point(1)["0.weight"].add_(1)
    assert [bits(curve.point(t)) for t in (0, 0.3, 1)] == before


@every_bent_curve
def test_the_ends_are_left_as_they_were(make):
    start, end = normalized().train(), moved(normalized())
    F.cross_entropy(start(draw(4, 6)), classes(4, 3)).backward()
    before = condition(start), condition(end)
    curve = bent(make(start, end))
    sum(p.sum() for p in curve(0.4).values()).backward()
    curve.point(0.4)
    assert (condition(start), condition(end)) == before


# ---------------------------------------------------------------------- between the ends


@every_curve
@given(t=unit)
def test_a_new_curve_is_the_straight_line(make, t):
    start, end = perceptron(torch.float64), moved(perceptron(torch.float64))
    point = make(start, end).point(t)
    for name, a in as_point(start).items():
        expected = (1 - t) * a + t * as_point(end)[name]
        assert torch.allclose(point[name], expected, rtol=0, atol=1e-12)


@every_curve
@given(t=unit)
def test_a_point_is_the_weighted_sum_of_the_control_points(make, t):
    start, end = perceptron(torch.float64), moved(perceptron(torch.float64))
    curve = bent(make(start, end))
    rows = [snapshot(start), *curve.control_points(), snapshot(end)]
    coefficients = curve.coefficients(t)
    assert sum(coefficients) == pytest.approx(1, abs=1e-12)
    for name, tensor in curve.point(t).items():
        expected = sum(c * row[name] for c, row in zip(coefficients, rows, strict=True))
        assert torch.allclose(tensor, expected, rtol=0, atol=1e-12)


@every_curve
def test_a_curve_has_no_jumps(make):
    """Between neighbours on a grid of 1000 it moves by its greatest speed at most."""
    curve = bent(make(perceptron(), moved(perceptron())))
    points = [torch.cat([p.flatten() for p in curve.point(i / 1000).values()]) for i in range(1001)]
    longest = max((a - b).abs().max().item() for a, b in itertools.pairwise(points))
    assert longest < 20 * 5 / 1000


@every_bent_curve
@given(t=unit)
def test_the_gradient_of_the_control_points_is_their_coefficients_inside_the_mask(make, t):
    start, end, mask = ends_in_a_subspace(lambda: perceptron(torch.float64))
    curve = bent(make(start, end, subspace=mask))
    directions = {n: draw(*p.shape, seed=9, dtype=p.dtype) for n, p in as_point(start).items()}
    slope = sum((p * directions[n]).sum() for n, p in curve(t).items())
    (gradient,) = torch.autograd.grad(slope, curve.control)
    mask.apply_(directions)
    expected = torch.cat([d.flatten() for d in directions.values()])
    for row, coefficient in zip(gradient, curve.coefficients(t)[1:-1], strict=True):
        assert torch.allclose(row, coefficient * expected, rtol=0, atol=1e-6)


@every_curve
@given(t=unit)
def test_statistics_follow_the_straight_line_and_counters_stay(make, t):
    start, end = normalized(torch.float64), moved(normalized(torch.float64))
    end[1].num_batches_tracked.fill_(5)
    point = bent(make(start, end)).point(t)
    for name, a in start.named_buffers():
        if a.is_floating_point():
            expected = (1 - t) * a + t * as_point(end)[name]
            assert torch.allclose(point[name], expected, rtol=0, atol=1e-12)
        else:
            assert point[name].dtype == a.dtype


@every_curve
def test_control_points_are_the_models_parameters_and_nothing_else(make):
    start, end = normalized(), moved(normalized())
    curve = make(start, end)
    parameters = {n: p.shape for n, p in start.named_parameters()}
    assert {n: p.shape for n, p in curve(0.5).items()} == parameters
    assert [n for n, _ in curve.named_parameters()] == ["control"]
    for point in curve.control_points():
        assert {n: p.shape for n, p in point.items()} == parameters


@every_curve
def test_buffers_of_a_models_own_are_no_coordinates(make):
    """A table that a model looks things up in is not weight space, and has no half-way."""

    def with_buffers():
        model = perceptron()
        model.register_buffer("table", torch.arange(6))
        model.register_buffer("scale", torch.ones(2, 3))
        return model

    start = with_buffers()
    curve = bent(make(start, moved(start)))
    parameters = sum(p.numel() for p in start.parameters())
    assert curve.control.shape[1] == parameters
    assert curve.point(0.5)["table"].tolist() == [0, 1, 2, 3, 4, 5]
    assert curve.point(0.5)["table"].dtype == torch.int64


@every_curve
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("in_subspace", [True, False])
def test_a_curve_has_the_precision_of_its_ends(make, dtype, in_subspace):
    start, end, mask = ends_in_a_subspace(lambda: perceptron(dtype))
    curve = make(start, end, subspace=mask if in_subspace else None)
    assert {p.dtype for t in (0, 0.3, 1) for p in curve.point(t).values()} == {dtype}
    assert {p.dtype for p in curve(0.3).values()} == {dtype}


# ---------------------------------------------------------------------- the subspace


@every_curve
@given(t=st.floats(-1, 2), seed=st.integers(0, 5))
def test_outside_the_mask_every_point_is_exactly_0(make, t, seed):
    start, end, mask = ends_in_a_subspace(convnet)
    curve = bent(make(start, end, subspace=mask), seed)
    for point in (curve.point(t), curve(t), *curve.control_points()):
        for name, active in mask.items():
            assert (point[name][~active] == 0).all()
            assert mask.counts[name] == active.sum() > 0


@every_bent_curve
def test_inside_the_mask_and_where_it_names_nothing_the_curve_is_free(make):
    start, end, mask = ends_in_a_subspace()
    mask = ss.Mask({"0.weight": mask["0.weight"]})
    point = bent(make(start, end, subspace=mask)).control_points()[0]
    assert ((point["0.weight"] != 0) == mask["0.weight"]).all()
    assert all((point[name] != 0).all() for name in ("0.bias", "2.weight", "2.bias"))


@every_curve
@given(t=unit)
def test_no_subspace_is_the_subspace_of_everything(make, t):
    start, end = perceptron(), moved(perceptron())
    full = ss.Mask({n: torch.ones_like(w, dtype=torch.bool) for n, w in as_point(start).items()})
    free, held = bent(make(start, end)), bent(make(start, end, subspace=full))
    assert bits(free.point(t)) == bits(held.point(t))


@every_curve
def test_training_moves_nothing_outside_the_mask(make):
    start, end, mask = ends_in_a_subspace(convnet)
    curve = make(start, end, subspace=mask)
    ss.fit_curve(curve, ss.Objective(start, images(0)), steps=5, batch_size=6)
    for t in (0.1, 0.5, 0.9):
        mask.check_contains(curve.point(t))
    assert bits(curve.point(0)) == bits(start)
    assert bits(curve.point(1)) == bits(end)


# ---------------------------------------------------------------------- kept and refused


@every_curve
def test_a_curves_state_is_its_control_points(make):
    start, end = perceptron(), moved(perceptron())
    curve, other = bent(make(start, end)), make(start, end)
    other.load_state_dict(curve.state_dict())
    assert list(curve.state_dict()) == ["control"]
    assert bits(other.point(0.3)) == bits(curve.point(0.3))


@every_curve
def test_control_points_can_be_taken_out_and_put_back(make):
    start, end, mask = ends_in_a_subspace()
    curve, other = (make(start, end, subspace=mask) for _ in range(2))
    other.set_control_points(bent(curve).control_points())
    for t in (0.0, 0.2, 0.7, 1.0):
        assert bits(other.point(t)) == bits(curve.point(t))
    with pytest.raises(ss.InputError, match="free control points, not"):
        other.set_control_points([*curve.control_points(), snapshot(start)])


@every_curve
def test_a_copied_curve_is_a_curve_of_its_own(make):
    curve = bent(make(perceptron(), moved(perceptron())))
    twin, before = copy.deepcopy(curve), bits(curve.point(0.3))
    bent(twin, seed=5)
    assert bits(curve.point(0.3)) == before


@every_curve
@pytest.mark.parametrize("which", ["start", "end"])
def test_an_end_outside_the_subspace_is_refused(make, which):
    start, end, mask = ends_in_a_subspace()
    outside = {"start": start, "end": end}[which]
    closed = (~mask["0.weight"]).nonzero()[0]
    with torch.no_grad():
        outside[0].weight[tuple(closed)] = 1e-30
    with pytest.raises(ss.InputError, match=f"The {which} of the curve is outside the subspace"):
        make(start, end, subspace=mask)


@every_curve
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("2.bias"), "Only one end of the curve has a parameter '2.bias'"),
        (lambda p: p.update(extra=torch.zeros(1)), "Only one end .* parameter 'extra'"),
        (
            lambda p: p.update({"2.weight": torch.zeros(3, 9)}),
            r"'2.weight' has shape \(3, 8\) at the start of the curve and \(3, 9\) at its end",
        ),
    ],
    ids=["missing", "extra", "shape"],
)
def test_ends_of_different_models_are_refused(make, change, message):
    end = snapshot(perceptron())
    change(end)
    with pytest.raises(ss.InputError, match=message):
        make(perceptron(), end)


@every_curve
def test_a_subspace_of_another_model_is_refused(make):
    wrong = ss.Mask({"9.weight": torch.ones(2, 2, dtype=torch.bool)})
    with pytest.raises(ss.InputError, match="The mask does not fit"):
        make(perceptron(), perceptron(), subspace=wrong)


@every_curve
@pytest.mark.parametrize("which", [0, 1])
def test_statistics_that_only_one_end_carries_are_carried_nowhere(make, which):
    """Otherwise the loss at one end would be taken under other statistics than the path's."""
    ends = [snapshot(normalized()), snapshot(moved(normalized()))]
    ends[which] = {n: p for n, p in ends[which].items() if not is_statistic(n)}
    curve = make(*ends)
    for t in (0, 0.5, 1):
        assert sorted(curve.point(t)) == sorted(n for n, _ in normalized().named_parameters())


def test_a_curve_of_models_on_a_module_list_keeps_their_names():
    model = nn.ModuleDict({"body": perceptron()})
    assert list(ss.Line(model, moved(model))(0.5)) == [n for n, _ in model.named_parameters()]


# ---------------------------------------------------------------------- slopes, and following


@every_curve
@given(t=st.floats(0.001, 0.999))
def test_slopes_are_the_derivatives_of_the_coefficients(make, t):
    curve, by = make(perceptron(), moved(perceptron())), 1e-6
    pieces = getattr(curve, "bends", 0) + 1
    assume(abs(t * pieces - round(t * pieces)) > 1e-4)  # a chain has no slope at its bends
    around = zip(curve.coefficients(t + by), curve.coefficients(t - by), strict=True)
    expected = [(after - before) / (2 * by) for after, before in around]
    assert curve.slopes(t) == pytest.approx(expected, abs=1e-5)


@every_bent_curve
@given(t=unit)
def test_across_the_curve_its_gradient_is_what_is_not_along_it(make, t):
    curve = bent(make(perceptron(torch.float64), moved(perceptron(torch.float64))))
    assert bits(curve.crossing(t)) == bits(curve(t))
    along = torch.cat(curve._mixed(curve.slopes(t))).detach()
    along /= along.norm()
    direction = draw(len(along), seed=3, dtype=torch.float64)
    across = direction - (direction @ along) * along
    (found,) = torch.autograd.grad(curve._flatten(curve.crossing(t)) @ direction, curve.control)
    (expected,) = torch.autograd.grad(curve._flatten(curve(t)) @ across, curve.control)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("bezier of degree 2", lambda *e, **m: ss.Bezier(*e, degree=3, **m)),
        ("bezier of degree 3", lambda *e, **m: ss.Bezier(*e, degree=7, **m)),
        ("line", lambda *e, **m: ss.Bezier(*e, degree=4, **m)),
        ("line", lambda *e, **m: ss.PolygonalChain(*e, bends=2, **m)),
        ("chain of 1 bend", lambda *e, **m: ss.PolygonalChain(*e, bends=5, **m)),
        ("chain of 4 bends", lambda *e, **m: ss.PolygonalChain(*e, bends=9, **m)),
    ],
)
@pytest.mark.parametrize("held", [True, False])
def test_a_curve_that_can_be_another_one_follows_it_exactly(low, high, held):
    start, end, mask = ends_in_a_subspace(lambda: perceptron(torch.float64))
    subspace = mask if held else None
    first = bent(CURVES[low](start, end, subspace=subspace))
    second = high(start, end, subspace=subspace).follow_(first)
    for t in torch.linspace(0, 1, 41).tolist():
        a, b = first.point(t), second.point(t)
        assert all(torch.allclose(a[n], b[n], rtol=0, atol=1e-10) for n in a)
    if held:
        assert (second.control[:, second.openings == 0].abs() == 0).all()


def test_raising_the_degree_is_the_textbooks():
    """Q_k = k/(n+1)·P_{k−1} + (1 − k/(n+1))·P_k."""
    start, end = perceptron(torch.float64), moved(perceptron(torch.float64))
    low = bent(ss.Bezier(start, end, degree=3))
    raised = ss.Bezier(start, end, degree=4).follow_(low).control
    points = torch.cat([low.ends[:1], low.control, low.ends[1:]])
    expected = [k / 4 * points[k - 1] + (1 - k / 4) * points[k] for k in (1, 2, 3)]
    assert torch.allclose(raised, torch.stack(expected), rtol=0, atol=1e-10)


@every_bent_curve
def test_control_points_are_moved_by_as_much_as_was_asked_for_inside_the_subspace(make):
    start, end, mask = ends_in_a_subspace(convnet)
    curve = make(start, end, subspace=mask)
    before = curve.control.detach().clone()
    curve.perturb_(0.25, torch.Generator().manual_seed(0))
    moves, distance = curve.control - before, (curve.ends[1] - curve.ends[0]).norm()
    assert torch.allclose(moves.norm(dim=1), 0.25 * distance)
    assert (moves[:, curve.openings == 0] == 0).all()
