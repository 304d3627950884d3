"""Planes through weight space, and the loss on them."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from helpers import at, condition, convnet, images, moved, on_the_plane
from sparsescape.points import as_point, snapshot

numbers = st.floats(-3, 3, allow_nan=False)


def distance(one, other):
    weights = (n for n in one if "running" not in n and "tracked" not in n)
    return math.sqrt(sum(float((one[n] - other[n]).square().sum()) for n in weights))


def test_a_plane_through_three_points_holds_them():
    points = [snapshot(moved(convnet(), seed)) for seed in range(3)]
    plane = ss.plane_through(*points)
    for point in points:
        x, y, away = plane.locate(point)
        assert away == pytest.approx(0, abs=1e-4)
        there = plane.point(x, y)
        for name in plane.along:
            torch.testing.assert_close(there[name], point[name], atol=1e-5, rtol=0)
    assert plane.locate(points[0]) == (0, 0, 0)
    assert plane.locate(points[1])[:2] == pytest.approx((distance(*points[:2]), 0), abs=1e-4)
    assert plane.locate(points[2])[1] > 0


@given(x=numbers, y=numbers)
def test_distances_on_a_plane_through_points_are_those_of_weight_space(x, y):
    plane = ss.plane_through(at(1.0, 2.0), at(4.0, 6.0), at(0.0, 9.0))
    assert distance(plane.point(x, y), plane.origin) == pytest.approx(math.hypot(x, y), abs=1e-5)


def test_a_point_off_the_plane_says_how_far():
    corners = [{"w": torch.eye(4)[i]} for i in range(3)]
    plane = ss.plane_through(*corners)
    *_, away = plane.locate({"w": torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.5])})
    assert away == pytest.approx(0.5, abs=1e-6)


def test_filters_of_a_random_plane_have_the_norms_of_the_points_own():
    model = convnet()
    plane = ss.random_plane(model, seed=3)
    for name, weight in model.named_parameters():
        for direction in (plane.along, plane.across):
            if weight.ndim < 2:
                assert not direction[name].any()
            else:
                norms = direction[name].flatten(1).norm(dim=1)
                torch.testing.assert_close(norms, weight.detach().flatten(1).norm(dim=1))
    again, other = ss.random_plane(model, seed=3), ss.random_plane(model, seed=4)
    name = next(iter(plane.along))
    assert torch.equal(plane.along[name], again.along[name])
    assert not torch.equal(plane.along[name], other.along[name])
    assert not torch.equal(plane.along[name], plane.across[name])


def test_filters_of_truly_sparse_layers_are_their_rows():
    dense = convnet()
    ss.Mask.from_scores(ss.scores.random(dense), sparsity=0.75).apply_(dense)
    sparse = ss.to_sparse(copy.deepcopy(dense), min_sparsity=0.0)
    plane = ss.random_plane(sparse)
    for name, weight in as_point(dense).items():
        if weight.ndim < 2:
            continue
        module = sparse.get_submodule(name.removesuffix(".weight"))
        flat = torch.zeros(weight.numel()).index_put((module.positions(),), plane.along[name])
        norms = flat.view(len(weight), -1).norm(dim=1)
        torch.testing.assert_close(norms, weight.detach().flatten(1).norm(dim=1))
    with pytest.raises(ss.InputError, match="give the model itself"):
        ss.random_plane(snapshot(sparse))


def test_a_random_plane_stays_in_its_subspace():
    model = convnet()
    mask = ss.Mask.from_scores(ss.scores.random(model, seed=0), sparsity=0.7)
    mask.apply_(model)
    plane = ss.random_plane(model, subspace=mask)
    point = plane.point(0.7, -1.3)
    mask.check_contains(point)
    name = next(iter(mask))
    assert (point[name] != 0).sum() == mask.counts[name]
    norms = plane.across[name].flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, as_point(model)[name].flatten(1).norm(dim=1))


def test_principal_components_are_those_of_the_singular_value_decomposition():
    draws = torch.randn(6, 12, generator=torch.Generator().manual_seed(0)).double()
    points = [{"a": row[:8].reshape(2, 4), "b": row[8:]} for row in draws]
    plane = ss.principal_plane(points)
    _, values, vectors = torch.linalg.svd(draws - draws.mean(0), full_matrices=False)
    assert plane.explained == pytest.approx((values.square() / values.square().sum()).tolist()[:2])
    for direction, expected in zip((plane.along, plane.across), vectors, strict=False):
        flat = torch.cat([direction["a"].reshape(-1), direction["b"]])
        assert abs(float(flat @ expected)) == pytest.approx(1)
    assert plane.locate(points[-1]) == (0, 0, 0)
    assert ss.principal_plane(iter(points)).explained == plane.explained  # they may be loaded so
    assert all(coordinate > 0 for coordinate in plane.locate(points[0])[:2])


def test_a_survey_is_the_objective_at_every_point_and_moves_nothing():
    model = convnet()
    before = condition(model)
    objective = ss.Objective(model, images(0))
    plane = ss.random_plane(model)
    found = ss.survey(plane, objective, x=[-0.5, 0.0, 0.5], y=[0.0, 1.0])
    assert condition(model) == before
    assert (len(found.loss), len(found.loss[0]), found.count) == (2, 3, 12)
    there = objective.evaluate(plane.point(0.5, 1.0))
    assert (found.loss[1][2], found.accuracy[1][2]) == (there.loss, there.accuracy)
    assert found.loss[0][1] == objective(model)


def test_a_planted_bowl_is_seen():
    bowl = on_the_plane(lambda w: (w[0] - 1) ** 2 + 4 * w[1] ** 2)
    plane = ss.plane_through(at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0))
    found = ss.survey(plane, bowl, x=[0.0, 1.0, 2.0], y=[-1.0, 0.0, 1.0])
    assert found.loss == ((5.0, 4.0, 5.0), (1.0, 0.0, 1.0), (5.0, 4.0, 5.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.plane_through(at(0.0, 0.0), at(0.0, 0.0), at(1.0, 1.0)), "are the same"),
        (lambda: ss.plane_through(at(0.0, 0.0), at(1.0, 1.0), at(3.0, 3.0)), "on one line"),
        (lambda: ss.plane_through(at(0.0, 0.0), at(1.0, 1.0), {"v": torch.ones(2)}), "differ in"),
        (lambda: ss.principal_plane([at(0.0, 0.0), at(1.0, 1.0)]), "not 2"),
        (lambda: ss.random_plane(at(math.nan, 0.0)), "not finite"),
        (lambda: ss.principal_plane([at(i, i * i) for i in (0.0, math.inf, 3.0)]), "not finite"),
        (lambda: ss.principal_plane([at(i, 2 * i) for i in (0.0, 1.0, 3.0)]), "on one line"),
    ],
)
def test_what_spans_no_plane_is_refused(make, message):
    with pytest.raises(ss.InputError, match=message):
        make()


@pytest.mark.parametrize("across", [0.0, -2.0])
def test_nothing_is_located_on_what_is_no_plane(across):
    along = {"w": torch.tensor([[1.0, 2.0]])}
    plane = ss.Plane({"w": torch.zeros(1, 2)}, along, {"w": across * along["w"]})
    with pytest.raises(ss.InputError, match="span no plane"):
        plane.locate({"w": torch.ones(1, 2)})


def test_a_survey_without_finite_coordinates_is_refused():
    plane = ss.plane_through(at(0.0, 0.0), at(1.0, 0.0), at(0.0, 1.0))
    objective = on_the_plane(lambda w: w.sum())
    for x in ([], [0.0, math.inf], None, 3, ["a"]):
        with pytest.raises(ss.InputError, match="finite numbers"):
            ss.survey(plane, objective, x=x, y=[0.0])
    for wrong in ((None, objective), (plane, None)):
        with pytest.raises(ss.InputError, match=r"of a plane and an ss\.Objective"):
            ss.survey(*wrong, x=[0.0], y=[0.0])


def test_a_models_buffers_are_no_coordinates():
    class Normalized(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.register_buffer("mean", torch.full((1, 4), 0.5))

    models = [Normalized() for _ in range(4)]
    planes = (ss.plane_through(*models[:3]), ss.random_plane(models[0]), ss.principal_plane(models))
    for plane in planes:
        assert list(plane.along) == ["weight", "bias"]
        assert torch.equal(plane.point(1.0, 2.0)["mean"], torch.full((1, 4), 0.5))


def test_a_plane_does_not_print_its_points():
    assert repr(ss.random_plane({"w": torch.eye(3)})) == "Plane(explained=None)"
