"""ImageNet (ILSVRC-2012), or any folder of images in its layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import InputError
from ..init import he_normal
from . import hub
from .folder import has_splits, opened
from .images import IMAGENET_DEVIATION, IMAGENET_MEAN
from .problem import Problem, units
from .recipe import Recipe
from .roots import HUB, data_root
from .streamed import Streamed

Network = Callable[..., nn.Module]


def resnet50(recipe: Recipe, root: str | None = None) -> Problem:
    """torchvision's ResNet-50, as Gale et al. 2019 (*The State of Sparsity*) train it: 128k steps
    of batches of 1024, learning rate 0.4 after a warm-up of 5 epochs, divided by 10 at epochs 30,
    60 and 80, weight decay 1e-4, label smoothing 0.1; pruning from step 40k every 2000 to one of
    68k to 100k. The paper's own workload. The recipe ``-rigl`` is that of Evci et al. 2020,
    section 4.1: 32k steps of batches of 4096, learning rate 1.6, decays at 30, 70 and 90 epochs.

    Published: accuracies of both at several sparsities, docs/problems.md. The network is that of
    torchvision, whose blocks halve the image in their 3×3 convolution. The narrower networks of
    the small dense baseline keep the first convolution as it is.
    """
    return _problem(recipe, root, _resnet50)


def mobilenet_v1(recipe: Recipe, root: str | None = None) -> Problem:
    """MobileNet-v1 (Howard et al. 2017, table 1) as Evci et al. 2020 (RigL) train it, section
    4.1.2 and their code (``imagenet_resnet/imagenet_train_eval.py``): learning rate 0.1 for every
    256 examples of a batch, warm-up of 8 epochs, divided by 10 at epochs 40, 75 and 95.

    The first and the depthwise convolutions stay dense, as in their code.
    """
    return _problem(recipe, root, _mobilenet_v1, dense=("0", "*.depthwise"))


def vit_s(recipe: Recipe, root: str | None = None) -> Problem:
    """timm's ``vit_small_patch16_224``, trained as Beyer et al. 2022 (*Better plain ViT baselines
    for ImageNet-1k*) and their code (big_vision, ``configs/vit_s16_i1k.py``): 90 epochs of batches
    of 1024, AdamW with learning rate 1e-3 after a warm-up of 10k steps, weight decay 1e-4 (that is
    0.1 here, where it is multiplied by the learning rate), gradients clipped to norm 1, RandAugment
    of two operations at magnitude 10, mixup 0.2.

    Published: 76.5 % for their network, which has fixed positions and pools all tokens; timm's has
    trained positions and a class token, and no published number with this recipe is known. The
    patches' embedding, the positions, the class token and the head stay dense.
    """
    dense = ("patch_embed", "pos_embed", "cls_token", "head")
    return _problem(recipe, root, _vit_s, dense=dense, random=True, mixup=0.2)


def _problem(
    recipe: Recipe,
    root: str | None,
    network: Network,
    *,
    dense: tuple[str, ...] = (),
    random: bool = False,
    mixup: float = 0.0,
) -> Problem:
    train, test, classes = imagenet(root, random=random, mixup=mixup)

    def model(width: float = 1.0) -> nn.Module:
        return network(classes, width)

    return Problem(model, train, test, recipe=recipe, dense=dense, scaled=model)


def imagenet(
    root: str | None = None, *, random: bool = False, mixup: float = 0.0
) -> tuple[Streamed, Streamed, int]:
    """The training set, the validation set, which is tested on, and the number of classes.

    In training a random part of the image is resized to 224×224 and flipped at random (Szegedy et
    al. 2015, section 6); in evaluation the shorter side is resized to 256 pixels and the middle
    cut out.

    Args:
        root: the folder that holds ``imagenet/{train,val}/CLASS``, or ``train`` and ``val``
            themselves; or ``hf:PATH``, a data set of Hugging Face, whose stream is taken; otherwise
            the environment variable ``SPARSESCAPE_DATA``.
        random: whether RandAugment (Cubuk et al. 2020) is applied in training.
        mixup: as in :class:`~sparsescape.problems.streamed.Streamed`.

    Raises:
        InputError: the folders are not there or hold no images, or torchvision is missing.
    """
    datasets, v2 = _torchvision()
    evaluated = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    augment = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    augment += [v2.RandAugment(2, 10)] if random else []
    trained = v2.Compose([*augment, v2.PILToTensor()])
    statistics: dict[str, Any] = {"mean": IMAGENET_MEAN, "deviation": IMAGENET_DEVIATION}
    holds = "imagenet/{train,val}/CLASS"
    place = data_root(root, "ImageNet", holds, "it is to be had at image-net.org")
    if str(place).startswith(HUB):
        path = str(place).removeprefix(HUB)
        return hub.streams(path, trained, evaluated, mixup=mixup, **statistics)
    found = next((f for f in (place / "imagenet", place) if has_splits(f, "train", "val")), None)
    if found is None:
        raise InputError(f"ImageNet is not in {place}: that folder must hold {holds}.")
    try:
        train = datasets.ImageFolder(found / "train", trained, loader=opened)
        plain = datasets.ImageFolder(found / "train", evaluated, loader=opened)
        test = datasets.ImageFolder(found / "val", evaluated, loader=opened)
    except FileNotFoundError as error:
        raise InputError(f"{found} is no folder of images: {error}") from None
    if test.classes != train.classes:
        raise InputError(f"The classes in {found / 'train'} and {found / 'val'} differ.")
    count = len(train.classes)
    return (
        Streamed(train, plain, **statistics, mixup=mixup, classes=count),
        Streamed(test, test, **statistics),
        count,
    )


def _torchvision() -> tuple[Any, Any]:
    try:
        from torchvision import datasets
        from torchvision.transforms import v2
    except ImportError:
        raise InputError("ImageNet needs torchvision: pip install 'sparsescape[vision]'.") from None
    return datasets, v2


def _resnet50(classes: int, width: float) -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    class Scaled(ResNet):
        """Every stage's filters multiplied by the width."""

        def _make_layer(self, block: Any, planes: int, *rest: Any, **more: Any) -> nn.Sequential:
            (filters,) = units(width, planes)
            return super()._make_layer(block, filters, *rest, **more)

    model = Scaled(Bottleneck, [3, 4, 6, 3])
    model.fc = nn.Linear(model.inplanes, classes)
    return model


_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
_LAST_BLOCKS = ((1024, 2), (1024, 1))


def _mobilenet_v1(classes: int, width: float) -> nn.Module:
    (before,) = units(width, 32)
    stem = nn.Conv2d(3, before, 3, 2, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(before), nn.ReLU()]
    for filters, stride in (*_BLOCKS, *_LAST_BLOCKS):
        (filters,) = units(width, filters)
        layers.append(_separable(before, filters, stride))
        before = filters
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
    return he_normal(nn.Sequential(*layers, *head))


def _separable(before: int, filters: int, stride: int) -> nn.Module:
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution of all."""
    block = nn.Sequential()
    depthwise = nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False)
    block.add_module("depthwise", depthwise)
    block.add_module("bn1", nn.BatchNorm2d(before))
    block.add_module("relu1", nn.ReLU())
    block.add_module("pointwise", nn.Conv2d(before, filters, 1, bias=False))
    block.add_module("bn2", nn.BatchNorm2d(filters))
    block.add_module("relu2", nn.ReLU())
    return block


def _vit_s(classes: int, width: float) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise InputError("ViT-S needs timm: pip install 'sparsescape[vision]'.") from None
    (of_head,) = units(width, 64)
    return timm.create_model("vit_small_patch16_224", num_classes=classes, embed_dim=6 * of_head)
