"""Finding a path: around a wall that stands on the straight line."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import sparsescape as ss
from helpers import (
    at,
    bits,
    classes,
    condition,
    convnet,
    draw,
    images,
    moved,
    normalized,
    on_the_plane,
    tensor_bits,
)
from sparsescape.training.checkpoints import Checkpoint

ENDS = at(-1.0, 0.01), at(1.0, 0.01)
HEIGHT = 2.0


@pytest.fixture
def wall():
    """A hill of height 2 at the origin between two ends on the ground; y is free."""
    return on_the_plane(lambda w: HEIGHT * torch.exp(-(w[0] ** 2 + w[1] ** 2) / 0.18))


def fitted(curve, objective, **settings):
    return ss.fit_curve(curve, objective, **{"steps": 400, "lr": 0.1, **settings})


@pytest.mark.parametrize(
    "curve",
    [ss.Bezier(*ENDS, degree=2), ss.Bezier(*ENDS, degree=3), ss.PolygonalChain(*ENDS, bends=3)],
    ids=["degree 2", "degree 3", "chain"],
)
def test_a_search_goes_around_a_wall(curve, wall):
    assert ss.profile(curve, wall).climb > 0.99 * HEIGHT
    fitted(curve, wall)
    assert ss.profile(curve, wall, points=201).climb < 0.05 * HEIGHT
    assert bits(curve.point(0)) == bits(ENDS[0])
    assert bits(curve.point(1)) == bits(ENDS[1])


def test_a_search_in_a_subspace_cannot_leave_it_to_go_around(wall):
    """The same search with y closed ends on top of the hill."""
    mask = ss.Mask({"w": torch.tensor([[True, False]])})
    curve = ss.Bezier(at(-1.0, 0.0), at(1.0, 0.0), degree=3, subspace=mask)
    fitted(curve, wall)
    assert ss.profile(curve, wall, points=201).climb > 0.9 * HEIGHT


def test_a_search_lowers_the_loss_along_the_curve_between_two_networks():
    start, end = convnet(), moved(convnet())
    objective, curve = ss.Objective(start, images(0)), ss.Bezier(start, end, degree=2)
    before = ss.profile(curve, objective, points=11).loss
    found = ss.fit_curve(curve, objective, steps=60, lr=0.05, batch_size=12)
    after = ss.profile(curve, objective, points=11).loss
    assert (after[0], after[-1]) == (before[0], before[-1])
    assert sum(after) < sum(before)
    assert (found.steps, found.examples, found.diverged) == (60, 720, False)


def search(seed, **settings):
    start, end = convnet(), moved(convnet())
    curve = ss.Bezier(start, end, degree=3)
    ss.fit_curve(curve, ss.Objective(start, images(0)), seed=seed, **settings)
    return tensor_bits(curve.control)


def test_the_same_seed_finds_the_same_bits_and_another_does_not():
    settings = {"steps": 8, "batch_size": 5}
    first = search(0, **settings)
    torch.rand(7)
    assert search(0, **settings) == first
    assert search(1, **settings) != first


def test_the_first_step_is_down_the_gradient_of_one_batch_at_one_t():
    """With the whole data as batch, and one t: by hand from the control points."""
    start, end = convnet(), moved(convnet())
    objective, curve = ss.Objective(start, images(0)), ss.Bezier(start, end, degree=2)
    control = curve.control.detach().clone()
    ss.fit_curve(curve, objective, steps=1, lr=0.5, batch_size=12, seed=4)
    step = curve.control.detach() - control
    slopes = []
    for t in torch.linspace(0.001, 0.999, 400).tolist():
        fresh = ss.Bezier(start, end, degree=2)
        slopes.append(torch.autograd.grad(objective.batch_loss(fresh(t), images(0)), fresh.control))
    distance = min((step + 0.5 * slope).norm().item() for (slope,) in slopes)
    assert step.norm() > 0
    assert distance < 0.02 * step.norm()


def test_a_pass_over_the_data_shows_every_example_once(monkeypatch):
    objective = ss.Objective(convnet(), images(0))
    seen, batch_loss = [], objective.batch_loss

    def watched(point, batch):
        seen.extend(example.numpy().tobytes() for example in batch[0])
        return batch_loss(point, batch)

    monkeypatch.setattr(objective, "batch_loss", watched)
    ss.fit_curve(ss.Bezier(convnet(), moved(convnet())), objective, steps=3, batch_size=4)
    assert sorted(seen) == sorted(example.numpy().tobytes() for example in images(0)[0])


@pytest.mark.parametrize("mode", ["recompute", "stored", "batch"])
def test_a_search_leaves_model_and_random_state_as_they_were(mode):
    model = normalized().train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    end = moved(model)
    objective = ss.Objective(model, (draw(9, 6), classes(9, 3)), batch_norm=mode)
    before, value = condition(model), objective(model)
    ss.fit_curve(ss.Bezier(model, end), objective, steps=4, batch_size=4)
    assert condition(model) == before
    assert objective(model) == value


def test_a_data_loader_is_the_same_as_its_tensors():
    start, end = convnet(), moved(convnet())
    loader = DataLoader(TensorDataset(*images(0)), batch_size=5)
    found = []
    for data in (images(0), loader):
        curve = ss.Bezier(start, end)
        ss.fit_curve(curve, ss.Objective(start, data), steps=4, batch_size=4)
        found.append(tensor_bits(curve.control))
    assert found[0] == found[1]


def test_a_line_is_left_as_it_is(wall):
    line = ss.Line(*ENDS)
    found = fitted(line, wall)
    assert (found.steps, found.examples) == (0, 0)
    assert torch.equal(line.point(0.5)["w"], at(0.0, 0.01)["w"])


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_an_interrupted_search_goes_on_to_the_same_bits(stop, tmp_path):
    settings = {"steps": 8, "batch_size": 5}

    def interrupt(step, loss):
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(0, **settings, checkpoint=Checkpoint(tmp_path / "at", 0.0), observe=interrupt)
    resumed = search(0, **settings, checkpoint=Checkpoint(tmp_path / "at", 0.0))
    assert resumed == search(0, **settings)


def test_a_search_that_diverges_says_so():
    cliff = on_the_plane(lambda w: 1 / (w[0].abs() - 2).clamp(min=0).log())
    found = fitted(ss.Bezier(*ENDS, degree=2), cliff, steps=3)
    assert not found.diverged
    steep = on_the_plane(lambda w: -torch.exp(w[0] ** 2 + 30 * w[1]))
    found = fitted(ss.Bezier(*ENDS, degree=2), steep, lr=1e6)
    assert found.diverged
    assert found.steps < 400


def test_a_curve_between_points_of_another_model_is_refused():
    """The model's own bias would stand in for the one that is lacking."""
    objective = ss.Objective(torch.nn.Linear(4, 2), (torch.zeros(8, 4), torch.zeros(8).long()))
    ends = {"weight": torch.zeros(2, 4)}, {"weight": torch.ones(2, 4)}
    with pytest.raises(ss.InputError, match="no value for the parameter 'bias'"):
        ss.fit_curve(ss.Bezier(*ends), objective, steps=2)
