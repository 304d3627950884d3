"""Places to grow: listed or not, the same are chosen."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sparsescape as ss
from sparsescape.selection import top
from sparsescape.sparsifiers import places
from sparsescape.sparsifiers.places import Listed, Marked, Outside, ranks

SETS = st.tuples(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 10**6), st.data())


def best(score, allowed, count):
    return top(score, count, allowed)


def drawn_from(case):
    inside, seed, data = case
    active = torch.tensor(inside)
    held = Outside(active.nonzero().flatten(), active.shape), Marked(~active)
    count = data.draw(st.integers(0, int((~active).sum())))
    return held, active, count, seed


@given(SETS)
def test_the_same_places_are_drawn_without_a_list_of_them(case):
    (outside, marked), _, count, seed = drawn_from(case)
    chance = [np.random.default_rng(seed) for _ in range(2)]
    expected = marked.drawn(chance[0], count).marked.nonzero().flatten()
    assert torch.equal(outside.drawn(chance[1], count).flat, expected)
    assert outside.count == marked.count


def test_without_numba_the_same_places_are_drawn(monkeypatch):
    active = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) < 0.1
    found = []
    for works in (False, True):
        monkeypatch.setattr(places, "works", lambda works=works: works)
        found.append(Marked(~active).drawn(np.random.default_rng(1), 300).marked)
    assert torch.equal(*found)
    assert int((found[0] & ~active).sum()) == int(found[0].sum()) == 300


def test_of_a_large_weight_nothing_of_its_size_is_made(monkeypatch):
    flat = torch.arange(0, 10**12, 10**9)
    found = Outside(flat, torch.Size((10**6, 10**6))).drawn(np.random.default_rng(0), 5000)
    assert len(found.flat.unique()) == 5000
    assert not (found.flat % 10**9 == 0).any()
    assert torch.equal(found.flat, found.flat.sort().values)


@given(SETS)
def test_the_highest_scores_are_found_a_few_at_a_time(case):
    (outside, marked), active, count, seed = drawn_from(case)
    source = torch.Generator().manual_seed(seed)
    score = torch.randint(-3, 4, active.shape, generator=source).float()  # with many ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "AT_ONCE", 7)
        found = outside.best(score, count, best)
    assert torch.equal(found.flat, marked.best(score, count, best).marked.nonzero().flatten())


@given(SETS)
def test_of_listed_places_the_same_are_chosen_as_of_marked_ones(case):
    (_, marked), active, count, seed = drawn_from(case)
    listed = Listed(marked.marked.nonzero().flatten(), active.numel())
    chance = [np.random.default_rng(seed) for _ in range(2)]
    drawn = marked.drawn(chance[0], count).marked.nonzero().flatten()
    assert torch.equal(listed.drawn(chance[1], count).flat, drawn)
    score = torch.rand(active.shape, generator=torch.Generator().manual_seed(seed))
    chosen = marked.best(score, count, best).marked.nonzero().flatten()
    assert torch.equal(listed.best(score, count, best).flat, chosen)


def test_many_of_many_places_are_drawn_without_a_list_of_all(monkeypatch):
    size, count = 10**6, 6 * 10**4
    monkeypatch.setattr(places, "AT_ONCE", 1000)
    monkeypatch.setattr(torch, "randperm", _of_few(torch.randperm, 10 * count))
    found = ranks(np.random.default_rng(0), size, count)
    assert len(found.unique()) == count
    assert 0 <= int(found.min()) < int(found.max()) < size
    # Half of them in each half, but for five standard deviations.
    assert abs(int((found < size // 2).sum()) - count / 2) < 5 * (count / 4) ** 0.5


def _of_few(permute, limit):
    def checked(count, **more):
        assert count < limit
        return permute(count, **more)

    return checked


def test_one_score_for_each_position_is_asked_for():
    places = Outside(torch.tensor([1]), torch.Size((2, 3)))
    with pytest.raises(ss.InputError, match=r"\(2, 3\), not \(1,\)"):
        places.best(torch.ones(1), 1, best)
