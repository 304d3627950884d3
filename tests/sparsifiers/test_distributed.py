"""Two processes give the masks of one that accumulates the same micro-batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import distributed_worker as worker

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def found(request, tmp_path_factory):
    """What two processes found, for every method: (rank 0's, rank 1's)."""
    folder = tmp_path_factory.mktemp(request.param)
    started = [
        subprocess.Popen(
            [sys.executable, str(HERE / "distributed_worker.py"), request.param]
            + [str(folder / "out"), str(folder / "store"), str(rank), "2"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs[0][-3000:]
    return [torch.load(folder / f"out.{rank}") for rank in range(2)]


@pytest.mark.parametrize("method", worker.METHODS)
def test_ranks_agree_with_each_other_and_with_one_process(found, method):
    alone = worker.train("alone", method, 0, 1)
    for one, two in ((found[0][method], found[1][method]), (found[0][method], alone)):
        assert one.keys() == two.keys()
        for name, value in one.items():
            if value.dtype == torch.bool:
                assert torch.equal(value, two[name]), name
            else:
                torch.testing.assert_close(value, two[name])
