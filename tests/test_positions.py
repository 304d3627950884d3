"""Listing and marking places: what is compiled says what torch says, whatever it is handed."""

import numpy as np
import pytest
import torch

from sparsescape import marks
from sparsescape.positions import SMALL, indices_of, marked_of

LAYOUTS = {
    "rows": lambda bools: bools,
    "columns": lambda bools: bools.t().contiguous().t(),
    "every other": lambda bools: bools.repeat_interleave(2, dim=1)[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("density", [0, 0.001, 0.02, 0.03, 0.1, 0.6, 1])
@pytest.mark.parametrize("size", [(0, 3), (7, 5), (1, SMALL), (97, 101)])
def test_places_are_listed_in_order(size, density, layout):
    source = torch.Generator().manual_seed(1)
    active = LAYOUTS[layout](torch.rand(size, generator=source) < density)
    found = indices_of(active)
    assert found.dtype == torch.int64
    assert torch.equal(found, active.reshape(-1).nonzero().reshape(-1))


def test_bools_of_other_bytes_are_not_listed_twice():
    """A view of other numbers as bools is whatever is not 0."""
    active = torch.full((SMALL,), 255, dtype=torch.uint8).view(torch.bool)
    assert torch.equal(indices_of(active), torch.arange(SMALL))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_numbers_are_where_they_are_not_zero(dtype):
    numbers = (torch.arange(2 * SMALL) % 3 != 0).to(dtype)
    assert torch.equal(indices_of(numbers), numbers.nonzero().reshape(-1))


@pytest.mark.parametrize("loop", [marks.list_marked, marks.list_few_marked])
def test_no_more_places_are_written_than_there_is_room_for(loop):
    """Another thread may mark more while they are listed."""
    places = np.full(300, -1)
    loop(np.ones(150, np.uint8), places[:64])
    assert (places[:64] >= 0).all()
    assert (places[64:] == -1).all()


@pytest.mark.parametrize("density", [0.03, 0.08, 0.3])
def test_places_are_listed_without_numba(density, without_numba):
    active = torch.rand(90, 91, generator=torch.Generator().manual_seed(3)) < density
    assert torch.equal(indices_of(active), active.reshape(-1).nonzero().reshape(-1))


@pytest.mark.parametrize("works", [True, False])
def test_some_of_listed_places_are_marked(works, request):
    if not works:
        request.getfixturevalue("without_numba")
    source = torch.Generator().manual_seed(2)
    flat = (torch.rand(60, 70, generator=source) < 0.2).reshape(-1).nonzero().reshape(-1)
    some = torch.rand(len(flat), generator=source) < 0.5
    found = marked_of(some, flat, torch.Size((60, 70)))
    assert torch.equal(found.reshape(-1).nonzero().reshape(-1), flat[some])
