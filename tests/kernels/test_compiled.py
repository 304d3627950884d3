"""What numba keeps on disk, and what it takes from there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numba
import torch
from numba.core.dispatcher import Dispatcher

from sparsescape import compilation, marks, quickselect
from sparsescape.kernels import (
    copies,
    drivers,
    everywhere,
    loops,
    moments,
    passes,
    registers,
    views,
)
from sparsescape.kernels.modules import SparseConv2d, SparseLinear


def test_no_two_compiled_functions_have_one_name():
    """Or a process takes one for the other from the cache that another is filling."""
    found = {}
    kernels = (loops, passes, registers, drivers, copies, moments, everywhere)
    for module in (*kernels, quickselect, marks):
        for holder in vars(module).values():
            pair = vars(holder).values() if isinstance(holder, drivers.Compiled) else [holder]
            for function in filter(lambda f: isinstance(f, Dispatcher), pair):
                kind = function.py_func
                found[id(function)] = f"{kind.__module__}.{kind.__qualname__}"
    assert len(found) >= 20
    assert max(Counter(found.values()).values()) == 1


def test_the_driver_for_threads_shares_rows_out():
    """Also where one thread's is in the cache already."""
    for driver in (drivers.linear_sums, drivers.conv_both):
        assert driver.several.targetoptions["parallel"]
        assert not driver.single.targetoptions.get("parallel")
        files = [d._cache._cache_file._index_name for d in (driver.single, driver.several)]
        assert files[0] != files[1]


def test_loops_have_their_threads_where_what_is_copied_before_takes_fewer(monkeypatch):
    layer, x = SparseConv2d.random(8, 64, 3, 2, 1, sparsity=0.5), torch.randn(1, 8, 180, 180)
    threads, ran = [], []
    monkeypatch.setattr(numba, "set_num_threads", threads.append)
    monkeypatch.setattr(views, "_most_threads", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for driver in (copies.onto_grid, drivers.conv_sums, copies.off_grid):
        monkeypatch.setattr(
            driver, "several", lambda parts, *_: ran.append((len(parts) - 1, threads[-1]))
        )
    layer(x)
    assert ran == [(2, 2), (8, 8), (3, 3)]


def test_what_calls_changed_code_is_compiled_anew(tmp_path):
    """Numba itself looks at the file of the caller alone."""
    for name in ("caller.py", "called.py"):
        (tmp_path / name).write_text("1")
    before = compilation.state_of(tmp_path)
    (tmp_path / "called.py").write_text("2")
    compilation.state_of.cache_clear()
    assert compilation.state_of(tmp_path) != before
    now = compilation.state_of(Path(passes.__file__).parent)
    for function in (drivers.linear_sums.single, loops.sums_of_rows, passes.both_in_passes):
        assert function._cache._cache_file._index_name.count(now) == 1


def test_positions_can_move_to_shared_memory():
    layer = SparseLinear.random(40, 30, sparsity=0.5, seed=0)
    x = torch.randn(8, 40)
    expected = layer(x)
    layer.share_memory()
    torch.empty(1000).fill_(7)  # takes up what was freed
    torch.testing.assert_close(layer(x), expected)
    assert layer.pattern.arrays[1].ctypes.data == layer.indices.data_ptr()
