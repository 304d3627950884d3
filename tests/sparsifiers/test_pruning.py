"""Dense to sparse: how many weights are closed, when, and which."""

import itertools

import pytest
import torch

import sparsescape as ss
from helpers import OPTIMIZERS, bits, convnet, same_values, train
from sparsescape.points import snapshot


def attached(sparsifier, model=None):
    model = convnet() if model is None else model
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    return model, optimizer, sparsifier.attach(model, optimizer)


def masks_after_every_step(sparsifier, steps, model=None):
    model, optimizer, sparsifier = attached(sparsifier, model)
    masks = [sparsifier.mask]
    for step in range(steps):
        train(model, optimizer, [step])
        masks.append(sparsifier.mask)
    return masks


def hand_counted(layer_counts):
    return [dict(zip(("0.weight", "4.weight"), counts, strict=True)) for counts in layer_counts]


def test_counts_follow_the_cubic_schedule():
    """s = 0.8·(1 − (1 − p)³) at p = 0, 1/4, 2/4, 3/4, 1 is 0, .4625, .7, .7875, .8.

    Of 36 weights these close 0, 16.65, 25.2, 28.35, 28.8; of 324: 0, 149.85, 226.8, 255.15, 259.2.
    """
    masks = masks_after_every_step(ss.GradualMagnitude(0.8, begin=2, end=10, every=2), 12)
    dense, quarter, half, more, last = (36, 324), (19, 174), (11, 97), (8, 69), (7, 65)
    expected = [dense] * 4 + [quarter] * 2 + [half] * 2 + [more] * 2 + [last] * 3
    assert [mask.counts for mask in masks] == hand_counted(expected)


def test_the_end_is_an_update_even_where_it_is_off_the_beat():
    """Updates at 1, 6 and at 8, the end: s = .5·(1 − (1 − p)³), p = 0, 5/7, 1."""
    masks = masks_after_every_step(ss.GradualMagnitude(0.5, begin=1, end=8, every=5), 9)
    closed = [mask.total - mask.count for mask in masks]
    # 36·s and 324·s at p = 5/7: 17.58 and 158.22; at 1: 18 and 162.
    assert closed == [0, 0, 0, 0, 0, 0, 176, 176, 180, 180]


def test_the_initial_sparsity_is_reached_at_the_beginning():
    sparsifier = ss.GradualMagnitude(0.75, initial_sparsity=0.5, begin=2, end=4, every=1)
    masks = masks_after_every_step(sparsifier, 4)
    # At p = 1/2: .75 − .25/8 = .71875 closes 25.875 of 36 and 232.875 of 324.
    expected = [(36, 324)] * 2 + [(18, 162), (10, 91), (9, 81)]
    assert [mask.counts for mask in masks] == hand_counted(expected)


@pytest.mark.parametrize("end", [0, 4])
def test_pruning_that_begins_at_step_0_begins_at_attach(end):
    sparsifier = ss.GradualMagnitude(0.75, initial_sparsity=0.5, begin=0, end=end, every=2)
    masks = masks_after_every_step(sparsifier, 5)
    first = {0: (9, 81), 4: (18, 162)}[end]
    assert masks[0].counts == hand_counted([first])[0]
    assert masks[-1].counts == hand_counted([(9, 81)])[0]


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
@pytest.mark.parametrize("every", [1, 2, 3])
def test_what_is_closed_stays_closed(distribution, every):
    sparsifier = ss.GradualMagnitude(0.9, begin=1, end=9, every=every, distribution=distribution)
    masks = masks_after_every_step(sparsifier, 10)
    for before, after in itertools.pairwise(masks):
        assert after & before == after


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
def test_what_is_closed_stays_closed_where_open_weights_become_0(distribution):
    """Weights that training leaves at exactly 0 go before those that were closed earlier."""
    model = convnet()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    sparsifier = ss.GradualMagnitude(
        0.2, initial_sparsity=0.1, begin=1, end=2, every=1, distribution=distribution
    )
    model, optimizer, sparsifier = attached(sparsifier, model)
    optimizer.step()
    first = sparsifier.mask
    with torch.no_grad():
        model[4].weight[:6] = 0
    optimizer.step()
    assert sparsifier.mask & first == sparsifier.mask
    assert abs(sparsifier.mask.count - 288) <= 1


def test_the_smallest_are_closed_layer_by_layer():
    model, optimizer, sparsifier = attached(ss.OneShot(0.75, at=3))
    train(model, optimizer, range(2))
    # The third step without pruning, to see the weights that pruning sees.
    twin = convnet()
    train(twin, OPTIMIZERS["SGD"](twin.parameters()), range(3))
    train(model, optimizer, [2])
    densities = ss.distributions.uniform(twin, sparsity=0.75)
    expected = ss.Mask.from_scores(ss.scores.magnitude(twin), densities=densities)
    assert sparsifier.mask == expected
    expected.apply_(twin)
    assert same_values(model, twin)


def test_the_smallest_of_all_layers_are_closed_by_a_global_threshold():
    model = convnet()
    expected = ss.Mask.from_scores(ss.scores.magnitude(model), sparsity=0.75)
    _, _, sparsifier = attached(ss.OneShot(0.75, distribution="global"), model)
    assert sparsifier.mask == expected


def test_a_distribution_of_ones_own_decides_the_densities():
    def first_layer_only(model, *, sparsity, dense=()):
        return {"0.weight": 1 - sparsity, "4.weight": 1.0}

    masks = masks_after_every_step(ss.OneShot(0.75, at=1, distribution=first_layer_only), 1)
    assert masks[-1].counts == {"0.weight": 9, "4.weight": 324}


@pytest.mark.parametrize("at", [0, 1, 4])
def test_one_shot_prunes_once_after_the_step_it_is_told(at):
    masks = masks_after_every_step(ss.OneShot(0.75, at=at), 6)
    assert [mask.count for mask in masks] == [360] * at + [90] * (7 - at)
    assert all(mask == masks[-1] for mask in masks[at:])


# ---------------------------------------------------------------------------- a table, by hand

TABLE = [[4.0, -3, 0.5, 1], [2, 1, -1, -2], [0.25, 6, 8, -6], [7, -0.5, 0.75, -5]]


class Table(torch.nn.Module):
    """One 4×4 weight, whose gradient is 1 everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(TABLE))

    def forward(self):
        return self.weight.sum()


def on_the_table(sparsifier, steps, lr=0.0):
    """The table's mask and momentum after each of the steps."""
    model = Table()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    sparsifier.attach(model, optimizer)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
        speed = optimizer.state[model.weight]["momentum_buffer"].clone()
        found.append((sparsifier.mask["weight"], speed, model.weight.detach().clone()))
    return found


LARGEST = [(0, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 3)]
"""4, 6, 8, −6, 7 and −5."""


def test_magnitude_on_a_table():
    ((once, _, _),) = on_the_table(ss.OneShot(10 / 16, at=1), 1)
    assert [tuple(p) for p in once.nonzero().tolist()] == LARGEST
    *_, (gradually, _, _) = on_the_table(ss.GradualMagnitude(10 / 16, begin=1, end=4, every=1), 4)
    assert torch.equal(gradually, once)
    ((two_of_four, _, _),) = on_the_table(ss.NM(2, 4, at=1), 1)
    assert two_of_four.int().tolist() == [[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1]]


def test_acdc_on_a_table():
    # Sparse from 1, dense from 2 and on, for the last dense phase is of 3 steps, sparse from 5.
    acdc = ss.ACDC(10 / 16, begin=1, phase=1, end=5, last_dense=3)
    found = on_the_table(acdc, 6)
    assert [int(active.sum()) for active, _, _ in found] == [6, 16, 16, 16, 6, 6]
    sparse, _, _ = found[0]
    assert [tuple(p) for p in sparse.nonzero().tolist()] == LARGEST
    # Opened weights start at 0, and momentum of all weights with them, once.
    assert found[1][2].count_nonzero() == 6
    assert [speed.unique().tolist() for _, speed, _ in found[1:4]] == [
        [0.0], [1.0], [pytest.approx(1.9)],
    ]  # fmt: skip


def test_no_sparsity_leaves_training_as_it_is():
    model, optimizer, _ = attached(ss.GradualMagnitude(0.0, begin=1, end=4, every=1))
    train(model, optimizer, range(5))
    free = convnet()
    train(free, OPTIMIZERS["SGD"](free.parameters()), range(5))
    assert bits(model) == bits(free)


def test_at_the_step_of_pruning_what_stays_does_not_move():
    model, optimizer, sparsifier = attached(ss.OneShot(0.75, at=1))
    optimizer.zero_grad()
    before = snapshot(model)
    optimizer.step()
    sparsifier.mask.apply_(before)
    assert same_values(model, before)
    assert torch.equal(model[4].weight != 0, sparsifier.mask["4.weight"])


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, float("nan")])
def test_a_sparsity_that_cannot_be_is_refused(bad):
    for how in ({"sparsity": bad}, {"sparsity": 0.5, "initial_sparsity": bad}):
        with pytest.raises(ss.InputError, match="Sparsity is a number from 0 to below 1"):
            ss.GradualMagnitude(begin=0, end=10, **how)
    with pytest.raises(ss.InputError, match="Sparsity is a number from 0 to below 1"):
        ss.OneShot(bad)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ss.InputError, match=r"cannot end .* before it begins"):
        ss.GradualMagnitude(0.5, begin=10, end=9)
    with pytest.raises(ss.InputError, match="every 1 step or more, not 0"):
        ss.GradualMagnitude(0.5, begin=0, end=9, every=0)
    with pytest.raises(ss.InputError, match="no distribution named 'even'"):
        ss.OneShot(0.5, distribution="even")
