"""The pipeline of a problem of images on a machine that cannot train it to the end.

    python benchmarks/pipeline.py --data-root DATA > docs/results/pipeline.md

For each problem, with its own recipe (optimizer, precision, augmentation) but smaller batches,
dense and by RigL at 90 %:

- time: images a second of the data alone, of the network alone on a batch that is there, and of
  both together through the trainer; and the masked step over the dense one. Interleaved in one
  process, medians.
- memory: Linux's count of the most that training takes, beyond the process with its
  data before it; each arm in a process of its own.
- correctness, each checked here, and the program ends where one fails: a batch is the same bits
  read again and, where it is read from files, by two processes that read ahead; the mask holds its
  count after every step, and moves; a run that is interrupted and goes on is the same bits as one
  that is not; the loss of two batches, seen again and again, falls.

ImageNet is any folder in its layout: ``DATA/tiny-imagenet-40/{train,val}/CLASS`` is looked for.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import sparsescape as ss
from sparsescape.problems import catalogue
from sparsescape.problems.problem import Problem
from sparsescape.problems.streamed import Streamed
from sparsescape.training.batches import Batches
from sparsescape.training.checkpoints import Checkpoint
from sparsescape.training.recipes import clipping, forward_pass, learning_rate, make_optimizer
from sparsescape.training.trainer import Run

BATCHES = {"tiny-imagenet-resnet18": 8, "imagenet-resnet50": 8}
SPARSITY, UPDATE_EVERY = 0.9, 4


def sparsifier() -> ss.Sparsifier:
    return ss.RigL(sparsity=SPARSITY, update_every=UPDATE_EVERY)


def loaded(name: str, data_root: str) -> Problem:
    folder = Path(data_root) / "tiny-imagenet-40"
    return catalogue.load(name, data_root=str(folder if folder.is_dir() else data_root))


class Arm:
    """A network in training by the recipe, dense or masked."""

    def __init__(
        self, problem: Problem, batch: int, masked: bool, steps: int, distinct: int = 10**6
    ):
        recipe = replace(problem.recipe, warmup=0, lr=0.003)  # what such small batches bear
        self.model = problem.make_model(0).train()
        self.optimizer = make_optimizer(self.model, recipe)
        self.sparsifier = sparsifier().attach(self.model, self.optimizer) if masked else None
        forward = forward_pass(self.model, recipe)
        batches = Batches(problem.train, batch_size=batch, seed=0)
        self.waited: list[float] = []

        def loss(step: int) -> torch.Tensor:
            began = time.perf_counter()
            inputs, targets = batches(step % distinct)
            self.waited.append(time.perf_counter() - began)
            return problem.loss(forward(inputs), targets)

        self.run = Run(
            self.model, loss, self.optimizer, learning_rate(recipe), steps, self.sparsifier
        )
        self.run.transform = clipping(self.model, recipe)

    def losses(self, checkpoint: Checkpoint | None = None) -> list[float]:
        found: list[float] = []
        self.run.train(checkpoint, lambda _, loss: found.append(loss))
        return found

    def state(self) -> dict[str, torch.Tensor]:
        return {n: t.clone() for n, t in self.model.state_dict().items()}


# ---------------------------------------------------------------------------- what is right


def check_batches(problem: Problem, batch: int) -> None:
    """Read again, and read ahead by other processes, they are the same bits."""
    data = [problem.train, problem.train]
    if isinstance(problem.train, Streamed):  # others lie in memory, and nothing is read ahead
        data.append(replace(problem.train, workers=2))
    here, *others = (Batches(d, batch_size=batch, seed=0) for d in data)
    for step in (5, 6, 2):
        expected = here(step)
        for other in others:
            assert all(map(torch.equal, other(step), expected)), f"Batch {step} differs."


def check_resume(problem: Problem, batch: int, steps: int) -> None:
    """Half of the steps, and then the rest by another run, are the same bits as all at once."""
    whole = Arm(problem, batch, masked=True, steps=steps)
    whole.losses()
    with tempfile.TemporaryDirectory() as folder:
        for last in (steps // 2 + 1, steps):
            part = Arm(problem, batch, masked=True, steps=last)
            part.losses(Checkpoint(Path(folder) / "state", every=0.0))
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, part.state()[name]), f"{name} differs after a run resumed."


def check_training(problem: Problem, batch: int, steps: int) -> tuple[float, float]:
    """The loss of two batches falls, the mask holds its count and moves; first and last loss."""
    arm = Arm(problem, batch, masked=True, steps=steps, distinct=2)
    first = arm.sparsifier.mask
    losses: list[float] = []

    def look(step: int, loss: float) -> None:
        losses.append(loss)
        assert arm.sparsifier.mask.count == first.count
        assert ss.Mask.of(arm.model).count <= first.count

    arm.run.train(None, look)
    assert arm.sparsifier.mask != first
    fifth = max(1, steps // 5)
    early, late = (statistics.fmean(part) for part in (losses[:fifth], losses[-fifth:]))
    assert late < early, f"The loss went from {early:.3f} to {late:.3f}."
    return early, late


# ---------------------------------------------------------------------------- what it takes


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def times(problem: Problem, batch: int, rounds: int) -> dict[str, float]:
    """Medians in seconds of a batch."""
    batches = Batches(problem.train, batch_size=batch, seed=0)
    there = batches(0)
    arms = {name: Arm(problem, batch, name == "masked", 10**6) for name in ("dense", "masked")}
    alone = {name: Arm(problem, batch, name == "masked", 10**6) for name in ("dense", "masked")}
    for name, arm in alone.items():
        forward = forward_pass(arm.model, problem.recipe)
        arm.run.loss = lambda _, f=forward: problem.loss(f(there[0]), there[1])
        if name == "masked":
            arm.sparsifier.update_every = 10**9  # a step like most: none that updates the mask
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        works: dict[str, Callable[[], object]] = {"data": lambda n=turn: batches(n)}
        works |= {
            f"{name} alone": lambda a=arm, n=turn: a.run.take(n) for name, arm in alone.items()
        }
        works |= {name: lambda a=arm, n=turn: a.run.take(n) for name, arm in arms.items()}
        for name, work in works.items():
            taken = timed(work)
            if turn:
                found.setdefault(name, []).append(taken)
    waited = statistics.median(w for arm in arms.values() for w in arm.waited[1:])
    return {name: statistics.median(taken) for name, taken in found.items()} | {"waited": waited}


def memory(name: str, data_root: str, arm: str, batch: int) -> float:
    """GiB, in a process of its own."""
    command = [sys.executable, __file__, "--data-root", data_root, "--peak", name, arm, str(batch)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(said) / 2**30


def peak(name: str, data_root: str, arm: str, batch: int) -> int:
    """Bytes that three steps take at most beyond what is there before the network is made."""
    problem = loaded(name, data_root)
    Batches(problem.train, batch_size=batch, seed=0)(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what was loaded before
    before = _status("VmRSS")
    Arm(problem, batch, arm == "masked", 3).losses()
    return _status("VmHWM") - before


def _status(what: str) -> int:
    """Bytes, by Linux's count of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(what))
    return 1024 * int(found.split()[1])


# ---------------------------------------------------------------------------- the page


HEAD = (
    "problem",
    "batch",
    "data, images/s",
    "network, images/s",
    "both, images/s",
    "waiting for data",
    "masked ÷ dense step",
    "memory dense",
    "memory masked",
    "loss, masked",
)
CHECKED = """
The masked network is RigL's at {sparsity:.0%}, here with an update every {every} steps. Checked and
found true for each: batches are the same bits again and by processes that read ahead; the mask
holds its count after every step, and moves; a run that resumes is the same bits; the loss of two
batches, seen again and again, falls (means of the first and of the last fifth of {steps} steps).
The training process reads by itself, as on any CPU; on a GPU one for each core reads ahead."""


def page(data_root: str, problems: dict[str, int], rounds: int, steps: int) -> Iterator[str]:
    command = f"python benchmarks/pipeline.py --rounds {rounds} --steps {steps} --data-root DATA"
    yield "# The pipeline of problems that are too large for this machine\n"
    yield f"Written by `{command}`, not by hand; what is measured, and how, say its first lines.\n"
    yield (
        f"{time.strftime('%Y-%m-%d')}; sparsescape {ss.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, a CPU, {torch.get_num_threads()} thread.\n"
    )
    yield "| " + " | ".join(HEAD) + " |"
    yield "| " + " | ".join(["---"] * len(HEAD)) + " |"
    for name, batch in problems.items():
        yield row(loaded(name, data_root), name, data_root, batch, rounds, steps)
    yield CHECKED.format(sparsity=SPARSITY, every=UPDATE_EVERY, steps=steps)


def row(problem: Problem, name: str, data_root: str, batch: int, rounds: int, steps: int) -> str:
    check_batches(problem, batch)
    check_resume(problem, batch, 2 * UPDATE_EVERY)
    early, late = check_training(problem, batch, steps)
    taken = times(problem, batch, rounds)
    used = [memory(name, data_root, arm, batch) for arm in ("dense", "masked")]
    cells: list[Any] = [f"`{name}`", batch]
    cells += [f"{batch / taken[what]:.1f}" for what in ("data", "dense alone", "dense")]
    cells += [f"{taken['waited'] / taken['dense']:.1%}"]
    cells += [f"{taken['masked alone'] / taken['dense alone']:.3f}"]
    cells += [f"{gib:.2f} GiB" for gib in used]
    cells += [f"{early:.2f} → {late:.2f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("problems", nargs="*", default=list(BATCHES))
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30, help="of the run whose loss is to fall")
    parser.add_argument("--batch", type=int, help="another size for all")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        name, arm, batch = given.peak
        print(peak(name, given.data_root, arm, int(batch)))
        return
    problems = {name: given.batch or BATCHES.get(name, 8) for name in given.problems}
    for line in page(given.data_root, problems, given.rounds, given.steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
