"""What truly sparse layers gain: a training step against torch's dense one, interleaved.

    python benchmarks/sparse_step.py [perceptron | conv | awkward | vgg | resnet20]
        [--sparsity 0.9 0.95 ...] [--rounds N] [--threads 1] [--batch 128] [--keep-memory]

A step is forward, backward and SGD. Each round gives every contender a turn, in random order: steps
in a row, as training takes them. Printed are the medians of all but the first step of a turn, and
how many times faster than each dense contender the sparse one is; in brackets the same of the first
steps, which find the caches full of what the contender before left there, as no training does.
Dense contenders: torch in its usual layout and in ``channels_last``; for the perceptron torch's
matrix product with the masks of ``ss.Static``, and oneDNN's (the layers as 1×1 convolutions, which
torch always gives to oneDNN; without masks). Of ResNet-20 also the limit: the step with the work of
the convolutions that become sparse removed (each gives out a slice or repetition of its input).

``awkward`` are single convolutions of few examples, of other kernels, strides and groups, each with
a batch of its own.

With ``--keep-memory`` the process keeps what is freed, as the workers of studies do; without it,
large tensors are fresh memory in every step, dense or sparse, which takes the system its time.

With one thread, times are the process's CPU time, which other programs on the machine lengthen
least; with several they are wall-clock time.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

import sparsescape as ss
from sparsescape.studies.executors.memory import keep_freed_memory

Make = Callable[[], tuple[nn.Module, torch.Tensor]]


def perceptron(batch: int) -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((784, 1000, 1000, 10)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(batch, 784)


def convolution(channels: int, size: int, batch: int) -> tuple[nn.Module, torch.Tensor]:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    return layer, torch.randn(batch, channels, size, size)


class Awkward(NamedTuple):
    inputs: int
    outputs: int
    size: tuple[int, int]
    batch: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        height, width = self.kernel
        name = f"{self.inputs}->{self.outputs}, {height}x{width}"
        name += f" stride {self.stride}" * (self.stride > 1)
        name += f" groups {self.groups}" * (self.groups > 1)
        return f"{name} at {self.size[0]}x{self.size[1]}, batch {self.batch}"

    def make(self) -> tuple[nn.Module, torch.Tensor]:
        height, width = self.kernel
        around = (height // 2, width // 2)
        layer = nn.Conv2d(
            self.inputs, self.outputs, self.kernel, self.stride, around, groups=self.groups
        )
        return layer, torch.randn(self.batch, self.inputs, *self.size)


AWKWARD = [
    Awkward(64, 64, (16, 16), 1),
    Awkward(64, 64, (16, 16), 7),
    Awkward(64, 64, (16, 16), 100),
    Awkward(512, 512, (4, 4), 7),
    Awkward(32, 64, (14, 14), 7, kernel=(5, 5)),
    Awkward(64, 64, (32, 32), 7, kernel=(5, 5), stride=2),
    Awkward(64, 64, (32, 32), 100, kernel=(5, 5), stride=2),
    Awkward(128, 128, (14, 10), 32, groups=4),
    Awkward(64, 64, (20, 12), 100, kernel=(1, 5)),
    Awkward(256, 256, (8, 8), 100, kernel=(1, 1)),
    Awkward(3, 64, (64, 64), 16, kernel=(7, 7), stride=2),
]


def vgg(batch: int) -> tuple[nn.Module, torch.Tensor]:
    """Eight 3×3 convolutions in four stages, two Linear layers, no BatchNorm."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (64, 128, 256, 256):
        for _ in range(2):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), torch.randn(batch, 3, 32, 32)


class Block(nn.Module):
    """ResNet's for CIFAR, shortcuts without weights (He et al. 2016, section 4.2, option A)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.stride, self.more = (1, 0) if inputs == outputs else (2, (outputs - inputs) // 2)
        self.first = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(self.norms[0](self.first(x)))
        out = self.norms[1](self.second(out))
        if self.stride == 2:
            x = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return torch.relu(out + x)


def resnet20(batch: int) -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    layers += [Block(a, b) for a, b in itertools.pairwise(widths)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers), torch.randn(batch, 3, 32, 32)


class Nothing(nn.Module):
    """In a convolution's place: its output's shape, none of its work."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.stride, self.more = layer.stride[0], layer.out_channels // layer.in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        return torch.cat([x] * self.more, 1) if self.more > 1 else x


def without_convolutions(model: nn.Module) -> nn.Module:
    for block in model.modules():
        if isinstance(block, Block):
            block.first, block.second = Nothing(block.first), Nothing(block.second)
    return model


class Pointwise(nn.Module):
    """A Linear as a 1×1 convolution."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = nn.Conv2d(layer.in_features, layer.out_features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x[:, :, None, None])[:, :, 0, 0]


def by_onednn(model: nn.Module) -> nn.Module:
    return nn.Sequential(*(Pointwise(m) if isinstance(m, nn.Linear) else m for m in model))


class Contender:
    """A model that is trained, and its times."""

    def __init__(self, model: nn.Module, x: torch.Tensor, clock: Callable[[], float]):
        self.model, self.x, self.clock = model, x, clock
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        self.target = torch.zeros(len(x), dtype=torch.long)
        # Of a single layer: a gradient from above, in the layout of its output.
        self.gradient = torch.randn_like(model(x.detach())).detach()
        self.first: list[float] = []
        self.later: list[float] = []

    def turn(self, steps: int) -> None:
        self.first.append(self.step())
        self.later += [self.step() for _ in range(steps - 1)]

    def step(self) -> float:
        start = self.clock()
        self.optimizer.zero_grad()
        out = self.model(self.x)
        if out.ndim == 2:
            cross_entropy(out, self.target).backward()
        else:  # a layer hands the gradient to its input on, where a leaf would keep a copy
            weights = list(self.model.parameters())
            _, *gradients = torch.autograd.grad(out, [self.x, *weights], self.gradient)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
        self.optimizer.step()
        return self.clock() - start


def contenders(
    kind: str, make: Make, sparsity: float, clock: Callable[[], float]
) -> dict[str, Contender]:
    torch.manual_seed(0)
    model, x = make()
    dense = ["0"] if kind == "resnet20" else []
    weights = ss.distributions.uniform(model, sparsity=sparsity, dense=dense)
    mask = ss.Mask.from_scores(ss.scores.random(model, seed=0), densities=weights)
    single = kind in ("conv", "awkward")
    x.requires_grad_(single)  # an inner layer passes a gradient on
    runs = {"dense": Contender(model, x, clock)}
    if kind == "perceptron":
        ss.Static(mask=mask).attach(model, runs["dense"].optimizer)
        runs["oneDNN"] = Contender(by_onednn(make()[0]), x, clock)
    else:
        last = x.detach().to(memory_format=torch.channels_last).requires_grad_(x.requires_grad)
        model = make()[0].to(memory_format=torch.channels_last)
        runs["channels_last"] = Contender(model, last, clock)
    if kind == "resnet20":
        runs["limit"] = Contender(without_convolutions(make()[0]), x, clock)
    sparse = make()[0]
    mask.apply_(sparse)
    if single:  # as between sparse layers
        x = x.detach().movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_()
    runs["sparse"] = Contender(ss.to_sparse(sparse, min_sparsity=sparsity - 0.05), x, clock)
    return runs


def compare(name: str, runs: dict[str, Contender], rounds: int, steps: int) -> None:
    chance = random.Random(0)
    for run in runs.values():
        run.step()  # compiles
    for _ in range(rounds):
        for run in chance.sample(list(runs.values()), len(runs)):
            run.turn(steps)
    first = {n: statistics.median(run.first) for n, run in runs.items()}
    later = {n: statistics.median(run.later) for n, run in runs.items()}
    parts = [f"sparse {1e3 * later['sparse']:8.2f} ms"]
    for n in [n for n in runs if n != "sparse"]:
        warm, cold = later[n] / later["sparse"], first[n] / first["sparse"]
        parts.append(f"{n} {1e3 * later[n]:8.2f} ms {warm:5.2f}x ({cold:5.2f}x)")
    print(f"{name:50} {'   '.join(parts)}", flush=True)


KINDS: dict[str, Callable[[int], dict[str, Make]]] = {
    "perceptron": lambda batch: {"784-1000-1000-10": lambda: perceptron(batch)},
    "conv": lambda batch: {
        f"{c}->{c} at {s}x{s}": lambda c=c, s=s: convolution(c, s, batch)  # type: ignore[misc]
        for c, s in ((64, 16), (128, 8), (32, 32))
    },
    "awkward": lambda batch: {str(layer): layer.make for layer in AWKWARD},
    "vgg": lambda batch: {"VGG-style": lambda: vgg(batch)},
    "resnet20": lambda batch: {"ResNet-20": lambda: resnet20(batch)},
}


ROUNDS = {
    "perceptron": (20, 6),
    "conv": (5, 3),
    "awkward": (5, 4),
    "vgg": (2, 3),
    "resnet20": (3, 3),
}
"""Of each kind, the rounds and the steps of a turn."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="*", default=list(KINDS))
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.95, 0.98, 0.99])
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--keep-memory", action="store_true")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    print(f"{options.threads} threads, batch {options.batch}")
    for kind in options.kind:
        rounds, steps = ROUNDS[kind]
        rounds = options.rounds or rounds
        for name, make in KINDS[kind](options.batch).items():
            for sparsity in options.sparsity:
                runs = contenders(kind, make, sparsity, clock)
                compare(f"{name}, {sparsity:.0%}", runs, rounds, steps)


if __name__ == "__main__":
    main()
