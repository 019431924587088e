"""Numbers as they are stored, of 2 to 32 bits, read as float32: one at a time or a vector at once.

Each function takes an address, a position in the row that starts there, and ``like``: it returns a
float32, or a vector of those that follow, of the type of ``like``. They are instructions within the
function that calls them: functions of their own would take longer to compile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types

from memcom.kernels.cpu.native import Vector, copies, intrinsic, several

_intrinsic: Any = intrinsic  # its own type is wrong for mypy
_byte, _short, _word = ir.IntType(8), ir.IntType(16), ir.IntType(32)


def _has_half() -> bool:
    """True if this processor converts float16 itself; LLVM would call a function that is not there.

    ARM's all do, x86's have since 2012.
    """
    features = dict(binding.get_host_cpu_features())
    return bool(features.get("f16c") or binding.get_process_triple().startswith("aarch64"))


HAVE_HALF = _has_half()


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


# Instructions that read number `k` of a row: float32, or as many as `like` holds.


def load_single(builder: Any, row: Any, k: Any, like: Any) -> Any:
    """Read float32 numbers."""
    return _load(builder, _moved(builder, row, k, 2), several(ir.FloatType(), like))


def load_half(builder: Any, row: Any, k: Any, like: Any) -> Any:
    """Read float16 numbers."""
    half = _load(builder, _moved(builder, row, k, 1), several(ir.HalfType(), like))
    return builder.fpext(half, several(ir.FloatType(), like))


def load_brain(builder: Any, row: Any, k: Any, like: Any) -> Any:
    """Read bfloat16 numbers."""
    short, word = several(_short, like), several(_word, like)
    bits = builder.zext(_load(builder, _moved(builder, row, k, 1), short), word)
    sixteen = ir.Constant(word, [16] * like.lanes if isinstance(like, Vector) else 16)
    return builder.bitcast(builder.shl(bits, sixteen), several(ir.FloatType(), like))


def load_byte(builder: Any, row: Any, k: Any, like: Any) -> Any:
    """Read unsigned numbers of 8 bits."""
    # By way of int32, which has an instruction; uint32 has none before AVX-512.
    codes = _load(builder, _moved(builder, row, k, 0), several(_byte, like))
    return builder.sitofp(builder.zext(codes, several(_word, like)), several(ir.FloatType(), like))


@functools.cache
def loader_of_few(bits: int) -> Callable[..., Any]:
    """Make the instructions that read unsigned numbers of 2, 3 or 4 bits.

    Number `k` has the bits ``[bits k, bits k + bits)`` of its row, least significant first. Vectors
    start at multiples of their length, and no byte beyond their numbers is read.
    """

    def load(builder: Any, row: Any, k: Any, like: Any) -> Any:
        lanes = like.lanes if isinstance(like, Vector) else 1
        word = several(_word, like)
        first = builder.mul(k, ir.Constant(k.type, bits))

        def address(bit: int) -> Any:
            at = builder.add(first, ir.Constant(k.type, bit))
            return builder.add(row, builder.ashr(at, ir.Constant(k.type, 3)))

        if lanes * bits >= 32:  # whole bytes: the halves are in the first and in the last four
            last = lanes * bits - 32
            pair = ir.Constant(ir.VectorType(_word, 2), ir.Undefined)
            for half, bit in enumerate((0, last)):
                four = _load(builder, address(bit), _word)
                pair = builder.insert_element(pair, four, ir.Constant(_word, half))
            turns = [2 * j // lanes for j in range(lanes)]
            words = builder.shuffle_vector(pair, pair, ir.Constant(word, turns))
            shifts = ir.Constant(word, [bits * j - last * turn for j, turn in enumerate(turns)])
        else:  # in the first and the last byte, which may be one
            low, high = (
                builder.zext(_load(builder, address(bit), _byte), _word)
                for bit in (0, lanes * bits - 1)
            )
            both = builder.or_(low, builder.shl(high, ir.Constant(_word, 8)))
            start = builder.and_(builder.trunc(first, _word), ir.Constant(_word, 7))
            words = copies(builder, builder.lshr(both, start), like)
            shifts = ir.Constant(word, [bits * j for j in range(lanes)] if lanes > 1 else 0)
        mask = 2**bits - 1
        codes = builder.and_(
            builder.lshr(words, shifts), ir.Constant(word, [mask] * lanes if lanes > 1 else mask)
        )
        return builder.sitofp(codes, several(ir.FloatType(), like))

    return load


def _moved(builder: Any, row: Any, k: Any, shift: int) -> Any:
    """Address of number ``k`` of a row, of ``2 ** shift`` bytes each."""
    return builder.add(row, builder.shl(k, ir.Constant(k.type, shift)))


def reader(load: Callable[..., Any]) -> Any:
    """Compile ``value(row, k, like)``, which reads by the instructions of ``load``."""

    @_intrinsic
    def value(context: Any, row: Any, k: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return load(builder, args[0], args[1], like)

        return like(types.int64, types.int64, like), generate

    return value


def scaled_reader(load: Callable[..., Any], is_scaled: bool) -> Any:
    """Compile ``number(row, k, scale, low, like)``: ``low + scale * value`` if ``is_scaled``."""

    @_intrinsic
    def number(context: Any, row: Any, k: Any, scale: Any, low: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = load(builder, args[0], args[1], like)
            if not is_scaled:
                return value
            factor, term = (copies(builder, number, like) for number in args[2:4])
            return builder.fadd(term, builder.fmul(factor, value))

        return like(types.int64, types.int64, types.float32, types.float32, like), generate

    return number


single, half, brain = map(reader, [load_single, load_half, load_brain])


@_intrinsic
def read_word(context: Any, address: Any) -> Any:
    """Read the int64 at an address that need not be a multiple of 8."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], ir.IntType(64))

    return types.int64(types.int64), generate


@_intrinsic
def write_half(context: Any, address: Any, value: Any) -> Any:
    """Write a float32 or a vector as float16."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.fptrunc(args[1], several(ir.HalfType(), value))
        builder.store(half, builder.inttoptr(args[0], half.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


@_intrinsic
def write_brain(context: Any, address: Any, value: Any) -> Any:
    """Write a float32 or a vector as bfloat16, rounded to the nearest, ties to even; NaN stays."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = several(_word, value)

        def all_of(number: int) -> Any:
            return ir.Constant(
                word, [number] * value.lanes if isinstance(value, Vector) else number
            )

        bits = builder.bitcast(args[1], word)
        last = builder.and_(builder.lshr(bits, all_of(16)), all_of(1))
        nearest = builder.add(bits, builder.add(last, all_of(0x7FFF)))
        is_nan = builder.fcmp_unordered("uno", args[1], args[1])
        rounded = builder.select(is_nan, all_of(0x7FC00000), nearest)
        short = builder.trunc(builder.lshr(rounded, all_of(16)), several(_short, value))
        builder.store(short, builder.inttoptr(args[0], short.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


@_intrinsic
def octet(context: Any, address: Any) -> Any:
    """Read the byte at an address, as an unsigned number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(_load(builder, args[0], _byte), ir.IntType(64))

    return types.int64(types.int64), generate
