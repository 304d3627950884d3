"""Whether a convolution's numbers are better left as they are or copied onto a grid, by the clock.

    python benchmarks/convolution_ways.py [--sparsity 0.9 0.98 0.99] [--batch 1 2 7 16 32 64 128]

Per layer, batch and sparsity, forward and backward in both ways, a turn of several steps each, on
one thread: milliseconds of CPU time as it is and on a grid, which of them the rule of
``sparsescape.kernels.ways`` takes, and how many times as long as the faster one that takes. Last,
the mean (geometric) and the largest of these.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from typing import NamedTuple

import torch

import sparsescape as ss
from sparsescape.kernels import compiled, ways
from sparsescape.kernels.geometry import Axis

ROUNDS, STEPS = 3, 5
MOST = 2**23
"""Numbers of an input, beyond which a layer's batch is left out."""


class Layer(NamedTuple):
    inputs: int
    outputs: int
    size: tuple[int, int]
    kernel: int
    stride: int

    def axes(self) -> tuple[Axis, Axis]:
        around = self.kernel // 2
        height, width = (
            Axis(n, self.kernel, self.stride, around, 1, (n - 1) // self.stride + 1)
            for n in self.size
        )
        return height, width


LAYERS = [
    Layer(64, 64, (16, 16), 3, 1),
    Layer(128, 128, (8, 8), 3, 1),
    Layer(256, 256, (4, 4), 3, 1),
    Layer(512, 512, (4, 4), 3, 1),
    Layer(32, 32, (32, 32), 3, 1),
    Layer(64, 64, (56, 56), 3, 1),
    Layer(96, 96, (20, 12), 3, 1),
    Layer(32, 64, (14, 14), 5, 1),
    Layer(64, 64, (32, 32), 5, 2),
    Layer(128, 128, (16, 16), 3, 2),
    Layer(64, 128, (16, 16), 1, 2),
    Layer(3, 64, (64, 64), 7, 2),
    Layer(64, 64, (27, 27), 3, 3),
    Layer(48, 96, (32, 32), 4, 4),
    Layer(3, 96, (64, 64), 4, 4),
]


def milliseconds(layer: Layer, sparsity: float, batch: int) -> list[float]:
    """As it is, and on a grid."""
    torch.manual_seed(0)
    module = ss.SparseConv2d.random(
        layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.kernel // 2,
        sparsity=sparsity,
    )  # fmt: skip
    x = torch.randn(layer.inputs, *layer.size, batch).movedim(-1, 0).requires_grad_()
    g = torch.randn_like(module(x))
    rule, times = compiled.way_of, []
    for _ in range(ROUNDS):
        times.append([])
        for way in (ways.as_it_is, ways.on_grid):
            compiled.way_of = lambda height, width, *_, way=way: way(height, width)
            times[-1].append(statistics.median(step(module, x, g) for _ in range(STEPS)))
    compiled.way_of = rule
    return [1e3 * statistics.median(way) for way in zip(*times, strict=True)]


def step(module: torch.nn.Module, x: torch.Tensor, g: torch.Tensor) -> float:
    start = time.process_time()
    torch.autograd.grad(module(x), [x, *module.parameters()], g)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.9, 0.98, 0.99])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 7, 16, 32, 64, 128])
    args = parser.parse_args()
    torch.set_num_threads(1)
    losses = []
    for layer in LAYERS:
        for batch in args.batch:
            if layer.inputs * math.prod(layer.size) * batch > MOST:
                continue
            cells = []
            for sparsity in args.sparsity:
                took = milliseconds(layer, sparsity, batch)
                count = round((1 - sparsity) * layer.inputs * layer.outputs * layer.kernel**2)
                found = ways.way_of(*layer.axes(), layer[:2], count, batch)
                on_grid = type(found.inputs) is type(ways.on_grid(*layer.axes()).inputs)
                losses.append(took[on_grid] / min(took))
                name = ("as it is", "grid")[on_grid]
                cells.append(f"{took[0]:7.2f} {took[1]:7.2f} {name:8} {losses[-1]:4.2f}")
            name = f"{layer.inputs}->{layer.outputs} at {layer.size[0]}x{layer.size[1]}"
            name += f", {layer.kernel}x{layer.kernel}, stride {layer.stride}"
            print(f"{name:34} batch {batch:4} | {' | '.join(cells)}", flush=True)
    mean = math.exp(statistics.mean(map(math.log, losses)))
    print(f"of the faster way's time: {mean:.3f} in the mean, {max(losses):.2f} at most")


if __name__ == "__main__":
    main()
