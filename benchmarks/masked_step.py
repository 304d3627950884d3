"""What a mask costs: a masked training step against the plain dense one, interleaved.

Wanted: at most 1.05 on a 784-300-100-10 perceptron with batch 100, at most 1.02 on ResNet-18 at
32×32 with batch 100; a mask update at most one training step. Extra memory is a byte per sparse
weight, which is printed; where torch runs on several threads, large weights take the width of their
numbers instead, for a pass of torch's that uses them all.

What limits that on the perceptron, whose step is short (one thread): beside a pass over the
gradients, Python that runs for each weight and step on cold caches, where a call costs a
microsecond and more: hooks, what is compared before a step, and after it, when weights and state
are seen to have stood still. An update selects among all weights and gradients in compiled passes;
SET's lists the active weights, and selects among those of each sign. A third of the time goes into
the calls that a layer takes however small it is.

Unfused Adam takes the square root of its second moment, which is 0 outside the mask: on a CPU torch
leaves that to a vector library that is several times as slow at exact zeros, which is printed too.
Masks by whatever means pay for it; ``fused=True`` does not.

    python benchmarks/masked_step.py [perceptron | resnet18] [--rounds 150]

Each round gives every contender a turn, in random order: five steps in a row, as training takes
them. Printed are the medians of all but the first step of a turn, and their ratio; beside it that
of the first steps, which find the caches full of what the contender before left there, as no
training does. All in one process with as many threads as torch has. Where every step updates the
mask, the last column is what an update adds to a masked step, in dense steps. In the same run:
``torch.nn.utils.prune`` and ``sparsimony``, if that is installed (``pip install sparsimony``; it
asks for numpy 1).
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

import sparsescape as ss

SPARSITY = 0.9
NEVER = 10**9
TURN = 5


def perceptron() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    sizes = (784, 300, 100, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(100, 784), torch.randint(10, (100,))


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    blocks: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Residual(inputs, outputs, stride), Residual(outputs, outputs, 1)]
        inputs = outputs
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return model, torch.randn(100, 3, 32, 32), torch.randint(10, (100,))


class Contender:
    """A model with its optimizer, made the same way every time."""

    def __init__(self, problem, make_optimizer, prepare):
        torch.manual_seed(0)
        self.model, self.x, self.y = problem()
        self.optimizer = make_optimizer(self.model.parameters())
        prepare(self.model, self.optimizer)
        self.first: list[float] = []
        self.later: list[float] = []

    def turn(self) -> None:
        self.first.append(self.step())
        self.later += [self.step() for _ in range(TURN - 1)]

    def step(self) -> float:
        start = time.perf_counter()
        self.optimizer.zero_grad()
        cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()
        return time.perf_counter() - start


def with_torch_prune(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """``torch.nn.utils.prune``: the mask is applied in every forward pass."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            prune.random_unstructured(module, "weight", SPARSITY)


def with_sparsimony(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """``sparsimony``: the mask is a parametrization of the weight."""
    from sparsimony.distributions.base import UniformDistribution
    from sparsimony.dst.set import SET
    from sparsimony.schedulers.base import ConstantScheduler

    never = ConstantScheduler(pruning_ratio=0.3, t_end=NEVER, delta_t=NEVER)
    sparsifier = SET(never, UniformDistribution(), optimizer, SPARSITY, init_method=None)
    layers = (nn.Linear, nn.Conv2d)
    names = [n for n, m in model.named_modules() if isinstance(m, layers)]
    sparsifier.prepare(model, [{"tensor_fqn": f"{name}.weight"} for name in names])
    optimizer.register_step_post_hook(lambda *_: sparsifier.step())


EVERY_STEP = "sparsescape {}, every step an update"
STATIC = "sparsescape static"


def contenders() -> dict[str, Callable[[nn.Module, torch.optim.Optimizer], object]]:
    """Name → what is done to a model and its optimizer before training."""
    gradual = {"begin": 1, "end": NEVER, "every": 1, "initial_sparsity": SPARSITY}
    found = {
        "dense": lambda m, o: None,
        STATIC: lambda m, o: ss.Static(sparsity=SPARSITY).attach(m, o),
        "sparsescape rigl": lambda m, o: ss.RigL(SPARSITY, update_every=NEVER).attach(m, o),
        EVERY_STEP.format("rigl"): lambda m, o: ss.RigL(SPARSITY, update_every=1).attach(m, o),
        EVERY_STEP.format("set"): lambda m, o: ss.SET(SPARSITY, update_every=1).attach(m, o),
        EVERY_STEP.format("gradual"): lambda m, o: ss.GradualMagnitude(SPARSITY, **gradual).attach(
            m, o
        ),
        "torch.nn.utils.prune": with_torch_prune,
    }
    if importlib.util.find_spec("sparsimony"):
        found["sparsimony set"] = with_sparsimony
    else:
        print("  sparsimony is left out: it is not installed (pip install sparsimony).")
    return found


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    # Masks by whatever means pay for its square roots of exact zeros: see print_square_roots.
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adam fused": lambda p: torch.optim.Adam(p, lr=1e-3, fused=True),
}


def compare(problem, make_optimizer, rounds: int) -> None:
    runs = {n: Contender(problem, make_optimizer, p) for n, p in contenders().items()}
    chance = random.Random(0)
    for run in runs.values():
        run.turn()  # what is made at first
        run.first, run.later = [], []
    for _ in range(rounds):
        for run in chance.sample(list(runs.values()), len(runs)):
            run.turn()
    first = {name: statistics.median(run.first) for name, run in runs.items()}
    later = {name: statistics.median(run.later) for name, run in runs.items()}
    for name in runs:
        more = (later[name] - later[STATIC]) / later["dense"]
        update = f"   +{more:.3f}" if name.endswith("an update") else ""
        ratios = [times[name] / times["dense"] for times in (later, first)]
        print(
            f"  {name:42} {1e3 * later[name]:9.3f} ms   {ratios[0]:6.3f}"
            f"   (first {ratios[1]:6.3f}){update}"
        )


def print_memory(problem) -> None:
    """What a static mask keeps beside the model and the optimizer."""
    model, _, _ = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sparsifier = ss.Static(sparsity=SPARSITY).attach(model, optimizer)
    held = sum(one.bits.nbytes for one in sparsifier._held.values())
    sparse = sum(w.numel() for w in sparsifier.weights.values())
    print(f"  the mask takes {held / sparse:.1f} bytes per sparse weight")


def print_square_roots(rounds: int = 200) -> None:
    """Of a second moment, as Adam takes them where it is not fused: dense, and masked."""
    dense = torch.rand(784, 300)
    masked = dense * (torch.rand(784, 300) >= SPARSITY)
    times: dict[str, list[float]] = {"dense": [], "masked": []}
    for _ in range(rounds):
        for name, numbers in (("dense", dense), ("masked", masked)):
            start = time.perf_counter()
            numbers.sqrt()
            times[name].append(time.perf_counter() - start)
    ratio = statistics.median(times["masked"]) / statistics.median(times["dense"])
    print(f"  torch's square root of as many numbers, most of them 0: {ratio:.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "problem", nargs="?", default="perceptron", choices=["perceptron", "resnet18"]
    )
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--optimizer", action="append", choices=OPTIMIZERS)
    options = parser.parse_args()
    rounds = options.rounds or {"perceptron": 150, "resnet18": 3}[options.problem]
    problem = {"perceptron": perceptron, "resnet18": resnet18}[options.problem]
    print_memory(problem)
    print_square_roots()
    for name in options.optimizer or OPTIMIZERS:
        print(f"{options.problem}, {name}, {torch.get_num_threads()} threads, {rounds} rounds")
        compare(problem, OPTIMIZERS[name], rounds)


if __name__ == "__main__":
    main()
