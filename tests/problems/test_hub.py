"""ImageNet from a stream of Hugging Face, here of a folder of images."""

import pickle

import pytest
import torch

from folders import image_folder
from sparsescape import InputError
from sparsescape.problems import hub
from sparsescape.problems.imagenet import imagenet
from sparsescape.problems.roots import absolute_root
from sparsescape.seeds import Draw
from sparsescape.training.batches import Batches

CLASSES = ("n01", "n02", "n03")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    image_folder(root, {"train": 4, "val": 2}, CLASSES, 40)
    return root


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def sets(root):
    return imagenet(f"hf:{root}")


def test_it_is_the_folder_read_as_a_stream(root, sets):
    """In evaluation the same images and classes, in the same order, as from the folder."""
    train, test, classes = sets
    assert (len(train), len(test), classes) == (12, 6, 3)
    for streamed, read in zip(sets[:2], imagenet(str(root))[:2], strict=True):
        (inputs, targets), (expected, labels) = (
            [torch.cat(part) for part in zip(*data, strict=True)] for data in (streamed, read)
        )
        assert torch.equal(targets, labels)
        assert torch.equal(inputs, expected)


def test_a_pass_of_training_holds_every_example_once(sets):
    batches = Batches(sets[0], batch_size=4, seed=0)
    seen = [torch.cat([batches(3 * epoch + i)[1] for i in range(3)]) for epoch in range(3)]
    for targets in seen:
        assert targets.bincount().tolist() == [4, 4, 4]
    assert len({tuple(targets.tolist()) for targets in seen}) == 3  # each in an order of its own


def test_a_batch_is_that_of_its_step_wherever_reading_begins(sets):
    there = pickle.loads(pickle.dumps(sets[0]))
    batches, again = (Batches(data, batch_size=4, seed=0) for data in (sets[0], there))
    ahead = [batches(step) for step in range(5)]
    for step in (4, 1, 2, 0):
        assert all(map(torch.equal, again(step), ahead[step]))
    assert not torch.equal(ahead[0][0], ahead[3][0])  # of another pass


def test_going_on_is_going_on_in_the_stream(sets, monkeypatch):
    begun = []
    start = hub.Stream.begun
    monkeypatch.setattr(hub.Stream, "begun", lambda s, p: (begun.append(s.split), start(s, p))[1])
    batches = Batches(sets[0], batch_size=4, seed=0)
    for step in range(3):
        batches(step)
    assert begun == ["train"]
    list(sets[1])
    assert begun == ["train", "validation"]


def test_what_is_drawn_in_no_order_has_as_many_as_were_asked_for(sets):
    inputs, targets = sets[0].plain.draw(torch.tensor([7, 2, 5]), Draw(0, 1))
    assert (inputs.shape, targets.shape) == ((3, 3, 224, 224), (3,))


def test_what_is_no_set_of_labelled_images_is_refused(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nhello,1\n", encoding="utf-8")
    (tmp_path / "validation.csv").write_text("text,label\nhello,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column of images, or none of classes") as caught:
        imagenet(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        imagenet(f"hf:{tmp_path}/nowhere")
    assert "\n" not in str(caught.value)


def test_its_name_is_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_root("hf:org/name") == "hf:org/name"
    assert absolute_root("data") == str(tmp_path / "data")
    (tmp_path / "images").mkdir()
    assert absolute_root("hf:images") == f"hf:{tmp_path / 'images'}"
