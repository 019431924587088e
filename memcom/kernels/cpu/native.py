"""Pointers made of addresses, prefetching, and vectors of sixteen float32, which numba lacks.

Kernels read and write tensors through raw addresses, so a call converts nothing.

A loop over single numbers is vectorised only behind checks that the rows do not overlap and that
enough numbers are left; for short rows these cost more than the row. Loops over vectors state how
many numbers they read before they write. They are written once and compiled twice, for `LANES`
numbers and, for the rest of a row, for single ones: `read` returns the type of its second argument.
"""

from __future__ import annotations

import hashlib
import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, register_model

LANES = 16  # numbers in a vector
BYTES = 4 * LANES  # bytes of a vector: a cache line

_intrinsic: Any = intrinsic  # its own type is wrong for mypy
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _digest() -> str:
    """Fingerprint of the source of all compiled kernels."""
    folder = Path(__file__).parent
    sources = [folder.parent / "program.py", *sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


_DIGEST = _digest()


def entry_point(function: _Function) -> _Function:
    """Put the kernels' fingerprint into the name under which numba caches a function on disk.

    Numba notices a change of the file that holds the function, but not of those it calls into.
    """
    function.__qualname__ += f"_{_DIGEST}"
    return function


def compiled(decorator: Any, *signature: Any, **options: Any) -> Callable[[_Function], Any]:
    """Compile by a decorator of numba, with its cache on disk where that can be written.

    Numba raises if it finds no folder for the cache, or cannot write there; the function is then
    compiled in memory.
    """

    def compile_(function: _Function) -> Any:
        function = entry_point(function)
        try:
            return decorator(*signature, cache=True, **options)(function)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError):
            return decorator(*signature, **options)(function)

    return compile_


def _pointer_to(element: types.Type) -> Any:
    """An intrinsic that makes a typed pointer of an address; indexing it checks no bounds."""

    @_intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


float32s: Any = _pointer_to(types.float32)
int32s: Any = _pointer_to(types.int32)
int64s: Any = _pointer_to(types.int64)


@_intrinsic
def prefetch(context: Any, address: Any) -> Any:
    """Prefetch the cache line at ``address``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, keep, data = ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)
        builder.call(function, [builder.inttoptr(args[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


# --- vectors --------------------------------------------------------------------------------------

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


@_intrinsic
def read(context: Any, address: Any, like: Any) -> Any:
    """Read the float32 at ``address``, or the vector that starts there: of the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=4)

    return like(types.int64, like), generate


@_intrinsic
def write(context: Any, address: Any, value: Any) -> Any:
    """Write a float32 or a vector to ``address``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


@_intrinsic
def spread(context: Any, number: Any, like: Any) -> Any:
    """Return ``number``, or a vector of copies of it: of the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.return_type is not vector:
            return args[0]
        undefined, first = ir.Constant(_FLOATS, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(undefined, args[0], first)
        return builder.shuffle_vector(one, undefined, ir.Constant(_PLACES, [0] * LANES))

    return like(types.float32, like), generate


@_intrinsic
def zeros(context: Any) -> Any:
    """Return a vector of zeros."""
    return vector(), lambda c, builder, s, args: ir.Constant(_FLOATS, [0.0] * LANES)


def _define(operation: Any, instruction: str) -> None:
    """Compile Python's ``operation`` on two vectors to an LLVM instruction."""

    @lower_builtin(operation, vector, vector)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)

    class Operation(ConcreteTemplate):
        cases: ClassVar[list[Any]] = [signature(vector, vector, vector)]

    infer_global(operation)(Operation)


_define(operator.add, "fadd")
_define(operator.mul, "fmul")
