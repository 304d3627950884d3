"""Which are the highest, against a stable sort; and how many stay."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsescape import InputError
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


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_a_sparsity_that_cannot_be_is_refused(sparsity):
    with pytest.raises(InputError, match="Sparsity is a number from 0 to 1"):
        keep_count(10, sparsity)
