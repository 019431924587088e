"""Pointers made of addresses, prefetching, and vectors of sixteen float32, which numba lacks.

Kernels read and write tensors through raw addresses, so a call converts nothing.

A loop over single numbers is vectorised only behind checks that the rows do not overlap and that
enough numbers are left; for short rows these cost more than the row. Loops over vectors state how
many numbers they read before they write. They are written once and compiled twice, for `LANES`
numbers and, for the rest of a row, for single ones: `read` returns the type of its second argument.

With ``MEMCOM_CHECK_KERNELS=1`` in the environment kernels are compiled in a slow, checked mode, to
find mistakes in kernels and in the programs they run: pointers know how many numbers they may
reach, `row_address` where its table ends, and arrays their bounds. A kernel that would leave them
stops before it does, and `memcom.kernels.cpu.threads.launch` raises RuntimeError.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import platform
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import llvmlite
import numba
import numpy as np
from llvmlite import binding, ir
from numba import carray, cfunc, config, types
from numba import njit as numba_njit
from numba.core import caching
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, register_model

LANES = 16  # numbers in a vector
BYTES = 4 * LANES  # bytes of a vector: a cache line
CHECKED = os.environ.get("MEMCOM_CHECK_KERNELS") == "1"
OUTSIDE = -1  # what a task's number of threads becomes if a kernel would have left its memory

_config: Any = config  # read by numba at each compilation
if CHECKED:
    _config.BOUNDSCHECK = 1

# No entry for C; a division by zero gives infinity, not an exception.
_OPTIONS: dict[str, Any] = {} if CHECKED else {"no_cfunc_wrapper": True, "error_model": "numpy"}

_intrinsic: Any = intrinsic  # its own type is wrong for mypy
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _digest() -> str:
    """Fingerprint of the source of all compiled kernels."""
    folder = Path(__file__).parent
    sources = [
        folder.parent / "program.py",
        folder.parent / "assembly.py",
        *sorted(folder.glob("*.py")),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def _key() -> str:
    """Fingerprint of all that the compiled kernels depend on: sources, versions and processor."""
    # Older versions of numba look at the time of a source, too.
    sources = Path(__file__).parent.glob("*.py")
    times = sorted((path.name, path.stat().st_mtime) for path in sources)
    processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    versions = platform.python_version(), numba.__version__, llvmlite.__version__
    parts = DIGEST, times, processor, versions
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


DIGEST = _digest()
KEY = _key()


def entry_point(function: _Function) -> _Function:
    """Put the kernels' fingerprint into the name under which numba caches a function on disk.

    Numba notices a change of the file that holds the function, but not of those it calls into.
    """
    function.__qualname__ += f"_{DIGEST}"
    return function


def njit(function: Any = None, **options: Any) -> Any:
    """Compile a function that only kernels call.

    It has no entry for Python, which is a fifth of compiling it, and a call from there raises
    TypeError: numba would jump to address 0. `compiled` gives an entry to those it compiles.

    Numba compiles a function once more for a literal argument: pass np.int64(0) rather than 0.
    """
    if function is None:
        return functools.partial(njit, **options)
    _tell_apart(function)
    if CHECKED:
        return numba_njit(**options)(function)
    made = numba_njit(**{"no_cpython_wrapper": True, **_OPTIONS, **options})(function)

    def refuse(*_: Any, **__: Any) -> None:
        raise TypeError(f"{function.__name__} has no entry for Python: only kernels call it")

    # What Python calls is looked up among the insertions, and compiled where it is not found.
    made._insert, made._compile_for_args = lambda *_: None, refuse
    return made


_made: Counter[tuple[str, str]] = Counter()


def _tell_apart(function: Any) -> None:
    """Number the functions that a factory makes under one name, in the order of their making.

    A symbol in compiled code is named by the function, its types, and a counter of the process that
    compiles. Two files of the cache come from two processes, perhaps: with equal names, a symbol of
    one file could stand for another function in the other.
    """
    name = function.__module__, function.__qualname__
    function.__qualname__ += f"_{_made[name]}"
    _made[name] += 1


def compiled(decorator: Any, *signature: Any, **options: Any) -> Callable[[_Function], Any]:
    """Compile by a decorator of numba, with its cache on disk where that can be written.

    Numba raises if it finds no folder for the cache, cannot write there, or finds it damaged; the
    function is then compiled in memory, with a warning at the first one. In the checked mode all
    are.
    """
    made_by = decorator
    if decorator is njit:
        made_by, options = numba_njit, {**_OPTIONS, **options}

    def compile_(function: _Function) -> Any:
        function = entry_point(function)
        if CHECKED and decorator is cfunc:
            function = _guarded(function)
        try:
            return made_by(*signature, cache=not CHECKED, **options)(function)
        except Exception as error:  # bytes that are no pickle raise almost anything
            _warn_once(f"{type(error).__name__}: {error}")
            return made_by(*signature, **options)(function)

    return compile_


def or_read(locator: Any) -> Any:
    """Return a locator of numba that takes a folder of these kernels although it cannot be written.

    An image of a container may bring them along. Numba itself passes over such a folder.
    """

    class OrRead(locator):
        @classmethod
        def from_function(cls, function: Any, file: str) -> Any:
            found = super().from_function(function, file)
            if found is None and Path(file).parent == Path(__file__).parent:
                found = cls(function, file)
                # As `memcom.kernels.loading.stamp`, which imports this module.
                stamp = Path(found.get_cache_path(), f"memcom_{KEY}_autograd.json")
                if not stamp.is_absolute() or not stamp.exists():
                    return None
            return found

    return OrRead


# The first is for NUMBA_CACHE_DIR, the second for folders beside the source.
_locators: list[Any] = getattr(caching.CompileResultCacheImpl, "_locator_classes", [])
_locators[:2] = map(or_read, _locators[:2])


def cache_folder() -> Path | None:
    """Return the folder of the kernels' cache on disk; None if numba can keep them nowhere."""
    if CHECKED:
        return None
    try:
        # That of any function in this folder.
        return Path(str(numba_njit(cache=True)(entry_point).stats.cache_path))
    except RuntimeError:
        return None


def _guarded(function: _Function) -> _Function:
    """Return a task's function that notes an exception in the task: C functions raise none."""
    run = njit(function)

    @functools.wraps(function)
    def guarded(address: int) -> None:
        try:
            run(address)
        except Exception:
            int64s(address, 1)[0] = OUTSIDE

    del guarded.__wrapped__  # numba would compile the function that it names
    return cast(_Function, guarded)


uncached: list[str] = []  # why kernels of this process are not in the cache on disk


def _warn_once(why: str) -> None:
    """Say that compiling takes its time again in the next process, and what helps."""
    if not uncached:
        warnings.warn(
            "compiled lookups cannot be cached on disk, so each process compiles them, in half a "
            f"minute; NUMBA_CACHE_DIR names a folder that can be written ({why})",
            RuntimeWarning,
            stacklevel=2,
        )
    uncached.append(why)


@njit(forceinline=True)
def address_of(array: Any) -> Any:
    """Address of an array's first number: an int64, for which all kernels are compiled."""
    return np.int64(array.ctypes.data)


# --- pointers -------------------------------------------------------------------------------------


def _pointer_to(element: types.Type) -> Any:
    """Compile ``pointer(address, count)``: ``count`` numbers, to be indexed.

    Nothing checks the index; in the checked mode the pointer is an array, which does. The second
    function makes an array of any shape.
    """

    @_intrinsic
    def pointer(context: Any, address: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64, types.int64), generate

    @njit(forceinline=True)
    def array(address: int, shape: Any) -> Any:
        return carray(pointer(address, 0), shape)

    @njit
    def checked(address: int, count: int) -> Any:
        return carray(pointer(address, count), (count,))

    return (checked if CHECKED else pointer), array


float32s, float32_array = _pointer_to(types.float32)
int32s, _ = _pointer_to(types.int32)
int64s, int64_array = _pointer_to(types.int64)


def _row_address(table: int, row: int, size: int, end: int) -> int:
    """Return the address of a row of ``size`` bytes; every kernel turns row numbers so.

    In the checked mode a row outside the memory from ``table`` to ``end`` raises IndexError.
    """
    return table + row * size


def _checked_row_address(table: int, row: int, size: int, end: int) -> int:
    if row < 0 or table + (row + 1) * size > end:
        raise IndexError("a row outside its table")
    return table + row * size


row_address: Any = njit(forceinline=True)(_checked_row_address if CHECKED else _row_address)


@_intrinsic
def prefetch(context: Any, address: Any) -> Any:
    """Prefetch the cache line at an address, to read it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        to_read, keep, data = (ir.Constant(word, number) for number in (0, 3, 1))
        builder.call(function, [builder.inttoptr(args[0], byte), to_read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


# --- vectors --------------------------------------------------------------------------------------


class Vector(types.Type):
    """Numba's type of a vector of float32."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"float32x{lanes}")


block, vector, octet, quad, pair = map(Vector, (4 * LANES, LANES, 8, 4, 2))


def several(kind: Any, like: Any) -> Any:
    """The LLVM type of one ``kind``, or of a vector of them: as many as ``like`` holds."""
    return ir.VectorType(kind, like.lanes) if isinstance(like, Vector) else kind


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, several(ir.FloatType(), kind))


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


def copies(builder: Any, number: Any, like: Any) -> Any:
    """Instructions for ``number``, or a vector of copies of it: of the type of ``like``."""
    if not isinstance(like, Vector):
        return number
    kind = several(number.type, like)
    undefined, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(undefined, number, first)
    places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, undefined, places)


@_intrinsic
def spread(context: Any, number: Any, like: Any) -> Any:
    """Return ``number``, or a vector of copies of it: of the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return copies(builder, args[0], like)

    return like(types.float32, like), generate


@_intrinsic
def first_of(context: Any, vector: Any, count: Any) -> Any:
    """Return the first ``count`` numbers of a vector, and zeros after them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        numbers = ir.Constant(ir.VectorType(word, vector.lanes), list(range(vector.lanes)))
        own = builder.icmp_signed(
            "<", numbers, copies(builder, builder.trunc(args[1], word), vector)
        )
        return builder.select(own, args[0], ir.Constant(args[0].type, [0.0] * vector.lanes))

    return vector(vector, types.int64), generate


def _zeros(kind: Vector) -> Any:
    """An intrinsic that makes a vector of zeros."""

    @_intrinsic
    def zeros(context: Any) -> Any:
        constant = ir.Constant(several(ir.FloatType(), kind), [0.0] * kind.lanes)
        return kind(), lambda c, builder, s, args: constant

    return zeros


block_zeros, zeros, eight_zeros, four_zeros, two_zeros = map(
    _zeros, (block, vector, octet, quad, pair)
)


def _define(operation: Any, instruction: str, *kinds: Vector) -> None:
    """Compile Python's ``operation`` on two vectors to an LLVM instruction."""

    class Operation(ConcreteTemplate):
        cases: ClassVar[list[Any]] = [signature(kind, kind, kind) for kind in kinds]

    for kind in kinds:

        @lower_builtin(operation, kind, kind)
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

    infer_global(operation)(Operation)


_define(operator.add, "fadd", block, vector, octet, quad, pair)
_define(operator.mul, "fmul", block, vector, quad)
_define(operator.truediv, "fdiv", vector)
