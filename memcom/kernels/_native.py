"""Raw memory, for the compiled kernels.

They read and write tensors through their addresses, so that a call costs one machine call and no
conversion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _digest() -> str:
    """Fingerprint of the source of all kernels."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


_DIGEST = _digest()


def entry_point(function: _Function) -> _Function:
    """Mark a function that numba compiles and keeps on disk.

    Numba notices a change of the file the function is in, but not of those it calls into; so its
    name on disk says which source of all kernels it was compiled from.
    """
    function.__qualname__ += f"_{_DIGEST}"
    return function


def _pointer_to(element: types.Type) -> Any:
    """An intrinsic that makes a typed pointer of an address; indexing it checks no bounds."""

    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


float32s: Any = _pointer_to(types.float32)
int32s: Any = _pointer_to(types.int32)
int64s: Any = _pointer_to(types.int64)


def _prefetch(context: Any, address: Any) -> Any:
    """Ask for the cache line at ``address``, to be read soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, keep, data = ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)
        builder.call(function, [builder.inttoptr(args[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


prefetch: Any = intrinsic(_prefetch)
