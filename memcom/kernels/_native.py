"""Raw memory and torch's own threads, for the compiled kernels.

The kernels read and write tensors through their addresses, so that a call costs one machine call
and no conversion. To run on several cores they borrow the OpenMP threads that torch runs its own
kernels on: ``torch.set_num_threads`` holds for both, and no second pool fights for the cores.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
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


def _take_next(context: Any, address: Any) -> Any:
    """Read the int64 at ``address`` and add one to it, as one step for all threads."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        pointer = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(word, 1), "monotonic")

    return types.int64(types.int64), generate


prefetch: Any = intrinsic(_prefetch)
take_next: Any = intrinsic(_take_next)


def _openmp() -> Any:
    """``GOMP_parallel`` of the OpenMP runtime that torch itself uses, or None if it has none."""
    folder = Path(torch.__file__).parent / "lib"
    name = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(
        sys.platform, "libtorch_cpu.so"
    )
    try:
        launch = ctypes.CDLL(str(folder / name)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    launch.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    launch.restype = None
    return launch


_LAUNCH = _openmp()


def num_threads() -> int:
    """Threads that `run` would use now: torch's, or one where they cannot be borrowed."""
    return torch.get_num_threads() if _LAUNCH is not None else 1


def run(function: Any, task: int, threads: int) -> None:
    """Call the numba C function ``function(task)`` on so many threads at once, and wait.

    The function takes its share of the work from the task itself, with `take_next`, so that any
    number of threads finishes it. The interpreter lock is free meanwhile.
    """
    if threads > 1 and _LAUNCH is not None:
        _LAUNCH(function.address, task, threads, 0)
    else:
        function.ctypes(task)
