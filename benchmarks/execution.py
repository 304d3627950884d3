"""Whether ``execution="auto"`` is the faster way, on the study's kinds of work, interleaved.

    python benchmarks/execution.py [--rounds N] [--sparsity 0.8 0.9 0.95 0.98]

Per network and sparsity (one threshold over random scores): fitting a quadratic curve inside the
mask, evaluating a line inside it, and training with RigL, which moves the mask every 20 steps,
each run masked, by the rule and sparse, in turn in one process, on one thread (a perceptron's first
layer is evaluated once for each end, whatever the way); printed are median milliseconds of CPU time
of a curve's step, of a point and of a training step, and how many times faster than masked. What a
fit or a line begins with (the network made sparse, and tried) is shared among its steps or points.
The rule is good where its ratio is at or above 1 and near the better of the other two.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

import sparsescape as ss
from sparsescape.kernels.execution import sparse_inside, sparse_part

Make = Callable[[], tuple[nn.Module, torch.Tensor]]
WAYS = ("masked", "auto", "sparse")
STEPS, POINTS, SAMPLES, BATCH = 100, 21, 1000, 50
EVERY = 20  # steps between updates of the mask


def small_convnet() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return model, torch.randn(SAMPLES, 1, 8, 8)


def lenet5() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip
    return model, torch.randn(SAMPLES, 1, 28, 28)


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise((784, 300, 100, 10)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(SAMPLES, 1, 28, 28)


def strided() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2048, 10),
    )  # fmt: skip
    return model, torch.randn(SAMPLES, 3, 32, 32)


NETWORKS: dict[str, Make] = {
    "small convnet": small_convnet,
    "strided": strided,
    "LeNet-5": lenet5,
    "784-300-100-10": perceptron,
}


def ends(model: nn.Module, sparsity: float) -> tuple[ss.Mask, ss.Line]:
    weights = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    scores = {n: torch.rand(p.shape) for n, p in weights.items()}
    mask = ss.Mask.from_scores(scores, sparsity=sparsity)
    points = []
    for scale in (0.5, 1.0):
        point = {n: scale * p.detach() for n, p in model.named_parameters()}
        mask.apply_(point)
        points.append(point)
    return mask, ss.Line(*points)


def in_training(model: nn.Module, mask: ss.Mask, data: tuple[torch.Tensor, ...], way: str) -> float:
    """Seconds of a training step with a mask that moves now and then."""
    mask.apply_(model)
    sparse_inside(model, sparse_part(model, mask, way))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    method = ss.RigL(mask.sparsity, update_every=EVERY, initial_mask=mask).attach(model, optimizer)
    batches = [[part[:BATCH] for part in data]] * STEPS
    clock = time.process_time()
    for inputs, targets in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    taken = (time.process_time() - clock) / STEPS
    method.detach()
    return taken


def timed(make: Make, sparsity: float, rounds: int) -> dict[tuple[str, str], list[float]]:
    model, inputs = make()
    data = inputs, torch.randint(0, 10, (len(inputs),))
    mask, line = ends(model, sparsity)
    objectives = {way: ss.Objective(model, data, execution=way) for way in WAYS}
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for way in random.sample(WAYS, len(WAYS)):
            curve = ss.Bezier(line.start, line.end, degree=2, subspace=mask)
            clock = time.process_time()
            ss.fit_curve(curve, objectives[way], steps=STEPS, batch_size=BATCH)
            between = time.process_time()
            ss.profile(line, objectives[way], points=POINTS)
            after = time.process_time()
            of_training = in_training(copy.deepcopy(model), mask, data, way)
            if number:  # the first compiles
                times["a curve's step", way].append((between - clock) / STEPS)
                times["a point", way].append((after - between) / POINTS)
                times["a training step", way].append(of_training)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.98])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for (name, make), sparsity in itertools.product(NETWORKS.items(), arguments.sparsity):
        times = timed(make, sparsity, arguments.rounds)
        for what in ("a curve's step", "a point", "a training step"):
            masked = times[what, "masked"]
            shown = []
            for way in WAYS:
                mine = times[what, way]
                ratio = statistics.median(m / t for m, t in zip(masked, mine, strict=True))
                shown.append(f"{way} {1e3 * statistics.median(mine):7.2f} ms ({ratio:.2f}x)")
            print(f"{name:15} {sparsity:.0%} {what:15}", "   ".join(shown), flush=True)


if __name__ == "__main__":
    main()
