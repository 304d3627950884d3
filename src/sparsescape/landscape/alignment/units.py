"""Which units of a network can be relabelled: the axes of its parameters that move together.

A hidden unit is a row of one layer, a column of the next, and an entry of every bias and scale in
between. The model is traced once (``torch.fx``) and every axis of every parameter and buffer is
followed to the others that it is tied to; a sum ties its terms together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...errors import InputError
from ...points import plain_name


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter or buffer along which a layer's units lie."""

    name: str
    dim: int
    repeat: int = 1
    """Neighbouring entries that belong to one unit: the pixels of a channel after flattening."""
    start: int = 0
    """The first entry; those of other units lie before and behind, where units are concatenated."""


@dataclass(frozen=True)
class Units:
    """Units that can be relabelled among themselves, and every axis that they lie along."""

    size: int
    axes: tuple[Axis, ...]
    readers: tuple[str, ...]
    """The modules whose input they are."""


@dataclass
class _Group:
    """Units while they are being found; ``merged`` with another once they turn out to be one."""

    size: int
    fixed: bool = False
    merged: _Group | None = None

    def root(self) -> _Group:
        return self if self.merged is None else self.merged.root()


@dataclass(frozen=True)
class _Value:
    """What flows along an edge: its units, one group after the other; whether they have been
    flattened with pixels, and whether they lie along the last dimension, as a Linear layer puts
    them out; how many dimensions of pixels there are behind them, where that is known."""

    units: tuple[_Group, ...] = ()
    flat: bool = False
    last: bool = False
    pixels: int | None = None

    @property
    def size(self) -> int:
        return sum(group.root().size for group in self.units)


_LINEARS = (nn.Linear,)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_UNITWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid),
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
_POOLINGS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
)
_UNITWISE_FUNCTIONS: set[Callable[..., Any] | str] = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.tanh, F.sigmoid, F.softplus),
    *(torch.relu, torch.tanh, torch.sigmoid, F.dropout, F.dropout2d, F.hardtanh, F.hardswish),
    *("relu", "relu_", "tanh", "sigmoid", "contiguous", "clone"),
}
_POOLING_FUNCTIONS: set[Callable[..., Any] | str] = {
    *(F.max_pool1d, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d),
}
_FLATTENS: set[Callable[..., Any] | str] = {torch.flatten, "flatten"}
_RESHAPES = {"view", "reshape"}
_CONCATENATIONS: set[Callable[..., Any] | str] = {torch.cat, torch.concat, torch.concatenate}
_MEANS: set[Callable[..., Any] | str] = {torch.mean, "mean", torch.amax, "amax"}
_SUMS: set[Callable[..., Any] | str] = {operator.add, operator.iadd, torch.add, "add", "add_"}


def find_units(model: nn.Module) -> list[Units]:
    """All units of the model that can be relabelled without changing what it computes.

    Linear and convolutional layers (grouped ones where each channel is a group of its own),
    BatchNorm, LayerNorm over all units of an example or a token, PReLU, everything that acts unit
    by unit, pooling, means over pixels, flattening, sums, and concatenation of units.

    Raises:
        InputError: the model cannot be traced, has weights that are tied or computed from others
            (weight normalization), or does something else; names what.

    >>> model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    >>> (units,) = find_units(model)
    >>> units.size, [(axis.name, axis.dim, axis.repeat) for axis in units.axes]
    (3, [('0.weight', 0, 1), ('0.bias', 0, 1), ('3.weight', 1, 4)])
    """
    try:
        graph = fx.symbolic_trace(model)
    except Exception as error:  # whatever a model's own code may raise on a symbolic value
        raise InputError(
            f"The units of {type(model).__name__} cannot be found: it cannot be traced "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})."
        ) from None
    return _Finder(graph).found()


class _Finder:
    """Walks the graph of a traced model once, from its input to its output."""

    def __init__(self, graph: fx.GraphModule):
        self.modules: Mapping[str, nn.Module] = dict(graph.named_modules())
        self.tensors = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
        self.values: dict[fx.Node, _Value] = {}
        self.axes: dict[tuple[str, int, int], tuple[_Group, int]] = {}
        self.readers: list[tuple[_Group, str]] = []
        for node in graph.graph.nodes:
            self.values[node] = self._value(node)

    def found(self) -> list[Units]:
        axes: dict[int, list[Axis]] = {}
        groups: dict[int, _Group] = {}
        for (name, dim, start), (group, repeat) in self.axes.items():
            root = group.root()
            groups[id(root)] = root
            axes.setdefault(id(root), []).append(Axis(name, dim, repeat, start))
        return [
            Units(
                group.size,
                tuple(axes[key]),
                tuple(dict.fromkeys(name for g, name in self.readers if g.root() is group)),
            )
            for key, group in groups.items()
            if not group.fixed and group.size > 1
        ]

    # ------------------------------------------------------------------ one node

    def _value(self, node: fx.Node) -> _Value:
        if node.op == "placeholder":
            return _Value()
        if node.op == "output":
            for value in self._inputs(node):
                self._fix(value)
            return _Value()
        if node.op == "call_module":
            return self._after_module(str(node.target), self._inputs(node))
        if node.op in ("call_function", "call_method"):
            return self._after_function(node)
        raise InputError(
            f"The units of this model cannot be found: it uses {node.target!r} itself."
        )

    def _inputs(self, node: fx.Node) -> list[_Value]:
        return [self.values[n] for n in node.all_input_nodes]

    def _after_module(self, path: str, inputs: list[_Value]) -> _Value:
        module, value = self.modules[path], inputs[0]
        name = plain_name(path)
        if isinstance(module, _LINEARS + _CONVOLUTIONS) and f"{path}.weight" not in self.tensors:
            raise InputError(
                f"The units of this model cannot be found: the weight of {name!r} is tied to "
                "another layer's, or computed from other parameters."
            )
        if isinstance(module, _LINEARS):
            if value.units and not (value.last or value.flat):
                raise _across(name, module)  # over the width of an image, say
            self._read(f"{name}.weight", 1, value, module.in_features, name)
            return self._write(name, module, module.out_features, last=True)
        if isinstance(module, _CONVOLUTIONS + _POOLINGS) and (value.last or value.flat):
            raise _across(name, module)  # what it takes for pixels are units
        if isinstance(module, _CONVOLUTIONS) and module.groups == 1:
            self._read(f"{name}.weight", 1, value, module.in_channels, name)
            return self._write(name, module, module.out_channels, pixels=module.weight.ndim - 2)
        if _is_depthwise(module):
            return self._along(name, module, value, ("weight", "bias"))
        if isinstance(module, _NORMS):
            return self._along(
                name, module, value, ("weight", "bias", "running_mean", "running_var")
            )
        if isinstance(module, nn.PReLU):
            return (
                value
                if module.num_parameters == 1
                else self._along(name, module, value, ("weight",))
            )
        if isinstance(module, nn.LayerNorm) and _is_over_units(module, value):
            return self._along(name, module, value, ("weight", "bias"))
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return _flattened(value)
        if isinstance(module, _UNITWISE + _POOLINGS):
            return value
        raise _across(name, module)

    def _after_function(self, node: fx.Node) -> _Value:
        what, inputs = node.target, self._inputs(node)
        if what in _SUMS:
            return self._tied(inputs)
        if what in _UNITWISE_FUNCTIONS:
            return inputs[0]
        if what in _POOLING_FUNCTIONS and not (inputs[0].last or inputs[0].flat):
            return inputs[0]
        if what in _CONCATENATIONS:
            return self._concatenated(node)
        if what in _MEANS and inputs[0].pixels:
            return self._averaged(node, inputs[0])
        if what in _FLATTENS and (node.args[1:2] or (node.kwargs.get("start_dim"),))[0] == 1:
            return _flattened(inputs[0])
        if what in _RESHAPES and len(node.args) == 3 and node.args[2] == -1:
            return _flattened(inputs[0])
        if what in ("size", "dim") or (what is getattr and node.args[1] == "shape"):
            return _Value()
        if what is operator.getitem and not inputs[0].units:
            return _Value()
        name = what if isinstance(what, str) else getattr(what, "__name__", what)
        raise InputError(f"The units of this model cannot be relabelled across {name!r}.")

    # ------------------------------------------------------------------ what a layer does

    def _read(self, name: str, dim: int, value: _Value, size: int, reader: str) -> None:
        """The layer's inputs are these units, each of them as often as there are pixels."""
        if not value.units:
            return
        if size % value.size or (size != value.size and not value.flat):
            raise InputError(
                f"The {size} inputs of {reader!r} cannot be told apart into {value.size} units."
            )
        self._place(name, dim, value.units, size // value.size)
        self.readers.extend((units, reader) for units in value.units)

    def _write(
        self,
        name: str,
        module: nn.Module,
        size: int,
        *,
        last: bool = False,
        pixels: int | None = None,
    ) -> _Value:
        """The layer's outputs are new units, or where it is used again the ones it has."""
        known = self.axes.get((f"{name}.weight", 0, 0))
        units = (known[0] if known else _Group(size),)
        self._place(f"{name}.weight", 0, units)
        if getattr(module, "bias", None) is not None:
            self._place(f"{name}.bias", 0, units)
        return _Value(units, last=last, pixels=pixels)

    def _along(
        self, name: str, module: nn.Module, value: _Value, tensors: tuple[str, ...]
    ) -> _Value:
        """The layer has an entry for every unit that passes through it."""
        if value.units:
            for tensor in tensors:
                held = getattr(module, tensor, None)
                if isinstance(held, Tensor):
                    repeat, rest = divmod(len(held), value.size)
                    if rest or (repeat != 1 and not value.flat):
                        raise _across(name, module)  # its entries are something else's
                    self._place(f"{name}.{tensor}", 0, value.units, repeat)
        return value

    def _place(self, name: str, dim: int, units: tuple[_Group, ...], repeat: int = 1) -> None:
        start = 0
        for group in units:
            known = self.axes.get((name, dim, start))
            if known is not None:
                self._tie(known[0], group)
            self.axes[name, dim, start] = group, repeat
            start += group.root().size * repeat

    def _concatenated(self, node: fx.Node) -> _Value:
        """Units of one after those of the other, along the dimension that they lie along."""
        inputs = [self.values[n] for n in _argument(node, 0, "tensors", ())]
        first = inputs[0]
        alike = all(v.units and (v.pixels, v.last) == (first.pixels, first.last) for v in inputs)
        along = _argument(node, 1, "dim", 0) in ((1, -1) if first.last else (1,))
        if not (alike and along) or any(value.flat for value in inputs):
            raise InputError(
                "The units of this model cannot be relabelled across a concatenation that is not "
                "of units of the same kind alone: of the network's own input, of pixels, of tokens."
            )
        units = tuple(group for value in inputs for group in value.units)
        return _Value(units, last=first.last, pixels=first.pixels)

    def _averaged(self, node: fx.Node, value: _Value) -> _Value:
        """A mean, or a maximum, over pixels: units stay what they are."""
        assert value.pixels is not None
        over = _argument(node, 1, "dim", None)
        ndim = 2 + value.pixels
        dims = {d % ndim for d in ((over,) if isinstance(over, int) else over or range(ndim))}
        if not dims <= set(range(2, ndim)):
            raise InputError(
                "The units of this model cannot be relabelled across a mean over examples or units."
            )
        if _argument(node, 2, "keepdim", False):
            return value
        left = value.pixels - len(dims)
        return _Value(value.units, last=not left, pixels=left or None)

    def _tied(self, inputs: list[_Value]) -> _Value:
        """The units of a sum: those of its terms, unit by unit the same."""
        first = next((value for value in inputs if value.units), None)
        if first is None:
            return _Value()
        for value in inputs:
            if not value.units:
                self._fix(first)  # the network's own input is in the sum
            elif len(value.units) != len(first.units):
                raise InputError(
                    "A sum of concatenated units and of others has no units of its own."
                )
            else:
                for one, other in zip(first.units, value.units, strict=True):
                    self._tie(one, other)
        return _Value(
            tuple(group.root() for group in first.units),
            flat=any(value.flat for value in inputs),
            last=any(value.last for value in inputs),
            pixels=first.pixels,
        )

    def _tie(self, one: _Group, other: _Group) -> None:
        one, other = one.root(), other.root()
        if one is other:
            return
        if one.size != other.size:
            raise InputError(
                f"A sum of {one.size} and of {other.size} units has no units of its own."
            )
        other.merged = one
        one.fixed = one.fixed or other.fixed

    @staticmethod
    def _fix(value: _Value) -> None:
        for group in value.units:
            group.root().fixed = True


def _flattened(value: _Value) -> _Value:
    """Pixels of a channel become its neighbours; units that are last stay so, or take turns."""
    return value if value.last else _Value(value.units, flat=True)


def _argument(node: fx.Node, position: int, name: str, default: Any) -> Any:
    given = node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
    return tuple(given) if isinstance(given, list) else given


def _is_over_units(module: nn.LayerNorm, value: _Value) -> bool:
    """Whether it normalizes over all units at once: it does not matter then in which order."""
    shape = module.normalized_shape
    if value.pixels:
        return len(shape) == 1 + value.pixels and shape[0] == value.size
    return len(shape) == 1 and shape[0] % max(1, value.size) == 0


def _across(name: str, module: nn.Module) -> InputError:
    return InputError(
        f"The units of this model cannot be relabelled across its module {name!r} "
        f"({type(module).__name__})."
    )


def _is_depthwise(module: nn.Module) -> bool:
    """Whether each channel is convolved by itself, into one channel."""
    return (
        isinstance(module, _CONVOLUTIONS)
        and module.groups == module.in_channels == module.out_channels
    )
