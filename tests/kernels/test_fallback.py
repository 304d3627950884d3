"""Where numba is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sparsescape.kernels import ops
from sparsescape.kernels.modules import SparseLinear


@pytest.mark.parametrize(
    ("spec", "why"), [(None, "numba is not installed"), (object(), "numba does not work here")]
)
def test_without_numba_it_says_so_once_and_gives_the_same(spec, why, monkeypatch):
    layer = SparseLinear.random(8, 5, sparsity=0.5).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    expected = layer(x)
    monkeypatch.setattr(ops, "works", lambda: False)
    monkeypatch.setattr(ops, "find_spec", lambda name: spec)
    monkeypatch.setattr(ops, "_numba", [])
    with pytest.warns(UserWarning, match=why) as said:
        found = [layer(x), layer(x)]
    assert len(said) == 1
    torch.testing.assert_close(found, [expected, expected])


def test_a_numba_that_does_not_fit_is_as_none(tmp_path):
    broken = tmp_path / "numba"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    code = """
import sys, warnings, torch, sparsescape as ss
sys.path.insert(0, sys.argv[1])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    ss.SparseLinear.random(8, 5, sparsity=0.5)(torch.ones(2, 8)).sum().backward()
    print([str(w.message)[:24] for w in said])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "['numba does not work here']"
