"""Where on a curve a search looks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from helpers import convnet, images, moved, tensor_bits
from sparsescape.landscape.search.sampling import SAMPLINGS, Evenly, WhereHigh
from sparsescape.training.checkpoints import Checkpoint

GRID = torch.linspace(0, 1, 20001, dtype=torch.float64)[:-1] + 0.5 / 20000


def after(losses):
    """A histogram that has seen the losses, at evenly spaced t."""
    where = WhereHigh(bins=4)
    where.saw((torch.arange(len(losses)) + 0.5) / len(losses), torch.tensor(losses))
    return where


heights = st.lists(st.floats(0, 5, width=32), min_size=4, max_size=4)


def test_evenly_is_what_was_drawn():
    t, weights = Evenly()(torch.tensor([0.1, 0.7]))
    assert t.tolist() == pytest.approx([0.1, 0.7])
    assert weights.tolist() == [1, 1]


def test_before_anything_is_seen_all_t_are_as_likely():
    t, weights = WhereHigh()(GRID)
    assert torch.allclose(t, GRID, rtol=0, atol=1e-9)
    assert (weights == 1).all()


@given(heights)
def test_the_weighted_mean_of_anything_is_its_mean(losses):
    """By the evenly drawn numbers themselves, instead of many random ones."""
    t, weights = after(losses)(GRID)
    assert float(weights.mean()) == pytest.approx(1, abs=1e-3)
    assert float((weights * t).mean()) == pytest.approx(0.5, abs=1e-3)
    assert float((weights * t**2).mean()) == pytest.approx(1 / 3, abs=1e-3)


@given(heights)
def test_draws_go_where_the_loss_is_high_and_stay_everywhere(losses):
    density = after(losses).density()
    assert float(density.mean()) == pytest.approx(1)
    assert (density >= 0.5 - 1e-12).all()
    t, weights = after(losses)(GRID)
    assert (weights <= 2 + 1e-9).all()
    assert (t.diff() >= 0).all()
    assert (
        int(density.argmax()) in [i for i, x in enumerate(losses) if x == max(losses)]
        or len(set(losses)) == 1
    )


def test_what_was_never_looked_at_counts_as_the_highest():
    where = WhereHigh(bins=4)
    where.saw(torch.tensor([0.1, 0.3]), torch.tensor([1.0, 3.0]))
    assert where.density().tolist() == pytest.approx([0.5, 7 / 6, 7 / 6, 7 / 6])


def test_the_histogram_is_a_running_mean():
    where = WhereHigh(bins=2, rate=0.25)
    for loss in (4.0, 8.0):
        where.saw(torch.tensor([0.9]), torch.tensor([loss]))
    assert where.heights.tolist() == [float("inf"), 5.0]


def fitted(**more):
    start = convnet()
    curve = ss.Bezier(start, moved(start))
    objective = ss.Objective(start, images(0))
    ss.fit_curve(curve, objective, sampling="high", steps=8, batch_size=5, **more)
    return tensor_bits(curve.control)


def test_an_interrupted_search_goes_on_with_the_histogram_it_had(tmp_path):
    def interrupt(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(checkpoint=Checkpoint(tmp_path / "at", 0.0), observe=interrupt)
    assert fitted(checkpoint=Checkpoint(tmp_path / "at", 0.0)) == fitted()


def test_an_unknown_sampling_or_optimizer_is_refused():
    start = convnet()
    for wrong in ({"sampling": "hi"}, {"optimizer": "sgdd"}, {"goal": "men"}, {"lr": 0.0}):
        with pytest.raises(ss.InputError):
            ss.fit_curve(ss.Bezier(start, start), ss.Objective(start, images(0)), **wrong)
    assert list(SAMPLINGS) == ["even", "high"]
