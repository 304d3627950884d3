"""Truly sparse layers against the sparseprop package (Nikdan et al. 2023), interleaved.

    pip install sparseprop        # builds from source; a C++ compiler with AVX2 is needed
    python benchmarks/sparse_against_sparseprop.py [--batch 128] [--rounds 8]

Forward and backward of one layer on one thread, medians of CPU time. Ours runs on activations with
the batch innermost, as they are between sparse layers, and on torch's usual layout, where it pays
for the change; sparseprop on the usual layout, which is its own.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

import sparsescape as ss


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    found: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "linear 1000->1000": (nn.Linear(1000, 1000), (1000,))
    }
    for channels, size in ((64, 16), (128, 8), (32, 32)):
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        found[f"{channels}->{channels} at {size}x{size}"] = layer, (channels, size, size)
    return found


def seconds(layer: nn.Module, x: Tensor) -> float:
    x = x.detach().requires_grad_()
    start = time.thread_time()
    out = layer(x)
    out.backward(torch.ones_like(out))
    return time.thread_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    from sparseprop.modules import SparseConv2d, SparseLinear

    torch.set_num_threads(1)
    for sparsity in (0.95, 0.98, 0.99):
        for name, (layer, shape) in layers().items():
            with torch.no_grad():
                layer.weight.mul_(torch.rand_like(layer.weight) > sparsity)
            kind = SparseLinear if isinstance(layer, nn.Linear) else SparseConv2d
            theirs, ours = kind.from_dense(layer), ss.to_sparse(layer, 0.5)
            x = torch.randn(options.batch, *shape)
            innermost = x.movedim(0, -1).contiguous().movedim(-1, 0)
            sides = {"sparseprop": (theirs, x), "ours": (ours, innermost), "usual": (ours, x)}
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(options.rounds + 1):
                for side, arguments in sides.items():
                    times[side].append(seconds(*arguments))
            prop, own, usual = (1e3 * statistics.median(t[1:]) for t in times.values())
            print(
                f"{name:18} {sparsity:.0%}  sparseprop {prop:8.2f} ms   ours {own:8.2f} ms "
                f"({prop / own:5.2f}x)   ours, usual layout {usual:8.2f} ms ({prop / usual:5.2f}x)",
                flush=True,
            )


if __name__ == "__main__":
    main()
