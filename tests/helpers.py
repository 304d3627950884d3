"""What several tests need: small models, comparison to the bit, and a plain training loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsescape.objective import Objective
from sparsescape.points import PointLike, as_point

Bits = dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]

OPTIMIZERS: dict[str, Callable[[Iterable], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-2, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
}


def bits(tensors: PointLike) -> Bits:
    """Every tensor as its bytes: -0.0 differs from 0.0, and NaN equals itself."""
    return {name: tensor_bits(tensor) for name, tensor in as_point(tensors).items()}


def tensor_bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tuple(tensor.shape), flat.numpy().tobytes()


def same_values(one: PointLike, other: PointLike) -> bool:
    """Whether all tensors are equal as numbers: 0.0 and -0.0 are one number."""
    one, other = as_point(one), as_point(other)
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def tree_bits(tree: object) -> object:
    """Any nesting of dicts and lists, its tensors as their bytes and its tuples as lists."""
    if isinstance(tree, Tensor):
        return tensor_bits(tree)
    if isinstance(tree, Mapping):
        return {key: tree_bits(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [tree_bits(value) for value in tree]
    return tree


def condition(model: nn.Module) -> dict[str, object]:
    """All that a landscape tool may not move, torch's random state included."""
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {
        "tensors": bits(model),
        "gradients": bits(grads),
        "training": {name: module.training for name, module in model.named_modules()},
        "free": {name: p.requires_grad for name, p in model.named_parameters()},
        "random": tensor_bits(torch.get_rng_state()),
    }


def perceptron(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Linear 6-8-3 with a smooth activation: 76 weights, all derivatives exist."""
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))).to(dtype)


def convnet() -> nn.Module:
    """A convolution, BatchNorm and a classifier for 1×5×5 images: 36 + 324 sparse weights."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(36, 9),
        )
    )


def normalized(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Linear 6-5-3 with BatchNorm between, whose statistics and scales are not the defaults."""

    def make() -> nn.Module:
        model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        with torch.no_grad():
            for tensor in (model[1].weight, model[1].running_var):
                tensor.uniform_(0.5, 2.0)
            for tensor in (model[1].bias, model[1].running_mean):
                tensor.normal_()
        return model

    return seeded(make).to(dtype)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return make()


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def classes(count: int, number: int) -> Tensor:
    return torch.arange(count) % number


def images(step: int) -> tuple[Tensor, Tensor]:
    """Batch number ``step`` for :func:`convnet`."""
    return draw(12, 1, 5, 5, seed=100 + step), classes(12, 9)


def backward(model: nn.Module, step: int) -> None:
    inputs, targets = images(step)
    F.cross_entropy(model(inputs), targets).backward()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> None:
    """The loop that a user has."""
    for step in steps:
        optimizer.zero_grad()
        backward(model, step)
        optimizer.step()


def state_like_weights(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer's state tensors of their weight's shape: ``"name/key"`` → tensor."""
    return {
        f"{name}/{key}": value
        for name, weight in weights.items()
        for key, value in optimizer.state.get(weight, {}).items()
        if isinstance(value, Tensor) and value.shape == weight.shape
    }


def moved(model: nn.Module, seed: int = 1, by: float = 1.0) -> nn.Module:
    """A copy of the model whose parameters and float buffers have been shifted at random."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for i, tensor in enumerate(as_point(model).values()):
            if tensor.is_floating_point():
                tensor.add_(draw(*tensor.shape, seed=seed + i, dtype=tensor.dtype).abs() * by)
    return model


class Coordinates(nn.Module):
    """A model that returns its two weights, so that a loss is a function on the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.w.expand(len(inputs), 2)


def on_the_plane(loss: Callable[[Tensor], Tensor]) -> Objective:
    """An objective over points :func:`at` (x, y), from a function of both."""
    data = torch.zeros(3, 1), torch.zeros(3)
    return Objective(Coordinates(), data, lambda weights, _: loss(weights[0]))


def at(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor([values])}
