"""Sparse layers in the forms that other programs read."""

from __future__ import annotations

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .checkpoint import _sparse_layers, check_writable
from .convert import to_dense
from .measure import CALLED, arguments_of, tried
from .pattern import Pattern

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def torch_csr(model: nn.Module) -> dict[str, Tensor]:
    """Weight name → ``torch.sparse_csr`` tensor; a convolution's is (outputs, all the rest).

    >>> from sparsescape.kernels.modules import SparseLinear
    >>> torch_csr(SparseLinear.random(30, 20, sparsity=0.9))["weight"].layout
    torch.sparse_csr
    """
    found = {}
    for name, layer in _sparse_layers(model).items():
        pattern = layer.pattern
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            found[name] = torch.sparse_csr_tensor(
                pattern.indptr.long(), pattern.indices.long(), layer.weight.detach().clone(),
                _matrix_shape(pattern), check_invariants=False,
            )  # fmt: skip
    return found


def scipy_csr(model: nn.Module) -> dict[str, csr_matrix]:
    """Weight name → SciPy CSR matrix; a convolution's is (outputs, all the rest).

    Of half precision, which SciPy lacks, it is float32.

    >>> from sparsescape.kernels.modules import SparseLinear
    >>> scipy_csr(SparseLinear.random(30, 20, sparsity=0.9))["weight"].nnz
    60
    """
    from scipy.sparse import csr_matrix

    found = {}
    for name, layer in _sparse_layers(model).items():
        weight = layer.weight.float() if layer.weight.dtype.itemsize < 4 else layer.weight
        parts = (weight, layer.pattern.indices.long(), layer.pattern.indptr.long())
        values, indices, indptr = (t.detach().cpu().numpy().copy() for t in parts)
        found[name] = csr_matrix((values, indices, indptr), shape=_matrix_shape(layer.pattern))
    return found


def onnx(model: nn.Module, path: str | Path, example_inputs: Any) -> None:
    """Write the model, its weights dense with zeros, as ONNX; the model stays as it is.

    Args:
        example_inputs: what the model is called with: a tensor, a tuple, or a dictionary of names.

    Raises:
        InputError: the package onnx is not installed, the model cannot be called with the example
            inputs, or there is no folder to write it to.
    """
    if find_spec("onnx") is None:
        raise InputError("Writing ONNX needs the package onnx: pip install sparsescape[onnx].")
    check_writable(path)
    inputs, named = arguments_of(example_inputs)
    dense = to_dense(copy.deepcopy(model)).eval()
    with torch.no_grad():
        tried(lambda: dense(*inputs, **named), CALLED)
    for module in dense.modules():
        if isinstance(module, nn.Conv2d) and module.padding == "same":
            _pad_by_numbers(module)
    with warnings.catch_warnings():
        # The newer exporter needs onnxscript, and gives these plain layers no more than this one.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding")  # of the padding's numbers
        torch.onnx.export(dense, inputs, str(path), kwargs=named, dynamo=False)


def _pad_by_numbers(convolution: Any) -> None:
    """ONNX has no padding in words beside a dilation."""
    left, right, top, bottom = convolution._reversed_padding_repeated_twice
    if (left, top) == (right, bottom):
        convolution.padding = (top, left)
    elif convolution.dilation != (1, 1) and convolution.padding_mode == "zeros":
        # In another mode than zeros torch pads first, and each side by itself.
        convolution.padding_mode = "constant"


def semi_structured(model: nn.Module) -> dict[str, str]:
    """Make Linear weights with 2 of 4 zeros NVIDIA's semi-structured tensors, in place.

    Sparse layers become dense first. Returns weight name → why it was left dense; where there is
    no GPU that can do it, that is all of them, and the model is not changed.

    >>> from sparsescape.kernels.modules import SparseLinear
    >>> semi_structured(SparseLinear.random(32, 32, sparsity=0.9))  # doctest: +SKIP
    {'weight': 'there is no NVIDIA GPU of compute capability 8.0 or newer'}
    """
    names = [n for n, m in model.named_modules() if hasattr(m, "in_features")]
    names = [f"{n}.weight".lstrip(".") for n in names]
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
        reason = "there is no NVIDIA GPU of compute capability 8.0 or newer"
        return dict.fromkeys(names, reason)
    from torch.sparse import to_sparse_semi_structured

    to_dense(model)
    left = {}
    for name in names:
        layer: Any = model.get_submodule(name.rpartition(".")[0])
        weight = layer.weight.detach()
        if not _is_two_of_four(weight):
            left[name] = "it does not have two zeros in every four weights of a row"
            continue
        try:
            layer.weight = nn.Parameter(to_sparse_semi_structured(weight))
        except RuntimeError as error:
            left[name] = str(error).splitlines()[0]
    return left


def _is_two_of_four(weight: Tensor) -> bool:
    if weight.shape[1] % 4:
        return False
    return bool(((weight.reshape(-1, 4) != 0).sum(1) <= 2).all())


def _matrix_shape(pattern: Pattern) -> tuple[int, int]:
    return pattern.shape[0], pattern.shape[1:].numel()
