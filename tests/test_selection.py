"""Which are the highest, against a stable sort; and how many stay."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsescape import InputError
from sparsescape.quickselect import STRIDE, nth_lowest
from sparsescape.selection import keep_count, top


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_the_highest_are_kept_and_of_equal_ones_the_first(values, count):
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    kept = sorted(order[:count])
    assert top(torch.tensor(values).float(), count).nonzero().flatten().tolist() == kept


@pytest.mark.parametrize(
    "kind", ["normal", "mostly 0", "rounded", "infinite", "all equal", "sorted"]
)
@pytest.mark.parametrize("size", [50, 20_000])
def test_top_is_the_head_of_a_stable_sort_also_among_some(kind, size):
    chance = torch.Generator().manual_seed(size)
    scores = torch.randn(size, generator=chance)
    some = torch.rand(size, generator=chance) < 0.3
    if kind == "mostly 0":
        scores *= torch.rand(size, generator=chance) < 0.1
    elif kind == "rounded":
        scores = (3 * scores).round()
    elif kind == "infinite":
        scores[::7], scores[::5] = torch.inf, -torch.inf
    elif kind == "all equal":
        scores.zero_()
    elif kind == "sorted":
        scores = scores.sort().values
    order = scores.argsort(descending=True, stable=True)
    for among in (torch.ones(size, dtype=torch.bool), some, torch.zeros(size, dtype=torch.bool)):
        allowed = order[among[order]]
        for count in (0, 1, size // 100, size // 10, size // 4, size // 2, size - 1, size):
            expected = torch.zeros(size, dtype=torch.bool)
            expected[allowed[:count]] = True
            assert torch.equal(top(scores, count, among), expected), count
            if among.all():
                assert torch.equal(top(scores, count), expected), count


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_scores_of_other_types_are_compared_as_they_are(dtype):
    scores = torch.tensor([3, 1, 2, 3, 0]).to(dtype)
    assert top(scores, 3).tolist() == [True, False, True, True, False]
    assert top(scores[::2], 1).tolist() == [True, False, False]


@pytest.mark.parametrize("size", [50, 20_000])
def test_what_is_no_number_is_never_among_the_highest(size):
    scores = torch.randn(size, generator=torch.Generator().manual_seed(0))
    scores[::3] = torch.nan
    numbers = int((~scores.isnan()).sum())
    for count in (1, size // 3, numbers, size):
        found = top(scores, count)
        assert int(found.sum()) == min(count, numbers)
        assert not scores[found].isnan().any()


@pytest.mark.parametrize("place", [0, 1, 500, 998, 999])
@pytest.mark.parametrize("kind", ["normal", "few values", "sorted", "reversed"])
def test_nth_lowest_is_the_one_at_that_place_of_the_sorted(kind, place):
    values = np.random.default_rng(place).standard_normal(1000)
    values = {
        "normal": values, "few values": values.round(), "sorted": np.sort(values),
        "reversed": np.sort(values)[::-1].copy(),
    }[kind]  # fmt: skip
    assert nth_lowest(values.copy(), place) == np.sort(values)[place]


def test_a_sample_that_misleads_is_noticed():
    """All that the sample sees is low, and the highest lie between its places."""
    scores = torch.zeros(20_000)
    high = [i for i in range(20_000) if i % STRIDE][:5000]
    scores[high] = torch.rand(5000, generator=torch.Generator().manual_seed(0)) + 1
    order = scores.argsort(descending=True, stable=True)
    for count in (100, 2500, 5000, 6000):
        assert set(top(scores, count).nonzero().flatten().tolist()) == set(order[:count].tolist())


def test_without_numba_the_same_are_kept(without_numba):
    scores = torch.randn(3000, generator=torch.Generator().manual_seed(0)).mul_(9).round_()
    some = torch.rand(3000, generator=torch.Generator().manual_seed(1)) < 0.5
    order = scores.argsort(descending=True, stable=True)
    expected = order[some[order]][:700].sort().values
    assert torch.equal(top(scores, 700, some).nonzero().flatten(), expected)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_a_sparsity_that_cannot_be_is_refused(sparsity):
    with pytest.raises(InputError, match="Sparsity is a number from 0 to 1"):
        keep_count(10, sparsity)
