"""Where training starts: functions that set a model's parameters, in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .masks import Mask
from .points import PointLike, move_to, named_parameters
from .seeds import generator


@torch.no_grad()
def sparse_fan_in(model: nn.Module, mask: Mask, *, seed: int, gain: float = math.sqrt(2)) -> None:
    """Draw every masked weight from N(0, gain²/k), k the active inputs of its own output unit.

    A dense initialization divides by all inputs of a unit; where most of them are closed, the
    signal shrinks layer by layer. Other parameters stay as they are. Evci et al. 2020 (*Gradient
    Flow in Sparse Neural Networks and How Lottery Tickets Win*), section 3.1, equation 4; the gain
    √2 is He et al. 2015's for ReLU.

    Args:
        mask: its weights have the output unit as first dimension (Linear, Conv1d/2d/3d).
        seed: draws depend on it and on the weight's name.

    >>> model = nn.Linear(1000, 200)
    >>> mask = Mask({"weight": torch.rand(200, 1000) < 0.02})
    >>> sparse_fan_in(model, mask, seed=0)
    >>> signal = model(torch.randn(500, 1000))
    >>> 1.8 < signal.var().item() < 2.2
    True
    """
    mask.check(model)
    parameters = named_parameters(model)
    for name, active in mask.items():
        weight = parameters[name]
        active = active.to(weight.device)
        draws = torch.randn(weight.shape, generator=generator(seed, "sparse fan-in", name))
        weight.copy_(draws.to(weight) * active * (gain / fan_in(active).clamp(min=1).sqrt()))


def rewind(model: nn.Module, point: PointLike, mask: Mask) -> None:
    """Set the model to an earlier point, and its closed weights to 0.

    The start of a lottery ticket (Frankle & Carbin 2019, section 2, step 4; to a later point than
    the initialization: Frankle et al. 2020, *Linear Mode Connectivity*, section 4).

    >>> model = nn.Linear(2, 1)
    >>> mask = Mask({"weight": torch.tensor([[True, False]])})
    >>> rewind(model, {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.zeros(1)}, mask)
    >>> model.weight.tolist()
    [[3.0, 0.0]]
    """
    mask.check(model)
    move_to(model, point)
    mask.apply_(model)


@torch.no_grad()
def perturb(model: nn.Module, mask: Mask, *, scale: float, seed: int) -> None:
    """Add noise to the active weights: w ← w + scale·r·ν, with ν from N(0, 1).

    r is the root mean square of the layer's active weights, so that ``scale`` is relative: with 1
    the noise is as large as the weights are. Other parameters stay as they are.

    Args:
        seed: draws depend on it and on the weight's name.

    >>> model = nn.Linear(3, 1, bias=False)
    >>> mask = Mask({"weight": torch.tensor([[True, True, False]])})
    >>> mask.apply_(model)
    >>> perturb(model, mask, scale=0.5, seed=0)
    >>> (model.weight != 0).tolist()
    [[True, True, False]]
    """
    mask.check(model)
    parameters = named_parameters(model)
    for name, active in mask.items():
        weight = parameters[name]
        active = active.to(weight.device)
        size = weight[active].square().mean().sqrt() if active.any() else 0.0
        draws = torch.randn(weight.shape, generator=generator(seed, "perturb", name))
        weight.add_(draws.to(weight) * active * (scale * size))


def fan_in(active: Tensor) -> Tensor:
    """Active inputs of each output unit, in a shape that broadcasts against the weight.

    >>> fan_in(torch.tensor([[True, True, False], [False, True, False]])).tolist()
    [[2.0], [1.0]]
    """
    return active.flatten(1).sum(1).float().reshape(-1, *[1] * (active.ndim - 1))


def he_normal(model: nn.Module) -> nn.Module:
    """Weights from N(0, 2/fan-in), biases 0 (He et al. 2015, section 2.2), from torch's generator.

    >>> he_normal(nn.Linear(3, 2)).bias.tolist()
    [0.0, 0.0]
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return model


def glorot_uniform(model: nn.Module) -> nn.Module:
    """Weights from U(−a, a), a² = 6/(fan-in + fan-out), biases 0, from torch's generator.

    Glorot & Bengio 2010, equation 16; what Keras draws unless told otherwise.

    >>> glorot_uniform(nn.Linear(3, 3)).weight.abs().max().item() <= 1
    True
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return model
