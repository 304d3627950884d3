"""Where numba is missing."""

from __future__ import annotations

import pytest
import torch

from sparsescape.kernels import ops
from sparsescape.kernels.modules import SparseLinear


def test_without_numba_it_says_so_once_and_gives_the_same(monkeypatch):
    layer = SparseLinear.random(8, 5, sparsity=0.5).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    expected = layer(x)
    monkeypatch.setattr(ops, "find_spec", lambda name: None)
    monkeypatch.setattr(ops, "_numba", [])
    with pytest.warns(UserWarning, match="numba is not installed") as said:
        found = [layer(x), layer(x)]
    assert len(said) == 1
    torch.testing.assert_close(found, [expected, expected])
