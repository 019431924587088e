"""torch's own OpenMP threads, for the compiled kernels.

``torch.set_num_threads`` holds for both, and no second pool competes for the cores. Work is divided
by thread number, not by who is free first: a core writes the same part of an output call after
call, and finds it in its cache.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from memcom.kernels.cpu.native import CHECKED, OUTSIDE, compiled, int64s, njit

_SYMBOLS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
_NOTHING = ctypes.CFUNCTYPE(ctypes.c_int)(int)
_word, _int = types.int64, types.int32


def _openmp() -> bool:
    """Make the OpenMP functions of torch's runtime known to the compiler; False if it has none.

    Without them no kernel asks for more than one thread, so the stand-ins are never called.
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


_HAVE_OPENMP = _openmp()
_kinds = types.void(_word, _word, _int, _int), _int(), _int()
_functions: Any = [
    types.ExternalFunction(f"memcom_{symbol}", kind)
    for symbol, kind in zip(_SYMBOLS, _kinds, strict=True)
]
_parallel, _thread_number, _team_size = _functions


def num_threads() -> int:
    """Return the number of threads `launch` can use: torch's, or 1 without its OpenMP."""
    return torch.get_num_threads() if _HAVE_OPENMP else 1


def _call_one(context: Any, function: Any, task: Any) -> Any:
    """Call the C function at an address with one int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


_call: Any = intrinsic(_call_one)


@compiled(njit, types.void(_word, _word), nogil=True)
def launch(function: int, task: int) -> None:
    """Call the C function at an address with the address of a task, on all its threads, and wait.

    A task is an array of int64, the number of threads first. The function finds its part of the
    work with `member`.
    """
    threads = int64s(task, 1)[0]
    if threads > 1:
        _parallel(function, task, threads, 0)
    else:
        _call(function, task)
    if CHECKED and int64s(task, 1)[0] == OUTSIDE:
        raise RuntimeError("a kernel would have left its memory: an array, a table or a program")


def run_task(function: Any, task: Any) -> None:
    """Launch a numba C function with a task that is a NumPy array."""
    launch(function.address, task.ctypes.data)


@njit
def member(threads: int) -> Any:
    """Number of this thread, and size of the team: it may be smaller than ``threads``."""
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
    """Start and end of this thread's part of ``count`` lists, list k from ``begins[k]`` on.

    Parts are even in the number of lists plus their lengths; ``begins[count]`` is the total.
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
