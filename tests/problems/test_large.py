"""Data sets in folders of images: Tiny ImageNet in memory, ImageNet as it is needed."""

import pickle
import shutil

import pytest
import torch

from folders import image_folder
from sparsescape import InputError
from sparsescape.problems.imagenet import imagenet
from sparsescape.problems.streamed import mixed
from sparsescape.problems.tiny_imagenet import tiny_imagenet
from sparsescape.seeds import Draw
from sparsescape.training.batches import Batches

CLASSES = ("n01", "n02", "n03")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    image_folder(root / "imagenet", {"train": 3, "val": 2}, CLASSES, 40)
    return root


def test_training_draws_parts_of_images_from_the_step_and_evaluation_the_middle(root):
    train, test, classes = imagenet(str(root))
    assert (len(train), len(test), classes) == (9, 6, 3)
    batches, again = (Batches(train, batch_size=2, seed=0) for _ in range(2))
    ahead = [batches(step)[0] for step in range(3)]
    assert ahead[0].shape == (2, 3, 224, 224)
    for step in (2, 0, 1):
        assert torch.equal(again(step)[0], ahead[step])
    number = torch.tensor([0])
    trained, other = (train.draw(number, Draw(0, step))[0] for step in (0, 1))
    assert not torch.equal(trained, other)
    plain = [train.plain.draw(number, Draw(0, step))[0] for step in (0, 1)]
    assert torch.equal(*plain)
    assert torch.equal(next(iter(train))[0][:1], plain[0])


def test_what_goes_to_a_process_that_reads_ahead_makes_the_same_batches(root):
    train, _, _ = imagenet(str(root), random=True)
    there = pickle.loads(pickle.dumps(train))
    chosen, draw = torch.tensor([4, 1]), Draw(3, 7)
    read = zip(train.read(chosen, draw), there.read(chosen, draw), strict=True)
    assert all(torch.equal(a, b) for a, b in read)
    assert train.read(chosen, draw)[0].dtype == torch.uint8  # a quarter of the bytes to send


def test_a_folder_itself_will_do(root):
    assert imagenet(str(root / "imagenet"))[2] == 3
    assert tiny_imagenet(str(root / "imagenet"))[2] == 3


def test_splits_of_other_classes_are_refused(root, tmp_path):
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    shutil.rmtree(tmp_path / "imagenet" / "val" / "n02")
    with pytest.raises(InputError, match=r"The classes in .* differ"):
        imagenet(str(tmp_path))
    with pytest.raises(InputError, match=r"There is no|no image"):
        tiny_imagenet(str(tmp_path / "imagenet"))


@pytest.mark.parametrize("keep", [0, 300])
def test_an_image_that_is_broken_or_cut_short_is_named(root, tmp_path, keep):
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    broken = tmp_path / "imagenet" / "train" / "n02" / "001.jpg"
    broken.write_bytes(broken.read_bytes()[:keep])
    train, _, _ = imagenet(str(tmp_path))
    with pytest.raises(InputError, match=rf"^{broken} cannot be read as an image: .") as caught:
        train.draw(torch.arange(len(train)), Draw(0, 0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [imagenet, tiny_imagenet])
def test_without_data_it_says_in_a_sentence_where_to_put_it(load, tmp_path):
    with pytest.raises(InputError, match=r"that folder must hold .*\{train,val\}/CLASS") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_tiny_imagenet_is_read_as_it_is_distributed(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    image_folder(root, {"train": 2}, CLASSES, 64)
    image_folder(root, {"val": 3}, ("images",), 64)
    rows = ["002.jpg\tn01\t0\t0\t9\t9", "000.jpg\tn03\t0\t0\t9\t9", "001.jpg\tn01\t0\t0\t9\t9"]
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows), encoding="utf-8")
    train, test, classes = tiny_imagenet(str(tmp_path))
    assert classes == 3
    assert train.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.targets.tolist() == [2, 0, 0]
    assert test.pixels.shape == (3, 64, 64, 3)


def test_mixing_keeps_the_mean_and_every_share():
    inputs, targets = torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    for step in range(5):
        images, shares = mixed(inputs, targets, 3, 0.2, Draw(0, step))
        assert torch.allclose(images.mean(0), inputs.mean(0), atol=1e-6)
        assert torch.allclose(shares.sum(1), torch.ones(6))
        assert (shares.gt(0).sum(1) <= 2).all()
