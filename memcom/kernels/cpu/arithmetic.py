"""Arithmetic that numba lacks: a vectorised exponential, fused products, copies of short rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from memcom.kernels.cpu.native import (
    BYTES,
    LANES,
    four_zeros,
    njit,
    quad,
    read,
    spread,
    vector,
    write,
    zeros,
)

_intrinsic: Any = intrinsic  # its own type is wrong for mypy

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # 9 bits, so that whole multiples below 2^15 are exact
_LN2_LOW = np.float32(-2.12194440e-4)
_HALF, _ONE = np.float32(0.5), np.float32(1)
_SHIFT = 1.5 * 2.0**23
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


def _where(compare: str, ordered: bool) -> Any:
    """An intrinsic: the lanes of ``then`` where two vectors compare so, else those of ``other``."""

    @_intrinsic
    def where(context: Any, a: Any, b: Any, then: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            test = builder.fcmp_ordered if ordered else builder.fcmp_unordered
            return builder.select(test(compare, *args[:2]), *args[2:])

        return vector(vector, vector, vector, vector), generate

    return where


where_larger = _where(">", True)
where_unordered = _where("uno", False)  # where one of the numbers is none


@njit(forceinline=True)
def larger(a: Any, b: Any) -> Any:
    """Return the larger number of each lane of two float32 vectors."""
    return where_larger(a, b, a, b)


@_intrinsic
def totals_of(context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return the sums of the lanes of four float32 vectors, as a vector of four."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pick(x: Any, y: Any, lanes: list[int]) -> Any:
            kind = ir.VectorType(ir.IntType(32), len(lanes))
            return builder.shuffle_vector(x, y, ir.Constant(kind, lanes))

        def fold(x: Any, y: Any, first: tuple[int, int], step: int) -> Any:
            """Of each four lanes, add the ``first`` two to those ``step`` further on."""
            count = x.type.count
            low = [q + k + of for q in range(0, count, 4) for of in (0, count) for k in first]
            return builder.fadd(pick(x, y, low), pick(x, y, [k + step for k in low]))

        ab, cd = (fold(x, y, (0, 1), 2) for x, y in (args[:2], args[2:]))
        total = fold(ab, cd, (0, 2), 1)
        while total.type.count > quad.lanes:
            lanes = list(range(total.type.count))
            half = len(lanes) // 2
            total = builder.fadd(pick(total, total, lanes[:half]), pick(total, total, lanes[half:]))
        return total

    return quad(vector, vector, vector, vector), generate


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
        # Beside 1.5 * 2^23 float32 has no room for fractions: its last bits are the whole number.
        shifted = call("fmuladd", x, all_lanes(float(_LOG2E)), all_lanes(_SHIFT))
        whole = builder.fsub(shifted, all_lanes(_SHIFT))
        f = call("fmuladd", whole, all_lanes(-float(_LN2_HIGH)), x)
        f = call("fmuladd", whole, all_lanes(-float(_LN2_LOW)), f)
        series = all_lanes(float(_C7))
        for factor in (_C6, _C5, _C4, _C3, _HALF, _ONE, _ONE):
            series = call("fmuladd", series, f, all_lanes(float(factor)))
        power = builder.shl(builder.bitcast(shifted, whole_kind), all_lanes(23, whole_kind))
        power = builder.add(power, all_lanes(127 << 23, whole_kind))
        return builder.fmul(series, builder.bitcast(power, kind))

    return vector(vector), generate


@_intrinsic
def _transpose_square(
    context: Any, source: Any, source_stride: Any, target: Any, target_stride: Any
) -> Any:
    """Write the columns of as many vectors as a vector has lanes; strides are bytes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, lanes = context.get_value_type(vector), range(LANES)
        numbers = ir.VectorType(ir.IntType(32), LANES)

        def places(start: Any, stride: Any) -> list[Any]:
            steps = [builder.mul(stride, ir.Constant(stride.type, row)) for row in lanes]
            return [builder.inttoptr(builder.add(start, s), kind.as_pointer()) for s in steps]

        here, there = places(args[0], args[1]), places(args[2], args[3])
        rows = [builder.load(place, align=4) for place in here]
        for step in (1 << bit for bit in range(LANES.bit_length() - 1)):
            # Of each square of 2 step lanes, swap the two quarters off the diagonal.
            low = [k + LANES - step if k & step else k for k in lanes]
            high = [k + LANES if k & step else k + step for k in lanes]
            for row in (row for row in lanes if not row & step):
                pair = rows[row], rows[row + step]
                rows[row], rows[row + step] = (
                    builder.shuffle_vector(*pair, ir.Constant(numbers, order))
                    for order in (low, high)
                )
        for row, place in zip(rows, there, strict=True):
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@njit
def transpose(
    source: int, source_stride: int, rows: int, columns: int, target: int, target_stride: int
) -> None:
    """Write each column of a matrix of float32 as a row; strides are bytes from row to row."""
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            here, there = source + r * source_stride + c * 4, target + c * target_stride + r * 4
            if r + LANES <= rows and c + LANES <= columns:
                _transpose_square(here, source_stride, there, target_stride)
                continue
            for row in range(min(LANES, rows - r)):
                for k in range(min(LANES, columns - c)):
                    number = read(here + row * source_stride + k * 4, _NUMBER)
                    write(there + k * target_stride + row * 4, number)


@njit(forceinline=True)
def add_row(source: int, target: int, width: int) -> None:
    """Add a row of ``width`` float32 to another."""
    four, one = four_zeros(), np.float32(0)
    for c in range(0, width - 3, 4):
        write(target + c * 4, read(target + c * 4, four) + read(source + c * 4, four))
    for c in range(width // 4 * 4, width):
        write(target + c * 4, read(target + c * 4, one) + read(source + c * 4, one))


@njit(forceinline=True)
def copy_rows(
    source: int, source_stride: int, target: int, target_stride: int, rows: int, width: int
) -> None:
    """Copy rows of ``width`` float32; strides are bytes from one row to the next."""
    four, one = four_zeros(), np.float32(0)
    for row in range(rows):
        here, there = source + row * source_stride, target + row * target_stride
        for c in range(0, width - 3, 4):
            write(there + c * 4, read(here + c * 4, four))
        for c in range(width // 4 * 4, width):
            write(there + c * 4, read(here + c * 4, one))


@njit(forceinline=True)
def multiply_short_rows(a: int, a_stride: int, rows: int, depth: int, b: int, out: int) -> None:
    """As `multiply_rows`, for many rows of few numbers: the vectors at ``b`` are read once.

    Vectors at ``b`` and at ``out`` lie one after the other.
    """
    for k in range(0, depth - 3, 4):
        one, two = read(b + k * BYTES, zeros()), read(b + (k + 1) * BYTES, zeros())
        three, four = read(b + (k + 2) * BYTES, one), read(b + (k + 3) * BYTES, one)
        for row in range(rows):
            place, target = a + row * a_stride + k * 4, out + row * BYTES
            total = read(target, one) if k > 0 else zeros()
            total = multiply_add(spread(read(place, _NUMBER), one), one, total)
            total = multiply_add(spread(read(place + 4, _NUMBER), one), two, total)
            total = multiply_add(spread(read(place + 8, _NUMBER), one), three, total)
            write(target, multiply_add(spread(read(place + 12, _NUMBER), one), four, total))
    for k in range(depth // 4 * 4, depth - 1, 2):
        one, two = read(b + k * BYTES, zeros()), read(b + (k + 1) * BYTES, zeros())
        for row in range(rows):
            place, target = a + row * a_stride + k * 4, out + row * BYTES
            total = read(target, one) if k > 0 else zeros()
            total = multiply_add(spread(read(place, _NUMBER), one), one, total)
            write(target, multiply_add(spread(read(place + 4, _NUMBER), one), two, total))
    if depth % 2:
        k = depth - 1
        one = read(b + k * BYTES, zeros())
        for row in range(rows):
            place, target = a + row * a_stride + k * 4, out + row * BYTES
            total = read(target, one) if k > 0 else zeros()
            write(target, multiply_add(spread(read(place, _NUMBER), one), one, total))


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


@njit
def multiply_wide_rows(
    a: int, a_stride: int, rows: int, depth: int, b: int, b_stride: int, out: int, out_stride: int
) -> None:
    """As `multiply_rows`, with two vectors side by side: eight sums keep the machine busy."""
    whole = rows // 4 * 4
    for row in range(0, whole, 4):
        place, target = a + row * a_stride, out + row * out_stride
        _four_wide_rows(place, a_stride, depth, b, b_stride, target, out_stride)
    for half in range(0, 2 * BYTES, BYTES):
        place, target = a + whole * a_stride, out + whole * out_stride + half
        multiply_rows(place, a_stride, rows - whole, depth, b + half, b_stride, target, out_stride)


@njit(forceinline=True)
def _four_wide_rows(
    a: int, a_stride: int, depth: int, b: int, b_stride: int, out: int, out_stride: int
) -> None:
    one = two = three = four = zeros()
    one_more = two_more = three_more = four_more = zeros()
    for k in range(depth):
        v, w, place = read(b + k * b_stride, one), read(b + k * b_stride + BYTES, one), a + k * 4
        x = spread(read(place, _NUMBER), v)
        one, one_more = multiply_add(x, v, one), multiply_add(x, w, one_more)
        x = spread(read(place + a_stride, _NUMBER), v)
        two, two_more = multiply_add(x, v, two), multiply_add(x, w, two_more)
        x = spread(read(place + 2 * a_stride, _NUMBER), v)
        three, three_more = multiply_add(x, v, three), multiply_add(x, w, three_more)
        x = spread(read(place + 3 * a_stride, _NUMBER), v)
        four, four_more = multiply_add(x, v, four), multiply_add(x, w, four_more)
    write(out, one)
    write(out + BYTES, one_more)
    write(out + out_stride, two)
    write(out + out_stride + BYTES, two_more)
    write(out + 2 * out_stride, three)
    write(out + 2 * out_stride + BYTES, three_more)
    write(out + 3 * out_stride, four)
    write(out + 3 * out_stride + BYTES, four_more)
