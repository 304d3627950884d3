"""Settings and data that all tests share."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Tests that run side by side share the cores out. Before torch is imported, which looks here.
_sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _sharing > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _sharing)))

# The same examples every time, and no deadline: a busy machine is no failure.
settings.register_profile("sparsescape", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("sparsescape")


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where numba is not installed."""
    from sparsescape.compilation import works
    from sparsescape.sparsifiers.bits import compiled_passes

    monkeypatch.setitem(sys.modules, "numba", None)  # its import raises an ImportError
    for asked in (works, compiled_passes):
        asked.cache_clear()
    yield
    for asked in (works, compiled_passes):
        asked.cache_clear()


MNIST_FILES = {
    "train-images-idx3-ubyte": (30, 28, 28),
    "train-labels-idx1-ubyte": (30,),
    "t10k-images-idx3-ubyte": (10, 28, 28),
    "t10k-labels-idx1-ubyte": (10,),
}


@pytest.fixture(scope="session")
def idx() -> Callable[[np.ndarray], bytes]:
    """From an array of bytes to a file of LeCun's idx format."""

    def encode(array: np.ndarray) -> bytes:
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        return header + array.astype(np.uint8).tobytes()

    return encode


@pytest.fixture(scope="session")
def mnist_arrays() -> dict[str, np.ndarray]:
    """What the tiny MNIST of :func:`mnist_folder` holds, by file name."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 256, shape) if len(shape) > 1 else np.arange(shape[0]) % 10
        for name, shape in MNIST_FILES.items()
    }


@pytest.fixture(scope="session")
def write_mnist(
    idx: Callable[[np.ndarray], bytes], mnist_arrays: dict[str, np.ndarray]
) -> Callable[[Path], None]:
    """Writes MNIST's four files, 30 and 10 examples: two plain and two as .gz."""

    def write(root: Path) -> None:
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name, array in mnist_arrays.items():
            if name.startswith("train"):
                (raw / name).write_bytes(idx(array))
            else:
                (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array)))

    return write


@pytest.fixture
def mnist_folder(tmp_path: Path, write_mnist: Callable[[Path], None]) -> Path:
    """A data root with MNIST, tiny."""
    write_mnist(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def data_folder(
    tmp_path_factory: pytest.TempPathFactory, write_mnist: Callable[[Path], None]
) -> Path:
    """A data root with every data set of the catalogue, tiny; not to be written to."""
    from folders import everything

    root = tmp_path_factory.mktemp("data")
    everything(root, write_mnist)
    return root


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are done in this process, so that no worker has to import torch."""
    from sparsescape.studies.executors import local
    from tiny import PoolHere

    monkeypatch.setattr(local, "_Pool", PoolHere)
