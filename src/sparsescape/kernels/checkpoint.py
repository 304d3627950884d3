"""Sparse checkpoints: a file whose size follows the nonzeros."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..sparsifiers.nonzeros import resize
from ..sparsifiers.shards import unwrapped
from .candidates import become_sparse
from .carriers import carry_layout
from .convert import Model, check_unspread
from .layer import Sparse
from .pattern import Pattern

_FORMAT = "sparsescape.sparse/1"
_STRUCTURE = ("indptr", "indices")


def save_sparse(model: nn.Module, path: str | Path) -> None:
    """Write a model with sparse layers as one safetensors file.

    A sparse weight ``name`` takes 6 bytes a value: ``name`` holds the values, ``name.gaps`` the
    steps from each flat index to the next (the first from −1) as 16 bits, modulo 65536; the few
    steps that are longer stand in ``name.far`` (which) and ``name.turns`` (how many times 65536 is
    to be added). The metadata has the dense shapes. All other parameters and buffers are in the
    file as they are.

    >>> import tempfile
    >>> from sparsescape.kernels.modules import SparseLinear
    >>> model = SparseLinear.random(1000, 1000, sparsity=0.95)
    >>> path = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save_sparse(model, path)
    >>> path.stat().st_size < 6 * 50_000 + 4 * 1000 + 1000
    True

    A file that is there already stays until the new one is whole.

    Raises:
        InputError: there is no folder to write it to, or the path is one.
    """
    from safetensors.torch import save_file

    check_writable(path)
    model = unwrapped(model)
    held: dict[str, Tensor] = {}
    seen: set[int] = set()
    shapes: dict[str, list[int]] = {}
    layers = _sparse_layers(model)
    structure = {f"{name}.{part}".lstrip(".") for name in _names(model) for part in _STRUCTURE}
    for name, tensor in _state(model).items():
        if name in layers:
            shapes[name] = list(layers[name].dense_shape)
            held |= _encoded(name, layers[name].pattern)
        if name not in structure:
            held[name] = _alone(tensor.contiguous(), seen)
    file = Path(path).resolve()  # a link to it stays one
    fresh = file.with_name(file.name + ".new")
    try:
        save_file(held, str(fresh), metadata={_FORMAT: json.dumps(shapes)})
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Before anything is made that is to be written.

    Raises:
        InputError: there is no folder to write it to, or the path is one.
    """
    if not Path(path).parent.is_dir():
        raise InputError(f"There is no folder {str(Path(path).parent)!r} to write to.")
    if Path(path).is_dir():
        raise InputError(f"{str(path)!r} is a folder, not a file to write.")


def load_sparse(model: Model, path: str | Path) -> Model:
    """Read :func:`save_sparse`'s file into a model of the same architecture; it is returned too.

    The model may be dense, sparse already, or without any memory (made under
    ``torch.device("meta")``): its layers become sparse without a dense weight being made. What
    ``torch.compile`` has wrapped is the same model, here and in the file. Sparse layers keep
    their parameters, as ``load_state_dict`` does, and an optimizer's state is to be loaded beside;
    an optimizer of weights that are dense before is to be made afterwards.

    Raises:
        InputError: the file is not such a checkpoint, or is one of another architecture; a
            sparsifier is attached to a weight in it; the model is spread over ranks. The model is
            then as it was.
    """
    check_unspread(model)
    _load(unwrapped(model), path)
    return model


def _load(model: nn.Module, path: str | Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        state, shapes = load_file(str(path)), _shapes(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a sparse checkpoint: {error}.") from error
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    patterns = {}
    for name, shape in shapes.items():
        module = modules.get(name.rpartition(".")[0])
        given = getattr(
            module, "dense_shape", getattr(getattr(module, "weight", None), "shape", None)
        )
        if module is None or given is None or list(given) != shape:
            raise InputError(
                f"The checkpoint has a weight {name!r} {shape}, which the model lacks."
            )
        if name not in parameters:
            raise InputError(
                f"The model's {name!r} is no parameter of its own, as one that is computed from "
                "others: it cannot hold nonzero values alone."
            )
        missing = [part for part in _parts(name) if part not in state]
        if missing:
            raise InputError(f"{path} is damaged: it has no {missing[0]!r}.")
        weight = parameters[name]
        if weight._post_accumulate_grad_hooks or weight._backward_hooks:
            raise InputError(
                f"The weight {name!r} has gradient hooks; detach its sparsifier first."
            )
        try:
            flat = _decoded(name, state)
        except (IndexError, RuntimeError) as error:  # parts that do not fit each other
            raise InputError(f"{path} is damaged: the positions of {name!r}.") from error
        patterns[name] = Pattern.of(flat, shape, getattr(module, "groups", 1))
    values = {name: state.pop(name) for name in shapes}
    for name, pattern in patterns.items():
        found = values[name]
        if found.shape != (pattern.count,) or not found.is_floating_point():
            raise InputError(
                f"{path} is damaged: {name!r} has values {tuple(found.shape)} of {found.dtype} at "
                f"{pattern.count} positions."
            )
    _check(model, state, shapes)
    _hold(model, patterns, values)
    meta = any(t.is_meta for t in _state(model).values())
    model.load_state_dict(state, strict=False, assign=meta)
    carry_layout(model)


def _hold(model: nn.Module, patterns: dict[str, Pattern], values: dict[str, Tensor]) -> None:
    """Every layer of a weight, tied ones too, takes up the positions and the values."""
    first = dict(model.named_parameters(remove_duplicate=False))
    by_weight = {id(first[name]): name for name in patterns}
    new = {}
    for name in patterns:
        own, found = first[name], values[name]
        if own.is_meta:
            new[name] = nn.Parameter(found, own.requires_grad)
        elif own.ndim == 1:  # of a layer that is sparse already, which an optimizer may hold
            own.grad, new[name] = None, own
            resize(own, found.to(own))
        else:
            new[name] = nn.Parameter(found.to(own), own.requires_grad)
    for module in list(model.modules()):
        weight = id(getattr(module, "weight", None))
        if weight not in by_weight:
            continue
        name = by_weight[weight]
        if isinstance(module, Sparse):
            module.hold(patterns[name], new[name])
        else:
            become_sparse(module, patterns[name], new[name])


def _check(model: nn.Module, state: dict[str, Tensor], shapes: dict[str, Any]) -> None:
    """Say no, before anything is changed, to another architecture."""
    structure = {f"{name}.{part}".lstrip(".") for name in _names(model) for part in _STRUCTURE}
    own = _state(model)
    wanted = set(own) - set(shapes) - structure
    for name in sorted(wanted ^ set(state)):
        where = "the model" if name in state else "the checkpoint"
        raise InputError(f"The checkpoint does not fit the model: {name!r} is not in {where}.")
    for name in sorted(wanted):
        if own[name].shape != state[name].shape:
            raise InputError(
                f"The checkpoint does not fit the model: {name!r} is {tuple(state[name].shape)} "
                f"in the checkpoint and {tuple(own[name].shape)} in the model."
            )


def _shapes(path: str | Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
    if _FORMAT not in metadata:
        raise InputError(f"{path} is not a sparse checkpoint.")
    try:
        return {name: list(shape) for name, shape in json.loads(metadata[_FORMAT]).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: the shapes of its weights.") from error


def _names(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, Sparse)]


def _sparse_layers(model: nn.Module) -> dict[str, Sparse]:
    """By the name of their weight."""
    modules = dict(model.named_modules())
    return {f"{n}.weight".lstrip("."): modules[n] for n in _names(model)}


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters (a tied one once) and the buffers that are saved."""
    saved = model.state_dict(keep_vars=True)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return parameters | {n: t for n, t in saved.items() if isinstance(t, Tensor) and n not in every}


def _alone(tensor: Tensor, seen: set[int]) -> Tensor:
    """A tensor in memory of its own: the format refuses what shares it, as buffers may."""
    memory = tensor.untyped_storage().data_ptr()
    if memory in seen:
        return tensor.clone()
    seen.add(memory)
    return tensor


def _encoded(name: str, pattern: Pattern) -> dict[str, Tensor]:
    flat = pattern.flat().cpu().numpy()
    gaps = np.diff(flat, prepend=-1)
    far = np.flatnonzero(gaps >= 1 << 16)
    parts = {
        "gaps": (gaps & 0xFFFF).astype(np.uint16).view(np.int16),
        "far": far,
        "turns": (gaps[far] >> 16),
    }
    return {f"{name}.{part}": torch.from_numpy(array) for part, array in parts.items()}


def _parts(name: str) -> list[str]:
    """What the file holds of a sparse weight: its values, and the three that say where they are."""
    return [name, *(f"{name}.{part}" for part in ("gaps", "far", "turns"))]


def _decoded(name: str, state: dict[str, Tensor]) -> Tensor:
    gaps, far, turns = (state.pop(part) for part in _parts(name)[1:])
    steps = gaps.long() & 0xFFFF
    steps[far] += turns << 16
    return steps.cumsum(0) - 1
