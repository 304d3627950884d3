"""Two processes find the path that one finds, and evaluate it alike."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import search_worker as worker

import tiny
from sparsescape.training.ranks import ALONE


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    words = [str(folder / "found"), str(folder / "meeting")]
    started = [
        subprocess.Popen(
            [sys.executable, worker.__file__, *words, str(rank), "2"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=tiny.DEADLINE)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    return [torch.load(folder / f"found.{rank}") for rank in range(2)]


@pytest.mark.parametrize("name", worker.SEARCHES)
def test_two_ranks_search_and_evaluate_as_one_process_does(found, name):
    control, profile = worker.search(name, ALONE)
    for there, losses, accuracies in (rank[name] for rank in found):
        torch.testing.assert_close(there, control, rtol=1e-4, atol=1e-5)
        assert losses == pytest.approx(profile.loss, rel=1e-5)
        assert accuracies == pytest.approx(profile.accuracy)
    assert torch.equal(found[0][name][0], found[1][name][0])
