"""The difficulty study against a straightforward loop that does the same work.

    python benchmarks/study.py [--seeds 3] [--curve-steps 3000] [--rounds 1]

Wanted: three seeds in under 60 seconds on two cores where the loop needs about 130, so at most
0.46 of its time: absolute seconds are those of one machine. The loop is what one writes first:
torch's modules, optimizer and ``functional_call``, one thing after the other, with as many threads
as torch takes. It trains as many runs for as many steps, evaluates as many points of as many lines
and curves on the same examples, and searches each curve for ``--curve-steps`` steps, by default
three times those of the study (printed beside it is what it would take with as many). It draws no
figures and writes nothing. The study is the command, from its start to the finished report, in an
empty store; what numba compiles is kept from the first round on.

Both sides in turn, each in a process of its own; wall-clock time.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from sparsescape.problems import digits
from sparsescape.problems.catalogue import CATALOGUE

SPARSITY, POINTS, OURS = 0.98, 61, 1000
RECIPE = CATALOGUE["digits-conv"].recipe
Point = dict[str, Tensor]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return digits.conv(RECIPE).make_model(seed)


def smallest_kept(weights: Point, sparsity: float) -> Point:
    """One threshold per weight matrix."""
    masks = {}
    for name, weight in weights.items():
        if weight.ndim > 1:
            kept = max(1, round(weight.numel() * (1 - sparsity)))
            threshold = weight.abs().flatten().topk(kept).values[-1]
            masks[name] = (weight.abs() >= threshold).float()
    return masks


def train(model: nn.Module, data, masks: Point, prune: bool = False) -> Point:
    x, y = data
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RECIPE.lr, momentum=0.9, weight_decay=RECIPE.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, RECIPE.steps)
    for step in range(RECIPE.steps):
        chosen = torch.randint(len(x), (RECIPE.batch_size,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
        schedule.step()
        done = (step - RECIPE.prune_begin) / (RECIPE.prune_end - RECIPE.prune_begin)
        if prune and 0 <= done <= 1 and step % RECIPE.prune_every == 0:
            weights = {n: p.detach() for n, p in model.named_parameters()}
            masks = smallest_kept(weights, SPARSITY * (1 - (1 - done) ** 3))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in masks:
                    parameter.mul_(masks[name])
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def bezier(points: list[Point], t: float) -> Point:
    """De Casteljau's algorithm."""
    while len(points) > 1:
        pairs = itertools.pairwise(points)
        points = [{n: (1 - t) * a[n] + t * b[n] for n in a} for a, b in pairs]
    return points[0]


def fit(model, start: Point, end: Point, degree: int, masks: Point, data, steps: int):
    x, y = data
    inner = [bezier([start, end], k / degree) for k in range(1, degree)]
    free = [p.requires_grad_() for point in inner for p in point.values()]
    optimizer = torch.optim.SGD(free, lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(x), (RECIPE.batch_size,))
        optimizer.zero_grad()
        held = [{n: p * masks[n] if n in masks else p for n, p in q.items()} for q in inner]
        point = bezier([start, *held, end], torch.rand(()).item())
        F.cross_entropy(functional_call(model, point, (x[chosen],)), y[chosen]).backward()
        optimizer.step()
        schedule.step()
    return [start, *({n: p.detach() for n, p in q.items()} for q in inner), end]


@torch.no_grad()
def evaluate(model: nn.Module, points: list[Point], grid: list[float], *sets) -> None:
    for t in grid:
        point = bezier(points, t)
        for x, y in sets:
            outputs = functional_call(model, point, (x,))
            F.cross_entropy(outputs, y).item()
            (outputs.argmax(1) == y).float().mean().item()


def loop(seeds: int, curve_steps: int) -> None:
    """The whole study, seed by seed; prints the seconds of its searches and of all else."""
    data, test = (tuple(t.contiguous() for t in pair) for pair in digits.digits())
    inside = [i / (POINTS - 1) for i in range(POINTS)]
    beyond = [i / (POINTS - 1) for i in range(-12, POINTS + 12)]
    began, searching = time.perf_counter(), 0.0
    for seed in range(seeds):
        model, fresh = network(seed), network(1000 + seed)
        first = {n: p.detach().clone() for n, p in model.named_parameters()}
        other = {n: p.detach().clone() for n, p in fresh.named_parameters()}
        train(network(seed), data, {})
        pruned = train(network(seed), data, {}, prune=True)
        masks = smallest_kept(pruned, SPARSITY)
        lottery = train(network(seed), data, masks)
        scratch, scaled = train(fresh, data, masks), train(network(1000 + seed), data, masks)
        lines = [(first, lottery), (other, scratch), (other, scaled), (first, pruned)]
        lines += [(scratch, pruned), (lottery, pruned), (scratch, lottery)]
        for ends in lines:
            evaluate(model, list(ends), beyond, data, test)
        for start in (scratch, lottery):
            for degree in (2, 3):
                for held in (masks, {}):
                    before = time.perf_counter()
                    curve = fit(model, start, pruned, degree, held, data, curve_steps)
                    searching += time.perf_counter() - before
                    evaluate(model, curve, inside, data, test)
    print(searching, time.perf_counter() - began - searching)


def seconds_of_loop(options: argparse.Namespace) -> tuple[float, float]:
    """Of the searches, and of all else."""
    command = [sys.executable, __file__, "--loop", "--seeds", str(options.seeds)]
    command += ["--curve-steps", str(options.curve_steps)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    searching, rest = map(float, said.split())
    return searching, rest


def seconds_of_study(options: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "sparsescape", "study", "difficulty", "--store", store]
        before = time.perf_counter()
        subprocess.run(
            [*command, "--seeds", str(options.seeds)], check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--curve-steps", type=int, default=3 * OURS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        loop(options.seeds, options.curve_steps)
        return
    studies, loops, fewer = [], [], []
    for _ in range(options.rounds):
        studies.append(seconds_of_study(options))
        searching, rest = seconds_of_loop(options)
        loops.append(searching + rest)
        fewer.append(searching * OURS / options.curve_steps + rest)
    ours = statistics.median(studies)
    print(f"study                          {ours:7.1f} s")
    for steps, seconds in ((options.curve_steps, loops), (OURS, fewer)):
        theirs = statistics.median(seconds)
        print(f"loop, {steps:5} steps a curve     {theirs:7.1f} s   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
