"""Vectors of numbers as values inside numba kernels: what stays in registers, said outright.

A compiler that vectorizes loops keeps neither sums in registers across an inner loop over
nonzeros, nor does without checks of whether arrays overlap. LLVM has vectors of any width as a
type of its own, and breaks them into whatever registers a machine has; these few functions give
numba that type.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model


def _of_host() -> int:
    try:
        return 16 if get_host_cpu_features().get("avx512f") else 8
    except RuntimeError:  # LLVM does not know them
        return 8


REGISTER = _of_host()
"""Numbers of 32 bits that a register of this machine holds."""

_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """The numba type of a vector of ``width`` numbers."""

    def __init__(self, dtype: types.Float, width: int):
        self.dtype, self.width = dtype, width
        super().__init__(name=f"Lanes({dtype} x {width})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes):
        scalar = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(scalar, kind.width))


@intrinsic(prefer_literal=True)
def splat(context, number, width):
    """``width`` lanes that all hold the number."""
    result = Lanes(number, width.literal_value)

    def generate(context, builder, signature, args):
        return _splat(builder, args[0], context.get_value_type(result))

    return result(number, width), generate


@intrinsic(prefer_literal=True)
def load(context, array, start, width):
    """``array[start : start + width]``, unchecked."""
    result = Lanes(array.dtype, width.literal_value)

    def generate(context, builder, signature, args):
        place = _place(context, builder, array, args, context.get_value_type(result))
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return result(array, types.intp, width), generate


@intrinsic
def store(context, array, start, lanes):
    """``array[start : start + width] = lanes``, unchecked."""

    def generate(context, builder, signature, args):
        place = _place(context, builder, array, args, context.get_value_type(lanes))
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic(prefer_literal=True)
def load_first(context, array, start, width, count):
    """As :func:`load`, but only ``count`` lanes are read; the others are 0."""
    result = Lanes(array.dtype, width.literal_value)

    def generate(context, builder, signature, args):
        vector = context.get_value_type(result)
        place = _place(context, builder, array, args, vector)
        align = ir.Constant(_INDEX, array.dtype.bitwidth // 8)
        zero = ir.Constant(vector, None)
        mask = _first(builder, args[3], vector.count)
        kind = ir.FunctionType(vector, [place.type, _INDEX, mask.type, vector])
        name = f"llvm.masked.load.{_suffix(vector)}.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [place, align, mask, zero])

    return result(array, types.intp, width, types.intp), generate


@intrinsic
def store_first(context, array, start, lanes, count):
    """As :func:`store`, but only ``count`` lanes are written."""

    def generate(context, builder, signature, args):
        vector = context.get_value_type(lanes)
        place = _place(context, builder, array, args, vector)
        align = ir.Constant(_INDEX, array.dtype.bitwidth // 8)
        mask = _first(builder, args[3], vector.count)
        kind = ir.FunctionType(ir.VoidType(), [vector, place.type, _INDEX, mask.type])
        name = f"llvm.masked.store.{_suffix(vector)}.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [args[2], place, align, mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes, types.intp), generate


@intrinsic
def scaled(context, sums, number, lanes):
    """``sums + number * lanes``."""

    def generate(context, builder, signature, args):
        sums, number, lanes = args
        return _fused(builder, _splat(builder, number, lanes.type), lanes, sums)

    return sums(sums, number, lanes), generate


@intrinsic
def multiplied(context, sums, left, right):
    """``sums + left * right``, lane by lane."""

    def generate(context, builder, signature, args):
        sums, left, right = args
        return _fused(builder, left, right, sums)

    return sums(sums, left, right), generate


@intrinsic
def folded(context, sums, left, right):
    """``sums + left * right``, where sums are fewer lanes: each takes every so many-th product."""

    def generate(context, builder, signature, args):
        sums, left, right = args
        width = sums.type.count
        for start in range(0, left.type.count, width):
            places = ir.Constant(ir.VectorType(_INDEX, width), list(range(start, start + width)))
            parts = [builder.shuffle_vector(whole, whole, places) for whole in (left, right)]
            sums = _fused(builder, *parts, sums)
        return sums

    return sums(sums, left, right), generate


@intrinsic
def total(context, lanes):
    """The sum of all lanes."""

    def generate(context, builder, signature, args):
        vector = args[0].type
        kind = ir.FunctionType(vector.element, [vector.element, vector])
        name = f"llvm.vector.reduce.fadd.{_suffix(vector)}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(vector.element, 0.0)
        return builder.call(function, [zero, args[0]], fastmath=("fast",))

    return lanes.dtype(lanes), generate


def _place(context, builder, kind, args, vector):
    data = context.make_array(kind)(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer())


def _suffix(vector: ir.VectorType) -> str:
    return f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"


def _splat(builder, number, vector):
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(_INDEX, 0))
    everywhere = ir.Constant(ir.VectorType(_INDEX, vector.count), None)
    return builder.shuffle_vector(first, nothing, everywhere)


def _first(builder, count, width):
    lanes = ir.VectorType(count.type, width)
    numbers = ir.Constant(lanes, list(range(width)))
    return builder.icmp_signed("<", numbers, _splat(builder, count, lanes))


def _fused(builder, left, right, sums):
    kind = ir.FunctionType(sums.type, [sums.type] * 3)
    name = f"llvm.fma.{_suffix(sums.type)}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [left, right, sums])
