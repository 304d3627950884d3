"""CIFAR in every form in which people have it."""

import pickle

import pytest
import torch

from folders import CIFAR10, cifar_binary, cifar_python, cifar_rows, image_folder
from sparsescape import InputError
from sparsescape.problems.cifar import cifar

PYTHON = {**{f"data_batch_{n}": 20 for n in range(1, 6)}, "test_batch": 10}
BINARY = {f"{name}.bin": count for name, count in PYTHON.items()}


def test_batches_for_python_and_for_c_are_the_same_images(tmp_path):
    cifar_python(tmp_path / "py" / "cifar-10-batches-py", "labels", PYTHON, 10)
    cifar_binary(tmp_path / "c" / "cifar-10-batches-bin", BINARY)
    ones, others = (cifar(10, str(tmp_path / place)) for place in ("py", "c"))
    for one, other, count in zip(ones, others, (100, 10), strict=True):
        assert len(one) == count
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.targets, other.targets)
    assert (ones[0].padding, ones[1].padding) == (4, 0)


def test_a_row_is_red_then_green_then_blue(tmp_path):
    cifar_python(tmp_path / "cifar-10-batches-py", "labels", PYTHON, 10)
    train, _ = cifar(10, str(tmp_path))
    row = torch.from_numpy(cifar_rows(20, 0))[3]
    assert train.pixels[3, 1, 2].tolist() == [row[c * 1024 + 32 + 2].item() for c in range(3)]
    assert train.targets[:12].tolist() == [*range(10), 0, 1]


def test_a_folder_of_images_is_decoded_once(tmp_path):
    image_folder(tmp_path / "cifar10", {"train": 2, "test": 1}, CIFAR10, 32)
    first = cifar(10, str(tmp_path))[0]
    assert first.pixels.shape == (20, 32, 32, 3)
    assert first.targets.tolist() == [i // 2 for i in range(20)]
    kept = sorted((tmp_path / "cifar10").glob(".*.safetensors"))
    assert len(kept) == 2
    for path in (tmp_path / "cifar10" / "train").rglob("*.jpg"):
        path.write_bytes(b"x" * path.stat().st_size)  # of the same size: what is kept counts
    assert torch.equal(cifar(10, str(tmp_path))[0].pixels, first.pixels)


def test_another_image_is_decoded_anew(tmp_path):
    image_folder(tmp_path / "cifar10", {"train": 1, "test": 1}, CIFAR10, 32)
    cifar(10, str(tmp_path))
    (tmp_path / "cifar10" / "train" / "cat" / "000.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cat.000\.jpg cannot be read as an image"):
        cifar(10, str(tmp_path))


def test_without_data_it_says_in_a_sentence_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARSESCAPE_DATA", raising=False)
    for root in (None, str(tmp_path)):
        with pytest.raises(InputError, match="cifar-100-python") as caught:
            cifar(100, root)
        assert "\n" not in str(caught.value)
        assert "CIFAR100(root, download=True)" in str(caught.value)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch"])
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, file):
    folder = tmp_path / "cifar-10-batches-py"
    cifar_python(folder, "labels", PYTHON, 10)
    (folder / file).write_bytes(b"<html>404</html>")
    with pytest.raises(InputError, match=f"{file} is not a file of CIFAR"):
        cifar(10, str(tmp_path))
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"There is no {file} in"):
        cifar(10, str(tmp_path))


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_pickle_can_name_arrays_alone(tmp_path, capsys):
    folder = tmp_path / "cifar-10-batches-py"
    cifar_python(folder, "labels", PYTHON, 10)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(InputError, match=r"it names builtins\.print, which is no array"):
        cifar(10, str(tmp_path))
    assert capsys.readouterr().out == ""


def test_a_binary_file_that_is_cut_short_is_refused(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    cifar_binary(folder, BINARY)
    path = folder / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        cifar(10, str(tmp_path))
