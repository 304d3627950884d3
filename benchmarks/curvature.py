"""The top Hessian eigenvalue to 1e-5: against PyHessian, and curvlinops with scipy, interleaved.

Wanted: at least 3 times as fast as PyHessian and 4 times as curvlinops with scipy's ``eigsh``.

    pip install -e ".[benchmark]"
    python benchmarks/curvature.py [perceptron | convnet] [--rounds 5]

Every contender finds the largest eigenvalue of the same trained network over the same data with
a tolerance of 1e-5, what its own option of that name means: PyHessian the change between two power
iterations, scipy the residual relative to the eigenvalue, ours an estimate of the error. Because
these differ, the true error of each is printed beside its time, against a reference in double
precision; rows that name another tolerance show what a contender needs, or gets away with, for a
true error of 1e-5. PyHessian is run both ways it has: over a data loader, its way for a data set,
and over all data as one batch, where it keeps the graph as we do, in as much memory as that takes.
``ours, scipy`` is scipy's ``eigsh`` on our products. Each round runs every contender once, in
random order; ratios are those of the medians, in one process, with as many threads as torch has.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import random
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn.functional import cross_entropy

import sparsescape as ss
from sparsescape.landscape.curvature.coordinates import Coordinates, Restricted
from sparsescape.landscape.curvature.lanczos import extreme_eigenvalues
from sparsescape.seeds import generator

Data = tuple[torch.Tensor, torch.Tensor]

TOL = 1e-5
EXAMPLES = 2000
BATCH = 500


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        *(nn.Linear(784, 300), nn.ReLU()), *(nn.Linear(300, 100), nn.ReLU()), nn.Linear(100, 10)
    )
    return model, torch.randn(EXAMPLES, 784)


def convnet() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    return model, torch.randn(EXAMPLES, 1, 8, 8)


def trained(make: Callable[[], tuple[nn.Module, torch.Tensor]]) -> tuple[nn.Module, Data]:
    """A network after 200 steps on a linear teacher's classes, in evaluation mode."""
    torch.manual_seed(0)
    model, inputs = make()
    targets = (inputs.flatten(1) @ torch.randn(inputs[0].numel(), 10)).argmax(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(200):
        chosen = torch.randint(EXAMPLES, (100,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    return model.eval(), (inputs, targets)


class Ours:
    def __init__(self, model: nn.Module, data: Data):
        self.objective, self.model = ss.Objective(model, data, batch_size=BATCH), model

    def lanczos(self, tol: float = TOL, products: int = 300) -> float:
        with self.objective.hessian(self.model) as hessian:
            coordinates = Coordinates(hessian.parameters)
            start = coordinates.draw(generator(random.randrange(2**31), "benchmark"))
            found = extreme_eigenvalues(
                Restricted(hessian, coordinates),
                start,
                tol=tol,
                ends=("largest",),
                max_products=products,
            )
        return found.largest.value

    def scipy(self) -> float:
        with self.objective.hessian(self.model) as hessian:
            coordinates = Coordinates(hessian.parameters)
            matrix = Restricted(hessian, coordinates)

            def product(vector: np.ndarray) -> np.ndarray:
                return matrix(torch.from_numpy(vector.reshape(-1).astype(np.float32))).numpy()

            shape = (coordinates.count, coordinates.count)
            return largest(LinearOperator(shape, matvec=product, dtype=np.float32))


def largest(operator: LinearOperator, tol: float = TOL) -> float:
    start = torch.randn(operator.shape[0]).numpy()
    (value,) = eigsh(operator, k=1, which="LA", tol=tol, v0=start, return_eigenvectors=False)
    return float(value)


def pyhessian(
    model: nn.Module, data: Data, *, whole: bool, tol: float = TOL
) -> Callable[[], float]:
    from pyhessian import hessian

    batches = list(zip(data[0].split(BATCH), data[1].split(BATCH), strict=True))
    given = {"data": data} if whole else {"dataloader": batches}

    def run() -> float:
        copied = copy.deepcopy(model)
        found = hessian(copied, nn.CrossEntropyLoss(), cuda=False, **given)
        (value,), _ = found.eigenvalues(maxIter=2000, tol=tol, top_n=1)
        copied.zero_grad(set_to_none=True)
        for p in copied.parameters():  # what backward with create_graph leaves behind is a cycle
            p.grad = None
        return float(value)

    return run


def curvlinops(model: nn.Module, data: Data, tol: float = TOL) -> Callable[[], float]:
    from curvlinops import HessianLinearOperator

    batches = list(zip(data[0].split(BATCH), data[1].split(BATCH), strict=True))
    parameters = list(model.parameters())

    def run() -> float:
        operator = HessianLinearOperator(
            model, nn.CrossEntropyLoss(), parameters, batches, check_deterministic=False
        )
        return largest(operator.to_scipy(), tol)

    return run


def is_there(package: str) -> bool:
    found = importlib.util.find_spec(package) is not None
    if not found:
        print(f"  {package} is left out: it is not installed.")
    return found


def compare(make: Callable[[], tuple[nn.Module, torch.Tensor]], rounds: int) -> None:
    model, data = trained(make)
    ours = Ours(model, data)
    double = Ours(copy.deepcopy(model).double(), (data[0].double(), data[1]))
    exact = double.lanczos(tol=1e-12, products=120)
    contenders = {"ours": ours.lanczos, "ours, scipy": ours.scipy}
    if is_there("pyhessian"):
        contenders |= {
            "PyHessian, one batch": pyhessian(model, data, whole=True),
            "PyHessian, one batch, 1e-6": pyhessian(model, data, whole=True, tol=1e-6),
            "PyHessian, loader": pyhessian(model, data, whole=False),
        }
    if is_there("curvlinops"):
        contenders |= {
            "curvlinops, scipy": curvlinops(model, data),
            "curvlinops, scipy, 1e-2": curvlinops(model, data, tol=1e-2),
        }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    errors: dict[str, list[float]] = {name: [] for name in contenders}
    chance = random.Random(0)
    for _ in range(rounds):
        for name in chance.sample(list(contenders), len(contenders)):
            start = time.perf_counter()
            value = contenders[name]()
            times[name].append(time.perf_counter() - start)
            errors[name].append(abs(value - exact) / exact)
    base = statistics.median(times["ours"])
    for name in contenders:
        median = statistics.median(times[name])
        error = statistics.median(errors[name])
        print(f"  {name:28} {median:8.2f} s   {median / base:6.2f}   error {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    problems = {"perceptron": perceptron, "convnet": convnet}
    parser.add_argument("problem", nargs="?", choices=problems)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of torch, on what the other packages do
    for name, make in problems.items():
        if options.problem in (None, name):
            print(
                f"{name}, {EXAMPLES} examples, {torch.get_num_threads()} threads, "
                f"{options.rounds} rounds: median, its ratio to ours, error"
            )
            compare(make, options.rounds)


if __name__ == "__main__":
    main()
