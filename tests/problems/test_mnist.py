"""MNIST in its original files: plain, packed, missing and cut short."""

import gzip

import numpy as np
import pytest
import torch

from sparsescape import InputError
from sparsescape.problems.catalogue import load
from sparsescape.problems.mnist import mnist

TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def raw(mnist_folder):
    return mnist_folder / "MNIST" / "raw"


def test_plain_and_packed_files_are_read(mnist_folder, mnist_arrays):
    for (inputs, targets), name in zip(mnist(str(mnist_folder)), ("train", "t10k"), strict=True):
        pixels = mnist_arrays[f"{name}-images-idx3-ubyte"]
        assert inputs.shape == (len(pixels), 1, 28, 28)
        assert inputs.dtype == torch.float32
        assert np.allclose(inputs[:, 0].numpy(), pixels / 255, rtol=0, atol=1e-6)
        assert targets.dtype == torch.int64
        assert targets.tolist() == mnist_arrays[f"{name}-labels-idx1-ubyte"].tolist()


def test_the_perceptron_sees_standardized_pixels_and_lenet5_pixels_from_0_to_1(mnist_folder):
    plain, _ = mnist(str(mnist_folder))
    (wide, _), (unit, _) = (
        load(name, data_root=str(mnist_folder)).train for name in ("mnist-lenet300", "mnist-lenet5")
    )
    assert torch.equal(unit, plain[0])
    assert torch.allclose(wide, (plain[0] - 0.1307) / 0.3081, rtol=0, atol=1e-6)


def test_a_plain_file_goes_before_a_packed_one(mnist_folder, raw, idx):
    (raw / f"{LABELS}.gz").write_bytes(gzip.compress(idx(np.zeros(30))))
    assert mnist(str(mnist_folder))[0][1].tolist()[:3] == [0, 1, 2]


def test_the_folder_can_come_from_the_environment(mnist_folder, monkeypatch):
    monkeypatch.setenv("SPARSESCAPE_DATA", str(mnist_folder))
    assert len(mnist()[0][0]) == 30
    with pytest.raises(InputError, match="There is no train-images-idx3-ubyte"):
        mnist(str(mnist_folder / "elsewhere"))


def test_without_a_folder_it_says_how_to_give_one(monkeypatch):
    monkeypatch.delenv("SPARSESCAPE_DATA", raising=False)
    with pytest.raises(InputError, match="--data-root or in SPARSESCAPE_DATA"):
        mnist()


@pytest.mark.parametrize(
    "name", [TRAIN, LABELS, "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
)
def test_a_file_that_is_missing_is_named(mnist_folder, raw, name):
    (raw / name).unlink()
    with pytest.raises(InputError, match=f"There is no {name.removesuffix('.gz')} in "):
        mnist(str(mnist_folder))


@pytest.mark.parametrize("left", [0, 3, 4, 10, 16, 1000, -1])
def test_a_file_that_is_cut_short_is_refused(mnist_folder, raw, left):
    """In the type, in the number of dimensions, in the dimensions, and in the data."""
    (raw / TRAIN).write_bytes((raw / TRAIN).read_bytes()[:left])
    with pytest.raises(InputError, match=TRAIN):
        mnist(str(mnist_folder))


@pytest.mark.parametrize("left", [5, 100, -1])
def test_a_packed_file_that_is_cut_short_is_refused(mnist_folder, raw, left):
    packed = raw / "t10k-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:left])
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte"):
        mnist(str(mnist_folder))


def test_a_file_with_too_many_bytes_is_refused(mnist_folder, raw):
    (raw / TRAIN).write_bytes((raw / TRAIN).read_bytes() + b"\x00")
    with pytest.raises(InputError, match=TRAIN):
        mnist(str(mnist_folder))


@pytest.mark.parametrize("name", [TRAIN, "t10k-images-idx3-ubyte.gz"])
def test_a_file_of_something_else_is_refused(mnist_folder, raw, name):
    (raw / name).write_bytes(b"<html>404 Not Found</html>")
    with pytest.raises(InputError, match="images-idx3-ubyte"):
        mnist(str(mnist_folder))


def test_a_file_of_other_numbers_than_bytes_is_refused(mnist_folder, raw):
    data = bytearray((raw / LABELS).read_bytes())
    data[2] = 0x0D  # floats
    (raw / LABELS).write_bytes(bytes(data))
    with pytest.raises(InputError, match="not a file of unsigned bytes"):
        mnist(str(mnist_folder))
