"""What the weights that Top-KAST only explores do to a network when they first come into use.

    python benchmarks/explored_weights.py [--seeds 3] [--steps 2000]

Top-KAST at 90 % on the digits' convolutional network, by the recipe's SGD from two learning rates,
with half of all weights in the backward pass, as by default, and with those of the forward pass
alone, so that nothing is explored. Printed for each seed: the loss of the batch before and after
the first exchange, and the test accuracy at the end. No times are measured; it takes about a
minute on one thread.
"""

from __future__ import annotations

import argparse
import itertools

import torch

import sparsescape as ss
from sparsescape.problems.catalogue import load
from sparsescape.problems.problem import Problem
from sparsescape.training.batches import Batches

SPARSITY = 0.9
BACKWARD = (0.5, SPARSITY)
RATES = (0.1, 0.01)
EVERY = 100


def one_run(
    problem: Problem, backward: float, rate: float, seed: int, steps: int
) -> tuple[list[float], float]:
    """Losses around the first exchange, and test accuracy at the end."""
    recipe, (unseen, answers) = problem.recipe, problem.test
    model = problem.make_model(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    method = ss.TopKAST(SPARSITY, backward_sparsity=backward, update_every=EVERY)
    method.attach(model, optimizer)
    batches = Batches(problem.train, batch_size=recipe.batch_size, seed=seed)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    around = []
    for step in range(steps):
        inputs, targets = batches(step)
        optimizer.zero_grad()
        loss = problem.loss(model(inputs), targets)
        if EVERY - 2 < step < EVERY + 1:
            around.append(loss.item())
        loss.backward()
        optimizer.step()
        cosine.step()
    with torch.no_grad():
        return around, (model(unseen).argmax(1) == answers).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    problem = load("digits-conv")
    print("backward sparsity   rate   seed   losses around the exchange   test accuracy")
    for backward, rate in itertools.product(BACKWARD, RATES):
        for seed in range(options.seeds):
            around, right = one_run(problem, backward, rate, seed, options.steps)
            shown = ", ".join(f"{loss:.2f}" for loss in around)
            print(
                f"{backward:17}  {rate:5}   {seed:4}   {shown:>26}   {100 * right:11.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
