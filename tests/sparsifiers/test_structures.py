"""Allowed patterns."""

import pytest
import torch
from torch import nn

import sparsescape as ss
from sparsescape.sparsifiers.structures import blocks, fan_in, n_of_m


def test_n_of_m_goes_along_the_input_channels():
    scores = torch.arange(2 * 4 * 3 * 3.0).reshape(2, 4, 3, 3)
    chosen = n_of_m(1, 2)(scores, 0)
    assert (chosen.reshape(2, 2, 2, 3, 3).sum(2) == 1).all()
    assert chosen[:, 1::2].all()


def test_inputs_that_do_not_divide_are_refused_by_shape():
    with pytest.raises(ss.InputError, match=r"\(2, 6\) has 6 inputs"):
        n_of_m(2, 4)(torch.ones(2, 6), 0)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4)])
def test_an_impossible_pattern_is_refused(n, m):
    with pytest.raises(ss.InputError, match="can be kept"):
        n_of_m(n, m)


def test_blocks_are_whole_and_reach_over_the_edge():
    scores = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0))
    chosen = blocks(2, 2)(scores, 45)
    whole = chosen[:4].reshape(2, 2, 3, 2, 3).movedim(1, 2).flatten(2)
    assert (whole.all(2) | ~whole.any(2)).all()


def test_constant_fan_in_is_constant():
    scores = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    assert fan_in(scores, 12).sum(1).tolist() == [3, 3, 3, 3]
    assert fan_in(scores, 14).sum(1).tolist() == [4, 4, 3, 3]


def test_srigl_keeps_a_constant_fan_in_while_it_trains():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    srigl = ss.SRigL(0.75, distribution="uniform", update_every=1).attach(model, optimizer)
    for step in range(8):
        optimizer.zero_grad()
        x = torch.randn(32, 16, generator=torch.Generator().manual_seed(step))
        (model(x) - x.roll(1, 1)).square().mean().backward()
        optimizer.step()
        for active in srigl.mask.values():
            fan_ins = active.sum(1)
            alive = fan_ins[fan_ins > 0]
            assert alive.max() - alive.min() <= 1
            assert active.sum() == 64


def test_whole_blocks_move():
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mest = ss.MEST(0.75, update_every=1, distribution="uniform", structure=blocks(2, 2))
    mest.attach(model, optimizer)
    start = mest.mask
    model(torch.randn(9, 8)).square().sum().backward()
    optimizer.step()
    sums = mest.mask["weight"].reshape(4, 2, 4, 2).sum((1, 3))
    assert set(sums.flatten().tolist()) == {0, 4}
    assert mest.mask != start
