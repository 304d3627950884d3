"""Mini-batches that depend on the step alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsescape.training.batches import Batches


def numbers(count):
    return torch.arange(count), torch.arange(count) * 10


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_a_pass_shows_every_example_once_but_for_the_rest(count, size, seed, epoch):
    batches = Batches(numbers(count), batch_size=size, seed=seed)
    actual = min(size, count)
    seen = []
    for index in range(batches.per_epoch):
        inputs, targets = batches(epoch * batches.per_epoch + index)
        assert len(inputs) == actual
        assert torch.equal(targets, inputs * 10)
        seen += inputs.tolist()
    assert batches.per_epoch == count // actual
    assert len(set(seen)) == len(seen) == count - count % actual


@given(st.permutations(range(12)))
def test_a_batch_hangs_on_its_step_and_not_on_those_before(order):
    in_order, shuffled = (Batches(numbers(10), batch_size=3, seed=7) for _ in range(2))
    expected = [in_order(step)[0].tolist() for step in range(12)]
    assert {step: shuffled(step)[0].tolist() for step in order} == dict(enumerate(expected))


def test_every_pass_and_every_seed_has_an_order_of_its_own():
    def order(seed, step):
        return Batches(numbers(50), batch_size=50, seed=seed)(step)[0].tolist()

    assert len({tuple(order(seed, step)) for seed in (0, 1) for step in (0, 1, 2)}) == 6
    assert order(0, 0) != list(range(50))


def test_over_many_passes_every_example_is_left_out_as_often():
    """10 examples in batches of 3: one is left out of each of 1000 passes."""
    batches = Batches(numbers(10), batch_size=3, seed=0)
    left_out = torch.full((10,), 1000)
    for step in range(3000):
        left_out[batches(step)[0]] -= 1
    assert left_out.sum() == 1000
    # 1000 draws with p = 1/10 have deviation 9.5. Five of them.
    assert (left_out - 100).abs().max() < 48


@pytest.mark.parametrize("size", [1, 4])
def test_drawing_leaves_torchs_random_state_and_the_data(size):
    before, data = torch.get_rng_state(), numbers(8)
    batches = Batches(data, batch_size=size, seed=0)
    batches(0)[0].fill_(-1)
    assert torch.equal(data[0], torch.arange(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_keep_the_layout_of_the_inputs():
    """Strides that say channels last make convolutions on a CPU fast; a copy in rows would not."""
    inputs = torch.zeros(6, 1, 4, 4).as_strided((6, 1, 4, 4), (16, 1, 4, 1))
    batches = Batches((inputs, torch.zeros(6)), batch_size=3, seed=0)
    assert batches(0)[0].stride()[1:] == (1, 4, 1)
