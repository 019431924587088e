"""torch's own OpenMP threads, for the compiled kernels.

``torch.set_num_threads`` holds for both, and no second pool fights for the cores. Work is shared
out by the number of a thread, never by who comes first: the same core then writes the same part of
an output call after call, and finds it in its cache.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import njit, types
from numba.extending import intrinsic

from memcom.kernels._native import entry_point, int64s

_SYMBOLS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def _openmp() -> bool:
    """Make the functions of the OpenMP runtime that torch uses known to the compiler.

    Returns:
        Whether it has them. Without them no kernel asks for more than one thread, so that what
        then bears their names is never called.
    """
    folder = Path(torch.__file__).parent / "lib"
    name = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(
        sys.platform, "libtorch_cpu.so"
    )
    try:
        library = ctypes.CDLL(str(folder / name))
        functions = [getattr(library, symbol) for symbol in _SYMBOLS]
    except (OSError, AttributeError):
        functions = [_NOTHING] * len(_SYMBOLS)
    for symbol, function in zip(_SYMBOLS, functions, strict=True):
        address = ctypes.cast(function, ctypes.c_void_p).value
        binding.add_symbol(f"memcom_{symbol}", address)
    return _NOTHING not in functions


_NOTHING = ctypes.CFUNCTYPE(ctypes.c_int)(int)
_HAVE_OPENMP = _openmp()
_word, _int = types.int64, types.int32
_kinds = types.void(_word, _word, _int, _int), _int(), _int()
_functions: Any = [
    types.ExternalFunction(f"memcom_{symbol}", kind)
    for symbol, kind in zip(_SYMBOLS, _kinds, strict=True)
]
_parallel, _thread_number, _team_size = _functions


def num_threads() -> int:
    """Threads that `launch` can use now: torch's, or one where they cannot be borrowed."""
    return torch.get_num_threads() if _HAVE_OPENMP else 1


def _call(context: Any, function: Any, task: Any) -> Any:
    """Call the C function at an address with one int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


_call_one: Any = intrinsic(_call)


@njit(types.void(types.int64, types.int64), nogil=True, cache=True)
@entry_point
def launch(function: int, task: int) -> None:
    """Call a C function with the address of a task, on all threads it asks for, and wait.

    Args:
        function: Address of the function. It finds its part of the work with `member`.
        task: Address of int64 fields, of which the first is the number of threads.
    """
    threads = int64s(task)[0]
    if threads > 1:
        _parallel(function, task, threads, 0)
    else:
        _call_one(function, task)


def run(function: Any, task: Any) -> None:
    """`launch` a numba C function with a task that is a NumPy array."""
    launch(function.address, task.ctypes.data)


@njit
def member(threads: int) -> Any:
    """Which thread this is, and of how many; they may be fewer than the ``threads`` asked for."""
    if threads > 1:
        return np.int64(_thread_number()), np.int64(_team_size())
    return np.int64(0), np.int64(1)


@njit
def part_of(count: int, threads: int) -> Any:
    """Start and end of this thread's part of ``count`` pieces of work."""
    number, team = member(threads)
    return count * number // team, count * (number + 1) // team


@njit
def part_by_length(begins: Any, count: int, threads: int) -> Any:
    """Start and end of this thread's part of ``count`` lists.

    Args:
        begins: Where each list begins, and where the last one ends, from 0. A thread's part is
            even in the sum of the lists' number and their lengths.
        count: How many lists.
        threads: As for `member`.
    """
    number, team = member(threads)
    work = begins[count] + count
    return (
        _reached(begins, count, work * number // team),
        _reached(begins, count, work * (number + 1) // team),
    )


@njit
def _reached(begins: Any, count: int, work: int) -> Any:
    low, high = np.int64(0), np.int64(count)
    while low < high:
        middle = (low + high) // 2
        if begins[middle] + middle < work:
            low = middle + 1
        else:
            high = middle
    return low
