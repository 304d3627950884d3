"""What the trainer costs: the same training by it and by a loop written by hand.

    python benchmarks/trainer.py [digits-conv digits-mlp mnist-lenet300 mnist-lenet5] [--turns 60]

Both train the same model from the same start, with torch's own fused SGD. The loop has what a loop
needs, and no more: draw a batch, forward, backward, step, and look at the loss. The trainer also
sets the learning rate, counts FLOPs, tells of every step, gives up at a loss that is not finite and
asks whether a checkpoint is due. In short turns, one after the other on one thread of one process;
CPU time, and the median of the turns' ratios. Data are made up, in the problem's shapes: their
values do not change the time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from sparsescape.problems import digits, mnist
from sparsescape.problems.catalogue import CATALOGUE
from sparsescape.problems.recipe import Recipe
from sparsescape.schedules import cosine
from sparsescape.training.batches import Batches
from sparsescape.training.checkpoints import Checkpoint
from sparsescape.training.flops import step_flops
from sparsescape.training.trainer import Run

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "digits-conv": (digits._conv, (1, 8, 8), 1437),
    "digits-mlp": (digits._mlp, (1, 8, 8), 1437),
    "mnist-lenet300": (mnist._lenet300, (1, 28, 28), 60_000),
    "mnist-lenet5": (mnist._lenet5, (1, 28, 28), 60_000),
}
SECONDS = 0.2  # of a turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", default=list(MODELS))
    parser.add_argument("--turns", type=int, default=60, help="of each side")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("problem          by hand          trainer          trainer / by hand (quartiles)")
    for name in given.problems:
        compare(name, CATALOGUE[name].recipe, given.turns)


def compare(name: str, recipe: Recipe, turns: int) -> None:
    make, shape, count = MODELS[name]
    data = torch.rand(count, *shape), torch.arange(count) % 10
    loop, trainer = (way(make, data, recipe) for way in (by_hand, by_trainer))
    steps = max(5, int(SECONDS / (timed(loop, 50) / 50)))
    timed(trainer, steps)
    pairs = []
    for turn in range(turns):
        first, second = (loop, trainer) if turn % 2 else (trainer, loop)
        times = {way: timed(way, steps) for way in (first, second)}
        pairs.append((times[loop], times[trainer]))
    ratios = [trained / looped for looped, trained in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    rates = [
        steps * recipe.batch_size / statistics.median(times) for times in zip(*pairs, strict=True)
    ]
    print(
        f"{name:16} {rates[0]:9.0f} /s     {rates[1]:9.0f} /s     "
        f"{middle:.3f} ({low:.3f} to {high:.3f})",
        flush=True,
    )


def timed(way: Callable[[int], None], steps: int) -> float:
    began = time.process_time()
    way(steps)
    return time.process_time() - began


def set_up(
    make: Callable[[], nn.Module], recipe: Recipe
) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = make().train()
    return model, torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def by_hand(
    make: Callable[[], nn.Module], data: tuple[torch.Tensor, torch.Tensor], recipe: Recipe
) -> Callable[[int], None]:
    model, optimizer = set_up(make, recipe)
    inputs, targets = data

    def run(steps: int) -> None:
        order, at = torch.randperm(len(inputs)), 0
        for _ in range(steps):
            if at + recipe.batch_size > len(inputs):
                order, at = torch.randperm(len(inputs)), 0
            chosen = order[at : at + recipe.batch_size]
            at += recipe.batch_size
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def by_trainer(
    make: Callable[[], nn.Module], data: tuple[torch.Tensor, torch.Tensor], recipe: Recipe
) -> Callable[[int], None]:
    model, optimizer = set_up(make, recipe)
    batches = Batches(data, batch_size=recipe.batch_size, seed=0)
    flops = step_flops(model, Batches(data, batch_size=8, seed=0)(0), F.cross_entropy)

    def loss(step: int) -> torch.Tensor:
        inputs, targets = batches(step)
        return F.cross_entropy(model(inputs), targets)

    def run(steps: int) -> None:
        Run(
            model,
            loss,
            optimizer,
            cosine(recipe.lr, end=recipe.steps),
            steps,
            cost=lambda: flops.at({}) * recipe.batch_size,
        ).train(Checkpoint(Path("unused"), every=1e9), lambda step, value: None)

    return run


if __name__ == "__main__":
    main()
