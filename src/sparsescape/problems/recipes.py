"""The recipes of the catalogue; its entries say whose they are."""

from __future__ import annotations

from dataclasses import replace

from .recipe import Recipe

DIGITS = Recipe(
    steps=2000,
    batch_size=50,
    lr=0.1,
    weight_decay=1e-3,
    prune_begin=500,
    prune_end=1300,
    prune_every=50,
)

LENET300 = Recipe(steps=12_000, batch_size=100, lr=0.1, weight_decay=1e-4, prune_every=100)
LENET5 = Recipe(
    steps=11_719,
    batch_size=128,
    lr=0.05,
    weight_decay=1e-3,  # the authors' 5e-4 is the factor of ‖θ‖², without a half
    prune_begin=3000,
    prune_end=7000,
    prune_every=100,
)

CIFAR_CONV = Recipe(
    steps=1955,  # 5 epochs
    batch_size=128,
    lr=0.05,
    weight_decay=5e-4,
    prune_every=50,
)

# A recipe of our own, for a look: a tenth of the usual steps and fewer.
CIFAR_FAST = Recipe(
    steps=5850,  # 15 epochs
    batch_size=128,
    lr=0.1,
    nesterov=True,
    weight_decay=5e-4,
    warmup=390,
    prune_every=50,
)
RESNET20 = Recipe(
    steps=64_000,
    batch_size=128,
    lr=0.1,
    weight_decay=1e-4,
    schedule="step",
    decay_at=(32_000, 48_000),
    prune_every=500,
)
WRN22_2 = Recipe(
    steps=97_656,  # 250 epochs
    batch_size=128,
    lr=0.1,
    nesterov=True,
    weight_decay=5e-4,
    schedule="step",
    decay_at=(30_000, 60_000, 90_000),
    decay_factor=0.2,
    prune_begin=20_000,
    prune_end=75_000,
    prune_every=1000,
)
VGG16 = Recipe(
    steps=150_000,
    batch_size=128,
    lr=0.1,
    weight_decay=5e-4,
    schedule="step",
    decay_at=(30_000, 60_000, 90_000, 120_000),
    prune_every=1000,
)
TINY_IMAGENET = Recipe(
    steps=78_000,  # 200 epochs of 390
    batch_size=256,
    lr=0.2,
    weight_decay=1e-4,
    schedule="step",
    decay_at=(39_000, 58_500),
    prune_every=500,
)
IMAGENET = Recipe(precision="bfloat16", compile=True)
GALE = replace(
    IMAGENET,
    steps=128_000,  # 102 epochs of 1251
    batch_size=1024,
    lr=0.4,
    nesterov=True,
    weight_decay=1e-4,
    label_smoothing=0.1,
    warmup=6255,
    schedule="step",
    decay_at=(37_530, 75_060, 100_080),
    prune_begin=40_000,
    prune_end=76_000,
    prune_every=2000,
)
RIGL = replace(
    IMAGENET,
    steps=32_000,  # 102 epochs of 312.75
    batch_size=4096,
    lr=1.6,
    nesterov=True,
    weight_decay=1e-4,
    label_smoothing=0.1,
    warmup=1564,
    schedule="step",
    decay_at=(9382, 21_892, 28_147),
    prune_begin=8000,
    prune_end=24_000,
    prune_every=100,
)
MOBILENET = replace(RIGL, warmup=2502, decay_at=(12_510, 23_456, 29_711))
VIT = replace(
    IMAGENET,
    steps=112_590,  # 90 epochs of 1251
    batch_size=1024,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.1,
    clip=1.0,
    warmup=10_000,
    prune_begin=28_000,
    prune_end=84_000,
    prune_every=1000,
)
GPT = Recipe(
    steps=2000,
    batch_size=12,
    optimizer="adamw",
    lr=1e-3,
    final_lr=1e-4,
    warmup=100,
    beta2=0.99,
    weight_decay=0.1,
    clip=1.0,
    prune_every=50,
)
GPT_LARGE = replace(
    GPT, steps=5000, batch_size=64, prune_begin=1250, prune_end=3750, precision="bfloat16",
    compile=True,
)  # fmt: skip

HUGGING_FACE = Recipe(
    steps=2000,
    batch_size=32,
    optimizer="adamw",
    lr=5e-5,
    warmup=200,
    weight_decay=0.01,
    clip=1.0,
)
"""For every ``hf:MODEL:DATASET``: fine-tuning as in Devlin et al. 2019, appendix A.3."""
