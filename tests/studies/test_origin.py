"""Runs that are in a store are of the data that a command is given, wherever it lies."""

import shutil
from pathlib import Path

import pytest

from sparsescape.cli import main
from sparsescape.studies.stages.context import Context
from sparsescape.studies.stages.origin import check_origin
from sparsescape.studies.store import Store, read_json

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def place(mnist_folder, tmp_path_factory):
    """A copy of the data in another folder."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(mnist_folder, tmp_path_factory.mktemp("data") / name))

    return copied


def train(store: Path, *data: str) -> int:
    words = ["train", "--problem", "mnist-lenet300", "--method", "dense", "--steps", "2"]
    return main([*words, "--store", str(store), *data])


def change(folder: Path, byte: int) -> None:
    """Turn the bits of one byte of the training images over."""
    images = folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    held = bytearray(images.read_bytes())
    held[byte] ^= 255
    images.write_bytes(held)


def test_other_data_is_refused_and_the_same_data_elsewhere_is_not(place, tmp_path, capsys):
    first, second, other = place("first"), place("second"), place("other")
    change(other, byte=-1)
    store = tmp_path / "runs"
    assert train(store, "--data-root", str(first)) == 0
    said = capsys.readouterr().out
    assert train(store, "--data-root", str(second)) == 0
    assert capsys.readouterr().out == said
    assert train(store, "--data-root", str(other)) == 2
    error = capsys.readouterr().err
    assert repr(str(first)) in error
    assert f"{str(other)!r} holds other data: give another --store" in error
    assert train(tmp_path / "another", "--data-root", str(other)) == 0


def test_a_root_in_the_environment_is_a_root(place, tmp_path, capsys, monkeypatch):
    first, other = place("first"), place("other")
    change(other, byte=-1)
    monkeypatch.setenv("SPARSESCAPE_DATA", str(first))
    assert train(tmp_path / "runs") == 0
    monkeypatch.setenv("SPARSESCAPE_DATA", str(other))
    assert train(tmp_path / "runs") == 2
    assert "holds other data" in capsys.readouterr().err


def test_what_is_finished_needs_no_data(place, tmp_path, monkeypatch):
    monkeypatch.delenv("SPARSESCAPE_DATA", raising=False)
    assert train(tmp_path / "runs", "--data-root", str(place("first"))) == 0
    assert train(tmp_path / "runs") == 0


def test_a_check_of_before_there_were_notes_is_taken_as_it_is(place, tmp_path):
    first, other = place("first"), place("other")
    change(other, byte=-1)
    assert train(tmp_path / "runs", "--data-root", str(first)) == 0
    store = Store(tmp_path / "runs")
    (key,) = (path.name for path in (store.root / "stages").glob("check-*"))
    noted = store.path(key) / "data.json"
    assert read_json(noted)["place"] == str(first)
    noted.unlink()
    check_origin([store.stage(key)], store, Context("mnist-lenet300", str(other)))
