"""Numbers as they are stored, of 4 to 32 bits, read as float32: one at a time or a vector at once.

Each function takes an address, a position in the row that starts there, and ``like``: it returns a
float32, or a vector of those that follow, of the type of ``like``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types

from memcom.kernels.cpu.native import Vector, intrinsic, njit, read, several

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


@_intrinsic
def _read_half(context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half, single = several(ir.HalfType(), like), several(ir.FloatType(), like)
        return builder.fpext(_load(builder, args[0], half), single)

    return like(types.int64, like), generate


@_intrinsic
def _read_brain(context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        short, word = several(_short, like), several(_word, like)
        bits = builder.zext(_load(builder, args[0], short), word)
        sixteen = ir.Constant(word, [16] * like.lanes if isinstance(like, Vector) else 16)
        return builder.bitcast(builder.shl(bits, sixteen), several(ir.FloatType(), like))

    return like(types.int64, like), generate


@_intrinsic
def _read_byte(context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # By way of int32, which has an instruction; uint32 has none before AVX-512.
        bits = builder.zext(_load(builder, args[0], several(_byte, like)), several(_word, like))
        return builder.sitofp(bits, several(ir.FloatType(), like))

    return like(types.int64, like), generate


@_intrinsic
def _read_nibble(context: Any, address: Any, odd: Any, like: Any) -> Any:
    """Read from the low half of a byte on; a single number from the high half if ``odd``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not isinstance(like, Vector):
            byte = builder.zext(_load(builder, args[0], _byte), _word)
            shift = builder.shl(builder.trunc(args[1], _word), ir.Constant(_word, 2))
            code = builder.and_(builder.lshr(byte, shift), ir.Constant(_word, 15))
            return builder.sitofp(code, ir.FloatType())
        pairs = ir.VectorType(_byte, like.lanes // 2)
        both = _load(builder, args[0], pairs)
        low = builder.and_(both, ir.Constant(pairs, [15] * pairs.count))
        high = builder.lshr(both, ir.Constant(pairs, [4] * pairs.count))
        turns = [k // 2 + (k % 2) * pairs.count for k in range(like.lanes)]
        places = ir.Constant(ir.VectorType(_word, like.lanes), turns)
        codes = builder.shuffle_vector(low, high, places)
        return builder.sitofp(
            builder.zext(codes, several(_word, like)), several(ir.FloatType(), like)
        )

    return like(types.int64, types.int64, like), generate


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


@njit(forceinline=True)
def single(row: int, k: int, like: Any) -> Any:
    """Read float32 numbers."""
    return read(row + 4 * k, like)


@njit(forceinline=True)
def half(row: int, k: int, like: Any) -> Any:
    """Read float16 numbers."""
    return _read_half(row + 2 * k, like)


@njit(forceinline=True)
def brain(row: int, k: int, like: Any) -> Any:
    """Read bfloat16 numbers."""
    return _read_brain(row + 2 * k, like)


@njit(forceinline=True)
def byte(row: int, k: int, like: Any) -> Any:
    """Read unsigned numbers of 8 bits."""
    return _read_byte(row + k, like)


@njit(forceinline=True)
def nibble(row: int, k: int, like: Any) -> Any:
    """Read unsigned numbers of 4 bits, the even ones in the low halves; vectors start at those."""
    return _read_nibble(row + (k >> 1), k & 1, like)


@_intrinsic
def octet(context: Any, address: Any) -> Any:
    """Read the byte at an address, as an unsigned number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(_load(builder, args[0], _byte), ir.IntType(64))

    return types.int64(types.int64), generate
