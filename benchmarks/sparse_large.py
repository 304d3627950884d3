"""A layer too large to be dense: trained truly sparse, with a mask that moves.

    python benchmarks/sparse_large.py [static | set | deep-r | rigl] [--width 10000]
                                      [--sparsity 0.999] [--steps 300]

A square layer learns a linear map between vectors that depend on 30 hidden numbers, so that what is
left of the weights can fit some of it and better positions more. Printed are the loss over the
steps, and the operating system's count of the most memory that it took beyond the process before
it, against a dense layer's weight, gradient and momentum. ``rigl`` makes the dense gradient at each
of its updates.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

import sparsescape as ss

EVERY, HIDDEN = 10, 30

METHODS = {
    "static": lambda sparsity: ss.Static(sparsity=sparsity),
    "set": lambda sparsity: ss.SET(sparsity, update_every=EVERY),
    "deep-r": lambda sparsity: ss.DeepR(sparsity, shrinkage=1e-4, temperature=1e-8),
    "rigl": lambda sparsity: ss.RigL(sparsity, update_every=EVERY),
}


def peak() -> float:
    """Bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def train(method: str, width: int, sparsity: float, steps: int, batch: int = 64) -> list[float]:
    """The losses, as shares of that of a layer that puts out 0."""
    source = torch.Generator().manual_seed(0)
    hidden_to_x, hidden_to_y = (torch.randn(HIDDEN, width, generator=source) for _ in range(2))
    layer = ss.SparseLinear.random(width, width, False, sparsity=sparsity)
    optimizer = torch.optim.SGD(layer.parameters(), 5e-4 * width, momentum=0.9)
    METHODS[method](sparsity).attach(layer, optimizer)
    losses = []
    for _ in range(steps):
        hidden = torch.randn(batch, HIDDEN, generator=source)
        target = hidden @ hidden_to_y
        optimizer.zero_grad()
        loss = (layer(hidden @ hidden_to_x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() / target.square().mean().item())
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", nargs="?", choices=sorted(METHODS), default="set")
    parser.add_argument("--width", type=int, default=10_000)
    parser.add_argument("--sparsity", type=float, default=0.999)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # What is compiled, and torch's own, comes before the count.
    train(options.method, 50, 0.9, EVERY + 1)
    before, start = peak(), time.perf_counter()
    losses = train(options.method, options.width, options.sparsity, options.steps)
    seconds, used, size = time.perf_counter() - start, peak() - before, options.width**2
    for step in sorted({0, *range(options.steps // 5, options.steps, options.steps // 5)}):
        print(f"step {step:>5}  loss {losses[step]:.4f}")
    print(f"step {options.steps:>5}  loss {losses[-1]:.4f}")
    print(f"{size:.3g} weights at {options.sparsity:.1%}: {seconds / options.steps:.4f} s a step")
    dense = 3 * 4 * size
    print(f"{used / 1e6:.0f} MB at most, {used / dense:.1%} of the dense {dense / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
