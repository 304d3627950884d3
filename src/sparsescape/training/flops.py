"""Floating-point operations of training, by torch's own counter, scaled by density."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..objective import Batch, Loss
from ..points import named_weights


@dataclass(frozen=True)
class StepFlops:
    """Operations of one training example, forward and backward, multiply and add counted apart.

    ``by_weight`` is what scales with the density of a weight, ``gradients`` the part of it that
    computes the weight's own gradient; ``rest`` is what does not scale.
    """

    by_weight: Mapping[str, int]
    gradients: Mapping[str, int]
    rest: int

    def at(
        self, densities: Mapping[str, float], gradients: Mapping[str, float] | None = None
    ) -> float:
        """Operations at these densities; a weight that is not named counts as dense.

        Args:
            gradients: the densities at which a weight's own gradient is computed, where the step
                needs it of closed weights too, as RigL's updates do of all (Evci et al. 2020,
                appendix H); those of the weights unless given.
        """
        if not densities and gradients is None:  # asked at every step of a dense run
            return self._dense
        total = self.rest + sum(f * densities.get(n, 1.0) for n, f in self.by_weight.items())
        if gradients is None:
            return total
        wider = {n: gradients.get(n, 1.0) - densities.get(n, 1.0) for n in self.gradients}
        return total + sum(f * wider[n] for n, f in self.gradients.items())

    @cached_property
    def _dense(self) -> float:
        return float(self.rest + sum(self.by_weight.values()))


def step_flops(model: nn.Module, batch: Batch, loss: Loss) -> StepFlops:
    """Count one training step on a batch, per example.

    What a module does itself belongs to its weights, shared by their sizes where it has several.

    >>> from torch.nn.functional import mse_loss
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> flops = step_flops(model, (torch.ones(5, 4), torch.ones(5, 2)), mse_loss)
    >>> flops.by_weight, flops.gradients, flops.rest
    ({'0.weight': 48, '1.weight': 36}, {'0.weight': 24, '1.weight': 12}, 0)
    """
    inputs, targets = batch
    examples = len(inputs)
    total = _total(model, lambda m: loss(m(inputs), targets).backward()) // examples
    forward = _forward(model, inputs)
    # The products that make a weight's gradient and that of its inputs take as many operations as
    # the forward one; where inputs need none, as those of a first layer, there is one product less.
    own = {name: flops for name, (flops, _) in forward.items()}
    whole = {name: flops * (3 if needed else 2) for name, (flops, needed) in forward.items()}
    by_weight = _shared(model, whole, examples)
    return StepFlops(by_weight, _shared(model, own, examples), total - sum(by_weight.values()))


def _shared(model: nn.Module, counts: Mapping[str, int], examples: int) -> dict[str, int]:
    """What each module does, per example, shared among its own weights by their sizes."""
    weights = named_weights(model)
    siblings: dict[str, int] = {}
    for name, weight in weights.items():
        owner = name.rpartition(".")[0]
        siblings[owner] = siblings.get(owner, 0) + weight.numel()
    shares = {}
    for name, weight in weights.items():
        owner = name.rpartition(".")[0]
        shares[name] = counts[owner] * weight.numel() // siblings[owner] // examples
    return shares


def _total(model: nn.Module, work: Callable[[nn.Module], object]) -> int:
    """All operations of what is done with a copy of the model."""
    from torch.utils.flop_counter import FlopCounterMode

    model = copy.deepcopy(model)
    mapping = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with torch.random.fork_rng(devices=()), counter:
        work(model)
    return counter.get_total_flops()


def _convolution_backward(
    outer: Sequence[int],
    inputs: Sequence[int],
    weight: Sequence[int],
    bias: object,
    stride: object,
    padding: object,
    dilation: object,
    transposed: bool,
    output_padding: object,
    groups: int,
    wanted: Sequence[bool],
    **_: object,
) -> int:
    """The products for the gradients of the inputs and of the weight: each as large as the forward
    one. Torch's own count takes a convolution in groups, as depthwise ones are, for a full one."""
    positions = math.prod(inputs if transposed else outer)
    return 2 * positions * math.prod(weight[1:]) * sum(wanted[:2])


def _forward(model: nn.Module, inputs: Tensor) -> dict[str, tuple[int, bool]]:
    """What each module does itself in a forward pass, its children apart, by its name; and whether
    its inputs need a gradient.

    The counter's own count of a module's backward pass is no help: with an identity in the graph,
    as dropout of 0 is, it books one module's operations under another.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = copy.deepcopy(model)
    needed: dict[nn.Module, bool] = {}

    def look(module: nn.Module, given: tuple[object, ...], named: dict[str, object]) -> None:
        tensors = [t for t in (*given, *named.values()) if isinstance(t, Tensor)]
        needed[module] = needed.get(module, False) or any(t.requires_grad for t in tensors)

    for module in model.modules():
        module.register_forward_pre_hook(look, with_kwargs=True)
    with torch.random.fork_rng(devices=()), FlopCounterMode(display=False) as counter:
        model(inputs)
    counted = counter.get_flop_counts()
    root = type(model).__name__

    def inclusive(name: str) -> int:
        return sum(counted.get(f"{root}.{name}" if name else root, {}).values())

    own = {}
    for name, module in model.named_modules():
        children = [f"{name}.{child}" if name else child for child, _ in module.named_children()]
        flops = inclusive(name) - sum(inclusive(child) for child in children)
        # What a module multiplies beside trained children is taken to come after them.
        called = (child for child in module.children() if child in needed)
        after = any(p.requires_grad for child in called for p in child.parameters())
        own[name] = flops, after or needed.get(module, False)
    return own
