"""The problems of the catalogue: numbers and names alone, so that listing them imports nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import recipes
from .recipe import Recipe


@dataclass(frozen=True)
class Entry:
    """One problem of the catalogue."""

    summary: str
    recipe: Recipe
    build: str
    """``"module:function"`` of a function from (recipe, data root) to a Problem."""
    parameters: int
    """Of the model, with as many classes as the data set has as it is distributed."""
    source: str = ""
    """Where the recipe is from."""
    published: str = ""
    """What the source reaches with it, on the test set; empty where no number was checked."""
    gpu: bool = False
    """Whether it goes to a GPU where there is one: small problems are faster on a CPU."""


_RIGL_CIFAR = (
    "94.2, 93.6, 92.9, 91.8 % at sparsity 50, 80, 90, 95 % by RigL; "
    "94.1, 92.9, 91.5, 89.0 % static; 94.0, 93.6, 93.3, 92.3 % pruned"
)
_GALE_IMAGENET = (
    "76.6 to 76.8 % dense; 75.58, 73.91, 70.59 % pruned to 80, 90, 95 %; "
    "71.02, 67.31, 62.63 % from scratch"
)
_RIGL_IMAGENET = "76.8 % dense; 75.12, 73.07 % at sparsity 80, 90 % by RigL with ERK"

CATALOGUE: dict[str, Entry] = {
    "digits-conv": Entry(
        "8×8 digits (scikit-learn); two 3×3 convolutions of 16 and 32 filters, 64 hidden",
        recipes.DIGITS,
        "sparsescape.problems.digits:conv",
        parameters=13_706,
    ),
    "digits-mlp": Entry(
        "8×8 digits (scikit-learn); perceptron 64-300-100-10",
        recipes.DIGITS,
        "sparsescape.problems.digits:mlp",
        parameters=50_610,
    ),
    "mnist-lenet300": Entry(
        "MNIST; perceptron 784-300-100-10 (LeCun et al. 1998)",
        recipes.LENET300,
        "sparsescape.problems.mnist:lenet300",
        parameters=266_610,
    ),
    "mnist-lenet5": Entry(
        "MNIST; LeNet-5 with 6, 16, 120, 84 units, as in Evci et al. 2020, Gradient Flow",
        recipes.LENET5,
        "sparsescape.problems.mnist:lenet5",
        parameters=44_426,
        source="Evci et al. 2020, Gradient Flow",
    ),
    "cifar10-conv": Entry(
        "CIFAR-10, not augmented; 3×3 convolutions of 32, 64, 128 filters at stride 2",
        recipes.CIFAR_CONV,
        "sparsescape.problems.cifar:cifar10_conv",
        parameters=113_738,
    ),
    "cifar10-resnet20": Entry(
        "CIFAR-10; ResNet-20 with shortcuts of option A (He et al. 2016)",
        recipes.RESNET20,
        "sparsescape.problems.cifar:cifar10_resnet20",
        parameters=269_722,
        source="He et al. 2016, section 4.2",
        published="91.25 % dense (table 6)",
        gpu=True,
    ),
    "cifar10-resnet20-fast": Entry(
        "CIFAR-10; ResNet-20 in 15 epochs",
        recipes.CIFAR_FAST,
        "sparsescape.problems.cifar:cifar10_resnet20",
        parameters=269_722,
        gpu=True,
    ),
    "cifar10-wrn22-2": Entry(
        "CIFAR-10; WRN-22-2 as in Evci et al. 2020, RigL",
        recipes.WRN22_2,
        "sparsescape.problems.cifar:cifar10_wrn22_2",
        parameters=1_079_642,
        source="Evci et al. 2020, RigL, section 4.3, and code",
        published=_RIGL_CIFAR,
        gpu=True,
    ),
    "cifar10-wrn22-2-fast": Entry(
        "CIFAR-10; WRN-22-2 in 15 epochs",
        recipes.CIFAR_FAST,
        "sparsescape.problems.cifar:cifar10_wrn22_2",
        parameters=1_079_642,
        gpu=True,
    ),
    "cifar10-vgg16": Entry(
        "CIFAR-10; VGG-16 with two hidden layers of 512 and BatchNorm, as in Lee et al. 2019, SNIP",
        recipes.VGG16,
        "sparsescape.problems.cifar:cifar10_vgg16",
        parameters=15_255_626,
        source="Lee et al. 2019, section 5",
        gpu=True,
    ),
    "cifar10-vgg16-fast": Entry(
        "CIFAR-10; VGG-16 in 15 epochs",
        replace(recipes.CIFAR_FAST, lr=0.05),  # deep and without shortcuts
        "sparsescape.problems.cifar:cifar10_vgg16",
        parameters=15_255_626,
        gpu=True,
    ),
    "cifar100-wrn22-2": Entry(
        "CIFAR-100; WRN-22-2 with its recipe for CIFAR-10",
        recipes.WRN22_2,
        "sparsescape.problems.cifar:cifar100_wrn22_2",
        parameters=1_091_252,
        source="Evci et al. 2020, RigL, section 4.3, and code",
        gpu=True,
    ),
    "cifar100-wrn22-2-fast": Entry(
        "CIFAR-100; WRN-22-2 in 15 epochs",
        recipes.CIFAR_FAST,
        "sparsescape.problems.cifar:cifar100_wrn22_2",
        parameters=1_091_252,
        gpu=True,
    ),
    "tiny-imagenet-resnet18": Entry(
        "Tiny ImageNet, 64×64; ResNet-18 with a 3×3 stem",
        recipes.TINY_IMAGENET,
        "sparsescape.problems.tiny_imagenet:tiny_imagenet_resnet18",
        parameters=11_271_432,
        source="after Frankle et al. 2021, appendix A (not checked)",
        gpu=True,
    ),
    "imagenet-resnet50": Entry(
        "ImageNet; ResNet-50 with the recipe of Gale et al. 2019, the paper's workload",
        recipes.GALE,
        "sparsescape.problems.imagenet:resnet50",
        parameters=25_557_032,
        source="Gale et al. 2019",
        published=_GALE_IMAGENET,
        gpu=True,
    ),
    "imagenet-resnet50-rigl": Entry(
        "ImageNet; ResNet-50 with the recipe of Evci et al. 2020, RigL",
        recipes.RIGL,
        "sparsescape.problems.imagenet:resnet50",
        parameters=25_557_032,
        source="Evci et al. 2020, RigL, section 4.1, and code",
        published=_RIGL_IMAGENET,
        gpu=True,
    ),
    "imagenet-mobilenet-v1": Entry(
        "ImageNet; MobileNet-v1 (Howard et al. 2017), its depthwise convolutions dense",
        recipes.MOBILENET,
        "sparsescape.problems.imagenet:mobilenet_v1",
        parameters=4_231_976,
        source="Evci et al. 2020, RigL, code",
        gpu=True,
    ),
    "imagenet-vit-s": Entry(
        "ImageNet; ViT-S/16 of timm with the recipe of Beyer et al. 2022",
        recipes.VIT,
        "sparsescape.problems.imagenet:vit_s",
        parameters=22_050_664,
        source="Beyer et al. 2022, code",
        published="76.5 % dense, with fixed positions and pooled tokens",
        gpu=True,
    ),
    "shakespeare-gpt": Entry(
        "Tiny Shakespeare, by character; a GPT of 4 blocks of width 128 (nanoGPT, for a CPU)",
        recipes.GPT,
        "sparsescape.problems.shakespeare:small",
        parameters=804_096,
        source="nanoGPT, README",
        published="1.88 nats dense",
    ),
    "shakespeare-gpt-large": Entry(
        "Tiny Shakespeare, by character; a GPT of 6 blocks of width 384 (nanoGPT)",
        recipes.GPT_LARGE,
        "sparsescape.problems.shakespeare:large",
        parameters=10_745_088,
        source="nanoGPT, config/train_shakespeare_char.py",
        published="1.4697 nats dense, the best on the way",
        gpu=True,
    ),
}
