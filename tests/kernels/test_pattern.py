"""The structure that values stand in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsescape import InputError
from sparsescape.kernels.pattern import Pattern, narrow
from sparsescape.kernels.positions import random_positions


@given(
    st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_transposed_is_the_same_positions_by_input(shape, groups, density, seed):
    torch.manual_seed(seed)
    shape = (shape[0] * groups, *shape[1:])
    flat = (torch.rand(shape) < density).flatten().nonzero().flatten()
    pattern = Pattern.of(flat, shape, groups)
    assert torch.equal(pattern.flat(), flat)
    order = pattern.transposed
    assert sorted(order.order.tolist()) == list(range(pattern.count))
    inputs = torch.arange(pattern.channels).repeat_interleave(order.indptr.diff().long())
    assert torch.equal(inputs, pattern.input_channels()[order.order.long()])
    codes = pattern.rows() * pattern.taps + pattern.indices % pattern.taps
    assert torch.equal(order.indices.long(), codes[order.order.long()])


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [
        (32767, torch.int16),
        (32768, torch.int32),
        (2**31 - 1, torch.int32),
        (2**31, torch.int64),
    ],
)
def test_indices_are_as_narrow_as_fit(largest, dtype):
    assert narrow(torch.tensor([largest]), largest).dtype == dtype
    assert narrow(torch.tensor([largest]), largest).item() == largest


@pytest.mark.parametrize("flat", [[0, 6], [-1, 3], [3, 1], [2, 2]])
def test_positions_that_cannot_be(flat):
    with pytest.raises(InputError, match="position"):
        Pattern.of(torch.tensor(flat), (2, 3))


@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.9, 1])
def test_random_positions_are_exactly_as_many_as_asked_for(sparsity):
    found = random_positions((40, 50), sparsity, seed=1)
    assert len(found) == round((1 - sparsity) * 2000)
    assert torch.equal(found, found.unique())
    assert torch.equal(found, random_positions((40, 50), sparsity, seed=1))
    if 0 < sparsity < 1:
        assert not torch.equal(found, random_positions((40, 50), sparsity, seed=2))


def test_random_positions_are_equally_likely():
    seen = torch.zeros(20)
    for seed in range(600):
        seen[random_positions((4, 5), 0.75, seed=seed)] += 1
    expected = 600 * 0.25
    assert (seen - expected).square().div(expected).sum() < 45  # χ² with 19 degrees: p < 1e-3
