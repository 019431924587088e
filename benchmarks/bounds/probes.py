"""Compiles probe.cpp, and hands its functions the tensors of a layer."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import binding
from torch import Tensor

from memcom.kernels.cpu.threads import launch, num_threads
from memcom.profiling import draw_ids

LINE = 64  # bytes of a cache line
WIDTH = 64  # of the vectors
_SOURCE = Path(__file__).with_name("probe.cpp")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")


class NoCompiler(RuntimeError):
    """Raised where there is no C++ compiler."""


def compile_probes() -> ctypes.CDLL:
    """Compile probe.cpp for this machine, in a temporary folder that is gone when it is loaded.

    Raises:
        NoCompiler: There is no g++.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise NoCompiler("the probes are compiled by g++, which is not on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "probe.so"
        subprocess.run([compiler, *_FLAGS, str(_SOURCE), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


class Access(NamedTuple):
    """Pieces that an id reads: ``pieces`` of ``size`` bytes, at multiples of ``step`` bytes."""

    pieces: float
    size: int
    step: int

    @property
    def lines(self) -> float:
        """Cache lines that the pieces lie in, on average."""
        return self.pieces * (1 + (self.size - self.step) / LINE)


class Probe:
    """A layer's lookup, written by hand.

    It runs on torch's own threads, as the layer's kernels do.

    Args:
        library: From `compile_probes`.
        layer: Of width 64, frozen, with float32 tables on the CPU.
        method: One of `METHODS`, or ``"full"`` for a `torch.nn.Embedding`.

    Attributes:
        bytes: Read per id: its own 8, and tables.
        lines: Cache lines of tables that an id reads.
        exact: False if numbers are added in another order than in the layer.
    """

    def __init__(self, library: ctypes.CDLL, layer: Any, method: str) -> None:
        steps, arguments, accesses = _PROBES[method](layer)
        self._functions = Functions(library, steps, arguments)
        self.bytes = 8 + sum(access.pieces * access.size for access in accesses)
        self.lines = sum(access.lines for access in accesses)
        self.exact = method not in ("mixed-dim", "path", "tt")

    def __call__(self, ids: Tensor) -> Tensor:
        """Look up int64 ``ids`` of shape ``(n,)``, which nothing checks: float32 ``(n, 64)``."""
        out = torch.empty(len(ids), WIDTH)
        self._functions(ids, out)
        return out


class Functions:
    """Functions of probe.cpp, to be run one after the other on torch's threads.

    Args:
        library: From `compile_probes`.
        steps: Names, each with True for all threads, False for one.
        arguments: Up to 12 contiguous tensors and numbers, which the functions list.
    """

    def __init__(
        self, library: ctypes.CDLL, steps: Sequence[tuple[str, bool]], arguments: Sequence[Any]
    ) -> None:
        self._functions = [(_address(getattr(library, name)), many) for name, many in steps]
        self._kept = [a.detach() if isinstance(a, Tensor) else a for a in arguments]
        numbers = [a.data_ptr() if isinstance(a, Tensor) else a for a in self._kept]
        self._numbers = numbers + [0] * (12 - len(numbers))

    def __call__(self, ids: Tensor, out: Tensor) -> None:
        """Run them on int64 ``ids`` ``(n,)``, which nothing checks, and float32 ``(n, 64)``."""
        for function, many in self._functions:
            threads = num_threads() if many else 1
            head = [threads, *_TEAM, len(ids), ids.data_ptr(), out.data_ptr()]
            launch(function, np.array(head + self._numbers, np.int64).ctypes.data)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


_TEAM = [binding.address_of_symbol(f"memcom_omp_get_{n}") for n in ("thread_num", "num_threads")]

# --- what each probe is given, and what it reads --------------------------------------------------

_Found = tuple[list[tuple[str, bool]], Sequence[Any], list[Access]]


def _only(name: str) -> list[tuple[str, bool]]:
    """One function, on all threads."""
    return [(name, True)]


def _rows(pieces: float, numbers: int) -> Access:
    """Rows of float32, which start where their size says."""
    return Access(pieces, 4 * numbers, math.gcd(4 * numbers, LINE))


def _full(layer: Any) -> _Found:
    return _only("full"), [layer.weight], [_rows(1, WIDTH)]


def _memcom(layer: Any) -> _Found:
    _require(layer.bias is None, "multipliers alone")
    arguments = [layer.table, layer.num_buckets, layer.multiplier]
    return _only("memcom"), arguments, [_rows(1, WIDTH), Access(1, 4, 4)]


def _qr(layer: Any) -> _Found:
    divisor = len(layer.remainder)
    _require(layer.operation == "mult", "products")
    return _only("qr"), [layer.remainder, layer.quotient, divisor], [_rows(2, WIDTH)]


def _bloom(layer: Any) -> _Found:
    _require(layer.num_hashes == 4, "4 hashes")
    return (
        _only("bloom"),
        [layer.table, layer.num_buckets, layer.seeds],
        [_rows(4, WIDTH)],
    )


def _robe(layer: Any) -> _Found:
    _require(layer.chunk_size == 8 and not layer.signs, "runs of 8 cells without signs")
    arguments = [layer.memory, layer.memory_size, layer.seeds]
    return _only("robe"), arguments, [Access(8, 32, 4)]


def _cce(layer: Any) -> _Found:
    _require(layer.num_columns == 4, "4 columns")
    bits = (layer.num_buckets - 1).bit_length()
    arguments = [layer.centres, layer.residuals, layer.num_buckets, layer.seeds]
    arguments += [layer.map, len(layer.map), bits]
    return _only("cce"), arguments, [_rows(8, 16), Access(1, -(-4 * bits // 8), 1)]


def _dpq(layer: Any) -> _Found:
    tiers = [codewords for _, codewords in layer.tiers]
    _require((layer.num_groups, tiers) == (16, [128]), "16 codes of 7 bits")
    codes = layer.codes.get_buffer("0")
    arguments = [layer.values, layer.num_codewords, codes, len(codes)]
    return _only("dpq"), arguments, [_rows(16, 4), Access(1, 14, 2)]


def _mgqe(layer: Any) -> _Found:
    tiers = [codewords for _, codewords in layer.tiers]
    _require((layer.num_groups, tiers) == (32, [32, 8]), "32 codes of 5 or 3 bits")
    often, rarely = (layer.codes.get_buffer(tier) for tier in "01")
    frequent = layer.tiers[0][0]
    arguments = [layer.values, layer.num_codewords, often, len(often), rarely, len(rarely)]
    # Frequent ids, the first tenth, are most of those that are looked up.
    return _only("mgqe"), [*arguments, frequent], [_rows(32, 2), Access(1, 20, 4)]


def _lma(layer: Any) -> _Found:
    return _only("lma"), lma_arguments(layer), [Access(WIDTH, 4, 4), Access(1, 8, 8)]


def lma_arguments(layer: Any) -> list[Any]:
    """Return what the functions of LMA in probe.cpp are given."""
    _require((layer.num_keys, layer.num_picks) == (8, 4), "4 picks of 8 keys")
    starts = [run.start for run in layer.reading().reads]
    seeds = torch.stack([start.seed.value() for start in starts])
    picks = torch.tensor([start.picks for start in starts])
    return [layer.memory, layer.memory_size, layer.signatures, picks, seeds]


def _jagged(layer: Any) -> _Found:
    return _only("jagged"), _ends(layer), [_rows_of(layer), _start(layer)]


def _csr(layer: Any) -> _Found:
    places = layer.reading().places
    _require(layer.chunk_dim in (1, 4) and places.bits <= 14, "pieces of 1 or 4 numbers")
    listed = Access(1, math.ceil(_pieces(layer) * places.bits / 8), 1)
    arguments = [*_ends(layer), places.packed, len(places.packed), places.bits]
    function = "csr" if layer.chunk_dim == 1 else "csr_of_four"
    return _only(function), arguments, [_rows_of(layer), _start(layer), listed]


def _ends(layer: Any) -> list[Any]:
    """Arguments of rows of different lengths: values, and where each row starts."""
    starts = layer.reading().starts
    _require(starts.bits <= 28, "starts of at most 28 bits")
    return [layer.values, len(layer.values), starts.packed, len(starts.packed), starts.bits]


def _rows_of(layer: Any) -> Access:
    """A row of the average length of those that are looked up, the frequent ones more often."""
    return Access(1, 4 * round(_pieces(layer) * layer.values.shape[1]), 4)


def _pieces(layer: Any) -> float:
    starts, ids = layer.reading().starts, draw_ids("zipf", layer.num_embeddings, 2**16)
    return float((starts(ids + 1) - starts(ids)).float().mean())


def _start(layer: Any) -> Access:
    """Two numbers, packed: where a row starts, and where the next one does."""
    return Access(1, math.ceil(2 * layer.reading().starts.bits / 8), 1)


def _mixed_dim(layer: Any) -> _Found:
    matrices = [layer.projections[str(f)] for f in range(len(layer.blocks))]
    pointers = [torch.tensor([t.data_ptr() for t in group]) for group in (layer.tables, matrices)]
    lists = [torch.tensor(layer.starts), torch.tensor(layer.widths), *pointers]
    widths = sorted(layer.widths)
    # Each range is looked up about equally often; its matrix stays in the cache.
    accesses = [Access(1 / len(widths), 4 * width, 4) for width in widths]
    return _only("mixed_dim"), [len(widths), *lists, *matrices], accesses


def _path(layer: Any) -> _Found:
    _require(len(layer.radices) == 2 and layer.hidden_dim is None, "one linear map")
    rows, classes = layer.radices
    arguments = [layer.table, rows, layer.transforms[0], classes]
    return _only("path"), arguments, [_rows(1, WIDTH), _rows(1, WIDTH * WIDTH)]


def _tt(layer: Any) -> _Found:
    _require(layer.dim_factors == [4, 4, 4], "factors 4, 4 and 4")
    (_, m2, m3), rank = layer.row_factors, layer.rank
    marks = torch.empty(m2 * m3, dtype=torch.uint8)
    tails = torch.empty(m2 * m3, rank * 16)
    steps = [("tt_marks", False), ("tt_tails", True), ("tt", True)]
    arguments = [*layer.cores, *layer.row_factors, rank, marks, tails]
    return steps, arguments, [_rows(1, 4 * rank), _rows(1, 16 * rank)]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"the probe is written for {what}")


_PROBES: dict[str, Callable[[Any], _Found]] = {
    "full": _full,
    "memcom": _memcom,
    "qr": _qr,
    "bloom": _bloom,
    "robe": _robe,
    "cce": _cce,
    "dpq": _dpq,
    "mgqe": _mgqe,
    "lma": _lma,
    "jagged": _jagged,
    "csr": _csr,
    "fiited": _csr,
    "mixed-dim": _mixed_dim,
    "path": _path,
    "tt": _tt,
}
METHODS = tuple(name for name in _PROBES if name != "full")
