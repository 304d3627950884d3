"""The nudged elastic band, against the construction it is named after and on planted walls."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from helpers import at, bits, convnet, draw, images, moved, on_the_plane, tensor_bits
from sparsescape.landscape.search.bands import AUTONEB, _Relaxation, respaced, tangents
from sparsescape.training.checkpoints import Checkpoint

SHORT = (ss.Cycle(40, 0.1), ss.Cycle(40, 0.05))


def tangent_by_hand(before, here, after, low, mid, high):
    """Henkelman & Jónsson 2000, equations 8 to 11, one pivot at a time."""
    plus, minus = after - here, here - before
    if high > mid > low:
        along = plus
    elif high < mid < low:
        along = minus
    else:
        far, near = max(abs(high - mid), abs(low - mid)), min(abs(high - mid), abs(low - mid))
        along = plus * far + minus * near if high > low else plus * near + minus * far
    return along / along.norm()


@pytest.mark.parametrize("seed", range(8))
def test_tangents_are_those_of_henkelman_and_jonsson(seed):
    band, losses = draw(7, 3, seed=seed), draw(7, seed=seed + 100)
    expected = [
        tangent_by_hand(*band[i - 1 : i + 2], *losses[i - 1 : i + 2].tolist()) for i in range(1, 6)
    ]
    assert torch.allclose(tangents(band, losses), torch.stack(expected), rtol=0, atol=1e-6)


@given(st.integers(0, 50), st.integers(1, 6))
def test_a_band_is_spaced_along_itself(seed, pivots):
    band = draw(pivots + 2, 3, seed=seed)
    shares = draw(pivots + 1, seed=seed + 1, dtype=torch.float64).abs() + 0.1
    spaced = respaced(band, shares)
    lengths = band.diff(dim=0).norm(dim=1)
    wanted = (shares / shares.sum()).cumsum(0)[:-1] * lengths.sum()
    for row, want in zip(spaced, wanted.tolist(), strict=True):
        assert any(on_piece(row, band, i, want, lengths) for i in range(pivots + 1))


def on_piece(row, band, i, want, lengths):
    inside = want - float(lengths[:i].sum())
    expected = torch.lerp(band[i], band[i + 1], inside / float(lengths[i]))
    return -1e-5 <= inside <= lengths[i] + 1e-5 and torch.allclose(row, expected, atol=1e-4)


def test_a_step_is_across_the_band_only():
    start, end = convnet(), moved(convnet(), by=0.3)
    chain = ss.PolygonalChain(start, end, bends=2)
    chain.perturb_(0.1, torch.Generator().manual_seed(0))
    relaxation = _Relaxation(
        chain, torch.ones(3, dtype=torch.float64), ss.Objective(start, images(0))
    )
    relaxation.loss(images(0)).backward()
    whole = chain.control.grad.clone()
    relaxation.nudge()
    along = tangents(relaxation.band, relaxation.losses)
    assert ((whole * along).sum(1).abs() > 1e-4).all()
    assert torch.allclose((chain.control.grad * along).sum(1), torch.zeros(2), atol=1e-5)
    left = whole - chain.control.grad
    assert torch.allclose(left, (left * along).sum(1, keepdim=True) * along, atol=1e-5)


def hill(w):
    return torch.exp(-(w[0] ** 2) / 0.1 - (w[1] / 0.5) ** 2) - 0.1 * w[0]


def test_a_band_goes_around_a_hill_and_gets_pivots_where_it_is_high():
    objective = on_the_plane(hill)
    chain, search = ss.neb(at(-1.0, 0.05), at(1.0, 0.05), objective, cycles=SHORT)
    assert ss.profile(chain, objective, points=201).climb < 0.1
    assert chain.bends > 3
    first, second = 40 * (3 + 2), 40 * (chain.bends + 2)
    assert (search.steps, search.passes) == (80, first + second)


def test_a_band_inside_a_subspace_stays_there_and_has_to_climb():
    mask = ss.Mask({"w": torch.tensor([[True, False]])})
    start, end = at(-1.0, 0.0), at(1.0, 0.0)
    objective = on_the_plane(hill)
    chain, _ = ss.neb(start, end, objective, subspace=mask, cycles=SHORT)
    assert all(point["w"][0, 1] == 0 for point in chain.control_points())
    assert bits(chain.point(0)) == bits(start)
    assert bits(chain.point(1)) == bits(end)
    assert ss.profile(chain, objective, points=201).climb > 0.9


def banded(**more):
    start, end = convnet(), moved(convnet(), by=0.3)
    cycles = (ss.Cycle(4, 0.02), ss.Cycle(4, 0.02))
    objective = ss.Objective(start, images(0))
    chain, _ = ss.neb(start, end, objective, cycles=cycles, pivots=2, batch_size=5, **more)
    return tensor_bits(chain.control)


@pytest.mark.parametrize("stop", [2, 6])  # in the first cycle, and in the second
def test_an_interrupted_band_goes_on_to_the_same_bits(stop, tmp_path, monkeypatch):
    calls, loss = [], _Relaxation.loss

    def interrupted(self, batch):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return loss(self, batch)

    monkeypatch.setattr(_Relaxation, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        banded(checkpoint=Checkpoint(tmp_path / "at", 0.0))
    assert banded(checkpoint=Checkpoint(tmp_path / "at", 0.0)) == banded()
    assert len(calls) == 8 + 1 + 8  # nothing was done twice but the step that was cut off
    assert not list(tmp_path.iterdir())


def test_the_published_schedule():
    assert len(AUTONEB) == 14
    assert sum(cycle.steps for cycle in AUTONEB) == 16000
    assert [cycle.lr for cycle in AUTONEB] == [0.1] * 6 + [0.01] * 4 + [0.001] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"pivots": 0},
        {"insert": -1},
        {"cycles": ()},
        {"cycles": (5,)},
        {"cycles": ss.Cycle(4, 0.1)},
        {"batch_size": 0},
        {"threshold": -0.1},
        {"threshold": float("nan")},
    ],
)
def test_a_band_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ss.InputError, match="A band"):
        ss.Band(**wrong)


@pytest.mark.parametrize(
    "cycle", [(0, 0.1), (2.5, 0.1), (4, 0.0), (4, float("nan")), (4, float("inf"))], ids=str
)
def test_a_cycle_that_makes_no_sense_is_refused(cycle):
    with pytest.raises(ss.InputError, match="A cycle has 1 step or more"):
        ss.Cycle(*cycle)
