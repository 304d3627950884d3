"""Which layers are faster sparse, by the clock, at the inputs of a model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..masks import Mask
from .candidates import become_sparse, candidates
from .carriers import carry_layout
from .pattern import Pattern

_ROUNDS = 5
_AT_LEAST = 0.02  # seconds that the repetitions of one side take together
_MARGIN = 0.97  # sparse must be this much faster: less is noise
CALLED = "The model cannot be called with these example inputs"


@dataclass(frozen=True)
class LayerTime:
    """One layer's least seconds, dense and sparse; in training mode with the backward pass."""

    name: str
    input: tuple[int, ...]
    density: float
    dense: float
    sparse: float

    @property
    def is_faster(self) -> bool:
        return self.sparse < _MARGIN * self.dense


class LayerTimes(tuple[LayerTime, ...]):
    """The layers' times; as text a table."""

    def __str__(self) -> str:
        if not self:
            return "No layer would be made sparse."
        lines = [f"{'layer':30} {'input':>20} {'density':>8} {'dense':>10} {'sparse':>10}  kept"]
        for row in self:
            kept = "sparse" if row.is_faster else "dense"
            size = "x".join(map(str, row.input))
            lines.append(
                f"{row.name:30} {size:>20} {row.density:8.4f} {1e3 * row.dense:7.3f} ms "
                f"{1e3 * row.sparse:7.3f} ms  {kept}"
            )
        return "\n".join(lines)


def layer_times(
    model: nn.Module,
    example_inputs: Any,
    min_sparsity: float = 0.8,
    *,
    mask: Mask | None = None,
    dense: Iterable[str] = (),
) -> LayerTimes:
    """Time every layer that :func:`sparsescape.to_sparse` would convert; the model stays as it is.

    Both sides run in turn, on an input of the layer's own shape in torch's usual memory order (the
    sparse side pays for the change of order, which between sparse layers it would not).

    Raises:
        InputError: the model cannot be called with the example inputs.

    >>> model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 10))
    >>> Mask({"0.weight": torch.rand(300, 400) < 0.02}).apply_(model)
    >>> [row.name for row in layer_times(model, torch.randn(64, 400))]
    ['0']
    """
    return LayerTimes(_times(model, example_inputs, candidates(model, min_sparsity, mask, dense)))


def faster(
    model: nn.Module, example_inputs: Any, found: Mapping[nn.Module, Pattern]
) -> dict[nn.Module, Pattern]:
    """Those of the layers that are faster sparse, as long as the whole model is so too."""
    rows = _times(model, example_inputs, found)
    names = dict(model.named_modules())
    chosen = {names[row.name]: found[names[row.name]] for row in rows if row.is_faster}
    # All layers of one weight, or none of them.
    kept = {id(m.weight) for m in chosen} - {id(m.weight) for m in found if m not in chosen}
    chosen = {m: pattern for m, pattern in chosen.items() if id(m.weight) in kept}
    if not chosen:
        return {}
    plain, sparse = copy.deepcopy(model), _converted(model, chosen)
    arguments = arguments_of(example_inputs)
    with torch.random.fork_rng(devices=()):
        tried(lambda: _run(plain, *arguments), CALLED)
        tried(
            lambda: _run(sparse, *arguments),
            "The model does not run truly sparse, for what its code does with the output or the "
            "weight of a layer; leave that layer dense (dense=[…])",
        )
        before, after = _compared(lambda: _run(plain, *arguments), lambda: _run(sparse, *arguments))
    return chosen if after < before else {}


def _times(
    model: nn.Module, example_inputs: Any, found: Mapping[nn.Module, Pattern]
) -> list[LayerTime]:
    names = {module: name for name, module in model.named_modules()}
    rows = []
    for module, x in _inputs(model, example_inputs, found).items():
        pattern = found[module]
        dense, sparse = copy.deepcopy(module), _converted(module, {module: pattern})
        dense.train(model.training)
        sparse.train(model.training)
        with torch.random.fork_rng(devices=()):
            times = _compared(
                lambda d=dense, x=x: _run(d, (x,), {}),  # type: ignore[misc]
                lambda s=sparse, x=x: _run(s, (x,), {}),  # type: ignore[misc]
            )
        density = pattern.count / pattern.shape.numel()
        rows.append(LayerTime(names[module], tuple(x.shape), density, *times))
    return rows


def _inputs(
    model: nn.Module, example_inputs: Any, found: Mapping[nn.Module, Pattern]
) -> dict[nn.Module, Tensor]:
    """What each layer is called with, seen on a copy of the model."""
    trial = copy.deepcopy(model).eval()
    twins = dict(zip(model.modules(), trial.modules(), strict=True))
    seen: dict[nn.Module, Tensor] = {}
    for module in found:

        def look(_: nn.Module, args: Any, named: Any, module: nn.Module = module) -> None:
            seen.setdefault(module, (args[0] if args else named["input"]).detach().clone())

        twins[module].register_forward_pre_hook(look, with_kwargs=True)
    arguments, named = arguments_of(example_inputs)
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        tried(lambda: trial(*arguments, **named), CALLED)
    return {module: seen[module] for module in found if module in seen}


def _converted(model: nn.Module, found: Mapping[nn.Module, Pattern]) -> nn.Module:
    twin = copy.deepcopy(model)
    twins = dict(zip(model.modules(), twin.modules(), strict=True))
    for module, pattern in found.items():
        weight: Any = twins[module].weight
        flat = pattern.flat().to(weight.device)
        values = nn.Parameter(weight.detach().reshape(-1)[flat], weight.requires_grad)
        become_sparse(twins[module], pattern, values)
    carry_layout(twin)
    return twin


def tried(run: Callable[[], Any], why: str) -> None:
    """Run a user's model, and say in one sentence why it does not.

    Raises:
        InputError: whatever it raises.
    """
    try:
        run()
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(f"{why}: {said}.") from error


def arguments_of(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model is called with, by place and by name.

    Raises:
        InputError: it is neither a tensor, nor a tuple, nor a dictionary of names.
    """
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    raise InputError(
        "Example inputs are what the model is called with, a tensor, a tuple or a dictionary of "
        f"names, not of type {type(example_inputs).__name__}."
    )


def _run(model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    if not model.training:
        with torch.no_grad():
            model(*arguments, **named)
        return
    # The input's gradient too: an inner layer passes it on.
    inputs = [
        a.detach().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
        for a in arguments
    ]
    outputs = model(*inputs, **named)
    tensors = [outputs] if isinstance(outputs, Tensor) else list(_tensors(outputs))
    losses = [t.float().sum() for t in tensors if t.requires_grad]
    if losses:  # a model that is frozen, or gives out decisions, has the forward pass alone
        sum(losses[1:], losses[0]).backward()


def _tensors(outputs: Any) -> Iterable[Tensor]:
    parts = vars(outputs) if is_dataclass(outputs) else outputs
    parts = parts.values() if isinstance(parts, Mapping) else parts
    for part in parts if isinstance(parts, Iterable) else ():
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, (tuple, list, Mapping)) or is_dataclass(part):
            yield from _tensors(part)


def _compared(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """The least seconds of both, run in turn: whatever else the machine does only adds to them."""
    first()
    second()  # what is compiled is compiled now
    start = time.perf_counter()
    first()
    repetitions = max(1, min(100, int(_AT_LEAST / max(time.perf_counter() - start, 1e-6))))
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS * repetitions):
        for side, run in zip(taken, (first, second), strict=True):
            start = time.perf_counter()
            run()
            side.append(time.perf_counter() - start)
    return min(taken[0]), min(taken[1])
