"""Arithmetic that numba lacks: a vectorised exponential, fused products, copies of short rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from memcom.kernels.cpu.native import read, spread, vector, write, zeros

_intrinsic: Any = intrinsic  # its own type is wrong for mypy

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # 9 bits, so that whole multiples below 2^15 are exact
_LN2_LOW = np.float32(-2.12194440e-4)
_HALF, _ONE = np.float32(0.5), np.float32(1)
_NUMBER = _ONE  # for `read`: a single number
# exp(f) = 1 + f + f^2 (1/2 + f/6 + ...): its Taylor series, |f| <= ln(2) / 2
_C3, _C4, _C5, _C6, _C7 = (np.float32(1 / n) for n in (6, 24, 120, 720, 5040))
LOWEST, HIGHEST = np.float32(-87.3), np.float32(88.3)  # beyond these, 2^whole leaves float32


@_intrinsic
def float_of_bits(context: Any, bits: Any) -> Any:
    """Return the float32 whose bits are those of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(forceinline=True, fastmath={"contract"})
def exp(x: Any) -> Any:
    """Return e^x within 2e-7 of it, relatively; x is taken to lie in [-87.3, 88.3]."""
    x = min(max(x, LOWEST), HIGHEST)
    whole = np.floor(x * _LOG2E + _HALF)
    f = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    series = _HALF + f * (_C3 + f * (_C4 + f * (_C5 + f * (_C6 + f * _C7))))
    power = float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
    return (_ONE + (f + f * f * series)) * power


@_intrinsic
def multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a b + c`` of three float32 vectors, in one instruction where the machine has it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        name = f"llvm.fmuladd.v{kind.count}f32"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return builder.call(function, args)

    return vector(vector, vector, vector), generate


@_intrinsic
def larger(context: Any, a: Any, b: Any) -> Any:
    """Return the larger number of each lane of two float32 vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return vector(vector, vector), generate


@_intrinsic
def largest(context: Any, numbers: Any) -> Any:
    """Return the largest lane of a float32 vector, all of them numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, kind = ir.FloatType(), args[0].type
        name = f"llvm.vector.reduce.fmax.v{kind.count}f32"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(number, [kind]), name
        )
        return builder.call(function, args, fastmath=("nnan",))

    return types.float32(vector), generate


def _lanes_where(compare: str, ordered: bool) -> Any:
    """An intrinsic: the lanes of two vectors that compare so, as bits of an int64."""

    @_intrinsic
    def lanes(context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            test = builder.fcmp_ordered if ordered else builder.fcmp_unordered
            bits = builder.bitcast(test(compare, *args), ir.IntType(args[0].type.count))
            return builder.zext(bits, ir.IntType(64))

        return types.int64(vector, vector), generate

    return lanes


equal_lanes = _lanes_where("==", True)
unordered_lanes = _lanes_where("uno", False)  # where one of the numbers is none


@_intrinsic
def lowest_bit(context: Any, bits: Any) -> Any:
    """Return the place of the lowest bit of an int64 that is set, 64 if none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@_intrinsic
def total_of(context: Any, numbers: Any) -> Any:
    """Return the sum of the lanes of a float32 vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, kind = ir.FloatType(), args[0].type
        name = f"llvm.vector.reduce.fadd.v{kind.count}f32"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(number, [number, kind]), name
        )
        zero = ir.Constant(number, 0.0)
        return builder.call(function, [zero, args[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


@_intrinsic
def exp_of_lanes(context: Any, numbers: Any) -> Any:
    """Return `exp` of each lane of a float32 vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        whole_kind = ir.VectorType(ir.IntType(32), kind.count)

        def call(name: str, *values: Any) -> Any:
            function_type = ir.FunctionType(kind, [kind] * len(values))
            full = f"llvm.{name}.v{kind.count}f32"
            return builder.call(
                cgutils.get_or_insert_function(builder.module, function_type, full), values
            )

        def all_lanes(number: Any, of: Any = kind) -> Any:
            return ir.Constant(of, [number] * kind.count)

        low, high = all_lanes(float(LOWEST)), all_lanes(float(HIGHEST))
        x = builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])
        x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
        half, one = all_lanes(0.5), all_lanes(1.0)
        whole = call("floor", call("fmuladd", x, all_lanes(float(_LOG2E)), half))
        f = call("fmuladd", whole, all_lanes(-float(_LN2_HIGH)), x)
        f = call("fmuladd", whole, all_lanes(-float(_LN2_LOW)), f)
        series = all_lanes(float(_C7))
        for factor in (_C6, _C5, _C4, _C3, _HALF):
            series = call("fmuladd", series, f, all_lanes(float(factor)))
        near = call("fmuladd", builder.fmul(f, f), series, builder.fadd(f, one))
        power = builder.add(builder.fptosi(whole, whole_kind), all_lanes(127, whole_kind))
        power = builder.shl(power, all_lanes(23, whole_kind))
        return builder.fmul(near, builder.bitcast(power, kind))

    return vector(vector), generate


class Quad(types.Type):
    """Numba's type of four float32, to be read and written as one."""

    def __init__(self) -> None:
        super().__init__(name="float32x4")


quad = Quad()
_QUAD = ir.VectorType(ir.FloatType(), 4)


@register_model(Quad)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _QUAD)


@_intrinsic
def _four_zeros(context: Any) -> Any:
    return quad(), lambda c, builder, s, args: ir.Constant(_QUAD, [0.0] * 4)


@njit(forceinline=True)
def copy_rows(
    source: int, source_stride: int, target: int, target_stride: int, rows: int, width: int
) -> None:
    """Copy rows of ``width`` float32; strides are bytes from one row to the next."""
    four, one = _four_zeros(), np.float32(0)
    for row in range(rows):
        here, there = source + row * source_stride, target + row * target_stride
        for c in range(0, width - 3, 4):
            write(there + c * 4, read(here + c * 4, four))
        for c in range(width // 4 * 4, width):
            write(there + c * 4, read(here + c * 4, one))


@njit(forceinline=True)
def multiply_rows(
    a: int, a_stride: int, rows: int, depth: int, b: int, b_stride: int, out: int, out_stride: int
) -> None:
    """Multiply ``rows`` rows of ``depth`` numbers at ``a`` into as many vectors at ``b``.

    Strides are bytes from one row or vector to the next; a vector is written for each row.
    """
    for row in range(0, rows - 3, 4):
        place, target = a + row * a_stride, out + row * out_stride
        _four_rows(place, a_stride, depth, b, b_stride, target, out_stride)
    for row in range(rows // 4 * 4, rows):
        place, total = a + row * a_stride, zeros()
        for k in range(depth):
            v = read(b + k * b_stride, total)
            total = multiply_add(spread(read(place + k * 4, _NUMBER), v), v, total)
        write(out + row * out_stride, total)


@njit(forceinline=True)
def _four_rows(
    a: int, a_stride: int, depth: int, b: int, b_stride: int, out: int, out_stride: int
) -> None:
    one = two = three = four = zeros()
    for k in range(depth):
        v, place = read(b + k * b_stride, one), a + k * 4
        one = multiply_add(spread(read(place, _NUMBER), v), v, one)
        two = multiply_add(spread(read(place + a_stride, _NUMBER), v), v, two)
        three = multiply_add(spread(read(place + 2 * a_stride, _NUMBER), v), v, three)
        four = multiply_add(spread(read(place + 3 * a_stride, _NUMBER), v), v, four)
    write(out, one)
    write(out + out_stride, two)
    write(out + 2 * out_stride, three)
    write(out + 3 * out_stride, four)
