"""Two processes give the masks of one that accumulates the same micro-batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import sparsescape as ss

sys.path.insert(0, str(Path(__file__).parent))
import distributed_worker as worker

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def found(request, tmp_path_factory):
    """What two processes found, for every method: (rank 0's, rank 1's)."""
    return by_two_processes(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def found_on_nonzeros(tmp_path_factory):
    """The same, where the layers are truly sparse."""
    return by_two_processes("sparse-ddp", tmp_path_factory)


def by_two_processes(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp(kind)
    started = [
        subprocess.Popen(
            [
                sys.executable,
                HERE / "distributed_worker.py",
                kind,
                folder / "out",
                folder / "store",
                str(rank),
                "2",
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs[0][-3000:]
    return [torch.load(folder / f"out.{rank}") for rank in range(2)]


def assert_same(one, two):
    for name, value in one.items():
        if name == "half-way":
            continue
        if value.dtype == torch.bool:
            assert torch.equal(value, two[name]), name
        else:
            torch.testing.assert_close(value, two[name])


@pytest.mark.parametrize("method", worker.METHODS)
def test_ranks_agree_with_each_other_and_with_one_process(found, method):
    alone = worker.train("alone", method, 0, 1)
    assert found[0][method].keys() == found[1][method].keys() == alone.keys()
    assert_same(found[0][method], found[1][method])
    assert_same(found[0][method], alone)


@pytest.mark.parametrize("method", worker.METHODS)
def test_one_process_goes_on_where_two_stopped(found, method):
    resumed = worker.train("alone", method, 0, 1, resume=found[0][method]["half-way"])
    assert_same(resumed, found[0][method])


@pytest.mark.parametrize("method", worker.METHODS_ON_NONZEROS)
def test_ranks_agree_on_truly_sparse_layers(found_on_nonzeros, method):
    one, two = (found[method] for found in found_on_nonzeros)
    alone = worker.train("sparse", method, 0, 1)
    assert one.keys() == two.keys() == alone.keys()
    assert_same(one, two)
    assert_same(one, alone)
    resumed = worker.train("sparse", method, 0, 1, resume=one["half-way"])
    assert_same(resumed, one)


def test_a_layer_that_changes_its_size_is_refused_where_it_is_replicated():
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        model = nn.parallel.DistributedDataParallel(worker.make_model("sparse"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ss.DSR(0.6, update_every=1, threshold=0.3).attach(model, optimizer)
        model(worker.part(0, 0)).square().mean().backward()
        with pytest.raises(ss.InputError, match="DistributedDataParallel cannot follow"):
            optimizer.step()
    finally:
        torch.distributed.destroy_process_group()
