"""What looking at a path costs, and looking for one.

Evaluating: 61 points of a quadratic Bézier curve over 10 000 examples, against the way of the
published mode-connectivity code (Garipov et al. 2018, ``eval_curve.py``): for each point a
DataLoader's pass over a torchvision data set of images, decoded and normalized one by one, through
a network whose every layer makes its weights anew from the control points for each batch of 128.
Wanted: at most 1/8 of its time on a perceptron, 1/1.8 on a small convnet.

Fitting: a step on a quadratic and a cubic curve, against a training step of the same network; each
draws its batch from the data.
Wanted: at most 1.5 times on the perceptron, 1.15 times on the convnet.

    python benchmarks/paths.py [evaluate | fit] [perceptron | convnet] [--rounds 5] [--points 61]

Both sides in one process, interleaved, with as many threads as torch has; medians and their ratio.
Needs torchvision and pillow for the published way: pip install torchvision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparsescape as ss

EXAMPLES, BATCH = 10_000, 128


def perceptron() -> nn.Module:
    sizes = (784, 300, 100, 10)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {"perceptron": perceptron, "convnet": convnet}


# ---------------------------------------------------------------------------- the published way


def published(
    model: nn.Module, controls: list[dict[str, Tensor]], images: Tensor, labels: Tensor, count: int
):
    """A function that evaluates all points as the published code does."""
    from PIL import Image
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.13,), (0.31,))])

    class Images(torch.utils.data.Dataset):
        """As torchvision's MNIST: an array of bytes, an image made of each when it is asked for."""

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int):
            return transform(Image.fromarray(images[index].numpy())), int(labels[index])

    loader = torch.utils.data.DataLoader(Images(), batch_size=BATCH)
    names = [name for name, _ in model.named_parameters()]

    @torch.no_grad()
    def evaluate() -> list[float]:
        losses = []
        for t in torch.linspace(0, 1, count).tolist():
            total = 0.0
            for inputs, targets in loader:
                c = [(1 - t) ** 2, 2 * t * (1 - t), t**2]
                weights = {
                    n: sum(k * p[n] for k, p in zip(c, controls, strict=True)) for n in names
                }
                outputs = torch.func.functional_call(model, weights, (inputs,))
                total += F.cross_entropy(outputs, targets).item() * len(targets)
            losses.append(total / len(images))
        return losses

    return evaluate


# ---------------------------------------------------------------------------- what is compared


def evaluating(make: Callable[[], nn.Module], count: int) -> dict[str, Callable[[], object]]:
    images = torch.randint(0, 256, (EXAMPLES, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, 10, (EXAMPLES,))
    start, end = make(), make()
    curve = ss.Bezier(start, end, degree=2)
    points = [curve.point(0), *curve.control_points(), curve.point(1)]
    inputs = ((images.float() / 255 - 0.13) / 0.31)[:, None]
    objective = ss.Objective(start, (inputs, labels))
    theirs = published(start, points, images, labels, count)
    ours = lambda: ss.profile(curve, objective, count).loss  # noqa: E731
    worst = max(abs(a - b) for a, b in zip(ours(), theirs(), strict=True))
    assert worst < 1e-4, f"The two do not agree: {worst}."
    return {"published way": theirs, "profile": ours}


def fitting(make: Callable[[], nn.Module], _: int) -> dict[str, Callable[[], object]]:
    """Runs of 100 steps."""
    data = torch.randn(2000, 1, 28, 28), torch.randint(0, 10, (2000,))
    model = make()
    objective = ss.Objective(model, data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)

    def train() -> None:
        for _ in range(100):
            chosen = torch.randint(2000, (100,))
            optimizer.zero_grad()
            F.cross_entropy(model(data[0][chosen]), data[1][chosen]).backward()
            optimizer.step()

    def fit(degree: int) -> Callable[[], object]:
        curve = ss.Bezier(make(), make(), degree=degree)
        return lambda: ss.fit_curve(curve, objective, steps=100, lr=0.01)

    return {"training": train, "quadratic curve": fit(2), "cubic curve": fit(3)}


COMPARED = {"evaluate": evaluating, "fit": fitting}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=COMPARED, help="both unless given")
    parser.add_argument("network", nargs="?", choices=NETWORKS, help="both unless given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", type=int, default=61, help="fewer for less time, on both sides")
    given = parser.parse_args()
    for what in [given.what] if given.what else COMPARED:
        for name in [given.network] if given.network else NETWORKS:
            torch.manual_seed(0)
            contenders = COMPARED[what](NETWORKS[name], given.points)
            times: dict[str, list[float]] = {contender: [] for contender in contenders}
            for _ in range(given.rounds):
                for contender, work in contenders.items():
                    began = time.perf_counter()
                    work()
                    times[contender].append(time.perf_counter() - began)
            medians = {contender: statistics.median(taken) for contender, taken in times.items()}
            reference = next(iter(medians.values()))
            size = f"{given.points} points, " if what == "evaluate" else ""
            threads = torch.get_num_threads()
            print(f"{what} {name}, {size}{threads} threads, {given.rounds} rounds", flush=True)
            for contender, median in medians.items():
                print(
                    f"  {contender:16} {median:8.3f} s   ratio {median / reference:6.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
