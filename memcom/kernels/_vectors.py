"""Sixteen float32 numbers at a time, as a type that the compiled kernels calculate with.

A loop over single numbers is vectorised only behind checks that the rows do not overlap and that
enough numbers are left, which cost more than the row itself where rows are short. Loops here say
outright how many numbers they read before they write. They are written once and compiled twice,
for `LANES` numbers and, for what is left of a row, for single ones: `read` gives the kind of value
it is shown.
"""

from __future__ import annotations

import operator
from typing import Any, ClassVar

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, register_model

LANES = 16  # numbers in a vector
BYTES = 4 * LANES  # bytes of a vector: a cache line
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_PLACES = ir.VectorType(ir.IntType(32), LANES)


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


def _read(context: Any, address: Any, like: Any) -> Any:
    """The float32 at ``address``, or the vector that starts there: whichever ``like`` is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=4)

    return like(types.int64, like), generate


def _write(context: Any, address: Any, value: Any) -> Any:
    """Write a float32 or a vector to ``address``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


def _spread(context: Any, number: Any, like: Any) -> Any:
    """``number`` itself, or a vector of nothing else: whichever ``like`` is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.return_type is not vector:
            return args[0]
        nothing, first = ir.Constant(_FLOATS, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(nothing, args[0], first)
        return builder.shuffle_vector(one, nothing, ir.Constant(_PLACES, [0] * LANES))

    return like(types.float32, like), generate


def _nothing(context: Any) -> Any:
    """A vector of zeros."""
    return vector(), lambda c, builder, s, args: ir.Constant(_FLOATS, [0.0] * LANES)


def _total(context: Any, value: Any) -> Any:
    """Sum of a vector's numbers, always in the same order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half, value = LANES // 2, args[0]
        while half:
            places = [*range(half, 2 * half), *range(LANES - half)]
            mask = ir.Constant(_PLACES, places[:LANES])
            value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
            half //= 2
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(vector), generate


read: Any = intrinsic(_read)
write: Any = intrinsic(_write)
spread: Any = intrinsic(_spread)
total: Any = intrinsic(_total)
nothing: Any = intrinsic(_nothing)


class _OfTwo(ConcreteTemplate):
    cases: ClassVar[list[Any]] = [signature(vector, vector, vector)]


def _define(operation: Any, instruction: str) -> None:
    """Let Python's ``operation`` on two vectors be an instruction of LLVM's."""

    @lower_builtin(operation, vector, vector)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)

    infer_global(operation)(_OfTwo)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")
