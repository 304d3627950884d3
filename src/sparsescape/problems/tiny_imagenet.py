"""Tiny ImageNet: photographs of 64×64 pixels, 200 classes of 500."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from ..data import Examples
from ..errors import InputError
from .folder import class_folders, decoded, has_splits
from .images import IMAGENET_DEVIATION, IMAGENET_MEAN, Images
from .problem import Problem
from .recipe import Recipe
from .resnets import resnet18
from .roots import data_root


def tiny_imagenet_resnet18(recipe: Recipe, root: str | None = None) -> Problem:
    """ResNet-18 with a 3×3 stem, after Frankle et al. 2021 (*Pruning Neural Networks at
    Initialization*), appendix A: 200 epochs of batches of 256, learning rate 0.2 divided by 10
    after 100 and 150, weight decay 1e-4. Those numbers could not be checked against the paper.

    As many classes as the folder has.
    """
    train, test, classes = tiny_imagenet(root)
    model = partial(resnet18, classes)
    return Problem(model, train, test, recipe=recipe, scaled=model)


def tiny_imagenet(root: str | None = None) -> tuple[Examples, Examples, int]:
    """The training set, the validation set, which is tested on, and the number of classes.

    Args:
        root: the folder that holds ``tiny-imagenet-200/{train,val}/CLASS``, or a folder that is
            named ``tiny-imagenet-…`` likewise, or ``train`` and ``val`` themselves; otherwise the
            environment variable ``SPARSESCAPE_DATA``. The validation set may be as it is
            distributed, with ``val_annotations.txt``.

    Raises:
        InputError: the folders are not there, or hold no images.
    """
    holds = "tiny-imagenet-200/{train,val}/CLASS"
    place = data_root(root, "Tiny ImageNet", holds)
    named = [place, place / "tiny-imagenet-200", *sorted(place.glob("tiny-imagenet-*"))]
    found = next((folder for folder in named if has_splits(folder, "train", "val")), None)
    if found is None:
        raise InputError(f"Tiny ImageNet is not in {place}: that folder must hold {holds}.")
    classes = class_folders(found / "train")
    statistics = IMAGENET_MEAN, IMAGENET_DEVIATION
    train = Images(*decoded(found / "train", 64, classes), *statistics, padding=4)
    annotations = found / "val" / "val_annotations.txt"
    if annotations.is_file():
        test = Images(*_annotated(annotations, classes), *statistics)
    else:
        test = Images(*decoded(found / "val", 64, classes), *statistics)
    return train, test, len(classes)


def _annotated(annotations: Path, classes: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The validation set as it is distributed: all images in one folder, which decodes in
    alphabetical order, and a table of their classes."""
    rows = [line.split("\t") for line in annotations.read_text("utf-8").splitlines()]
    of_image = {row[0]: row[1] for row in rows if len(row) > 1}
    pixels, _ = decoded(annotations.parent, 64, ["images"])
    unknown = set(of_image.values()) - set(classes)
    if len(of_image) != len(pixels) or unknown:
        raise InputError(f"{annotations} does not fit the images beside it.")
    return pixels, torch.tensor([classes.index(of_image[name]) for name in sorted(of_image)])
