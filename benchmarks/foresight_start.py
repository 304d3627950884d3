"""Where masks chosen before training start: the masked loss, and whether the network then lives.

    python benchmarks/foresight_start.py [--problem digits-conv] [--methods force grasp]
        [--seeds 3] [--steps N]

FORCE and GraSP at 90 %, on the network as it is and with BatchNorm after every layer but the last,
by the recipe's SGD from its learning rate and from a tenth of that. Printed for each seed: the loss
and the standard deviation of the outputs before the first step, over the training set; the test
accuracy at the end; and how many different answers the network then gives. One answer for every
image: it is dead. No times are measured; on the digits it takes two to three minutes on one thread.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from torch import nn

import sparsescape as ss
from sparsescape.problems.catalogue import load
from sparsescape.problems.problem import Problem
from sparsescape.training.batches import Batches

SPARSITY = 0.9
SCORED = 128
"""Examples that the score looks at, as in the study of the methods."""
METHODS = {"force": ss.FORCE, "grasp": ss.GraSP}
SHARES = (1.0, 0.1)


def with_batch_norm(model: nn.Module) -> nn.Module:
    """The same layers, all but the last followed by BatchNorm."""
    layers = list(model.children())
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    found: list[nn.Module] = []
    for place, layer in enumerate(layers):
        found.append(layer)
        if isinstance(layer, nn.Conv2d):
            found.append(nn.BatchNorm2d(layer.out_channels))
        elif isinstance(layer, nn.Linear) and place != last:
            found.append(nn.BatchNorm1d(layer.out_features))
    return nn.Sequential(*found)


NETWORKS = {"as it is": lambda model: model, "BatchNorm": with_batch_norm}


def one_run(problem: Problem, method: str, network: str, rate: float, seed: int, steps: int):
    """Loss and deviation of the outputs at the start, accuracy and number of answers at the end."""
    recipe = problem.recipe
    model = NETWORKS[network](problem.make_model(seed))
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    scored = Batches(problem.train, batch_size=SCORED, seed=seed)(0)
    METHODS[method](SPARSITY, data=scored, loss=problem.loss).attach(model, optimizer)
    outputs, answers = whole(problem, model, "train")
    start, deviation = problem.loss(outputs, answers).item(), outputs.std().item()
    batches = Batches(problem.train, batch_size=recipe.batch_size, seed=seed)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        inputs, targets = batches(step)
        optimizer.zero_grad()
        problem.loss(model(inputs), targets).backward()
        optimizer.step()
        cosine.step()
    outputs, answers = whole(problem, model, "test")
    given = outputs.argmax(1)
    return start, deviation, (given == answers).float().mean().item(), len(given.unique())


def whole(problem: Problem, model: nn.Module, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs over a data set, and what they should say."""
    outputs, answers = zip(*problem.objective(model, split).outputs(model), strict=True)
    return torch.cat(outputs), torch.cat(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", default="digits-conv")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    problem = load(options.problem)
    steps = options.steps or problem.recipe.steps
    print("method  network    rate   seed   start loss   deviation   test accuracy   answers")
    for method, network, share in itertools.product(options.methods, NETWORKS, SHARES):
        rate = share * problem.recipe.lr
        for seed in range(options.seeds):
            start, deviation, right, answers = one_run(problem, method, network, rate, seed, steps)
            print(
                f"{method:6}  {network:9}  {rate:5.3g}  {seed:4}   {start:10.2f}   {deviation:9.2f}"
                f"   {100 * right:11.1f} %   {answers:7}",
                flush=True,
            )


if __name__ == "__main__":
    main()
