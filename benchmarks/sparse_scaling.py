"""What a truly sparse layer costs as it grows: seconds and bytes against its nonzeros.

    python benchmarks/sparse_scaling.py [time | memory] [--largest 1e8] [--plot scaling.svg]

``time``: forward and backward of a square layer at 99 %, batch 32, on one thread, for 10⁴ nonzeros
up to ``--largest`` (10⁸ needs about 3 GB); seconds of CPU per nonzero, and a plot of them.
``memory``: the operating system's count of the most memory that training a 20 000 × 20 000 layer at
99 % took beyond the process before it, against a dense layer's weight, gradient and momentum.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

import sparsescape as ss


def peak() -> float:
    """Bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seconds(nonzeros: int, batch: int = 32) -> float:
    width = round((nonzeros / 0.01) ** 0.5)
    layer = ss.SparseLinear.random(width, width, False, sparsity=0.99)
    x = torch.randn(width, batch).t().requires_grad_()
    g = torch.randn(width, batch).t()
    taken = []
    for _ in range(4 if nonzeros > 10**6 else 20):
        start = time.thread_time()
        layer(x).backward(g)
        taken.append(time.thread_time() - start)
    return min(taken[1:])


def scaling(largest: int, plot: str | None) -> None:
    sizes, times = [], []
    size = 10**4
    while size <= largest:
        sizes.append(size)
        times.append(seconds(size))
        print(f"{size:>11} nonzeros  {times[-1]:10.5f} s  {1e9 * times[-1] / size:7.2f} ns each")
        size *= 10
    if plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 4))
        axes = figure.subplots()
        axes.loglog(sizes, times, "o-")
        axes.set(xlabel="nonzeros", ylabel="seconds, forward and backward")
        figure.savefig(plot, bbox_inches="tight")


def memory() -> None:
    width, batch = 20_000, 32
    # What is compiled, and torch's own, comes before the count.
    small = ss.SparseLinear.random(100, 100, sparsity=0.9)
    optimizer = torch.optim.SGD(small.parameters(), 0.1, momentum=0.9)
    small(torch.randn(batch, 100, requires_grad=True)).sum().backward()
    optimizer.step()
    before = peak()
    layer = ss.SparseLinear.random(width, width, sparsity=0.99)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(batch, width, requires_grad=True)).square().mean().backward()
        optimizer.step()
    dense = 3 * 4 * width**2
    used = peak() - before
    print(f"{used / 1e6:.0f} MB, {used / dense:.1%} of the dense {dense / 1e9:.1f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["time", "memory"], default="time")
    parser.add_argument("--largest", type=float, default=1e7)
    parser.add_argument("--plot")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "memory":
        memory()
    else:
        scaling(int(options.largest), options.plot)


if __name__ == "__main__":
    main()
