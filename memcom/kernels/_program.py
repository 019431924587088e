"""A recipe as numbers: what the compiled kernels read instead of Python objects.

A program is a small int64 array: a head, then one entry per row that an id reads, in this order

    rows      wide rows, to be summed, multiplied or put side by side
    weights   at most one entry: one number per wide row
    scales    numbers that multiply the product
    shifts    numbers that are added to every coordinate

so that one kernel, compiled once, serves every recipe of every size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memcom.addresses import MAX_NUM_EMBEDDINGS, Address, Clamp, Digit
from memcom.kernels._lookup import Read, Recipe

FIELDS = 8
# The head, entry 0.
ROWS, WEIGHTS, SCALES, SHIFTS, FUSION, WIDTH, LIMIT, PADDING = range(FIELDS)
# Any other entry. `SEED` is the address of the seed, or 0; `STRIDE` may be `CLAMP`.
TABLE, COLUMNS, DIVISOR, MODULUS, STRIDE, SEED, OFFSET, NUMBER = range(FIELDS)
CLAMP = -1
SUM, MULT, CONCAT = range(3)
_FUSION = {"sum": SUM, "mult": MULT, "concat": CONCAT}
CPU = torch.device("cpu")


class Program(NamedTuple):
    """A recipe made ready for the kernels.

    Attributes:
        code: The int64 array described above.
        address: Where it lies in memory.
        width: Coordinates of a vector.
        tables: The different tables, in the order of the ``NUMBER`` of an entry.
        seeds: Tensors that hold the seeds; kept alive here.
        reads: How often each table is read for an id.
    """

    code: NDArray[np.int64]
    address: int
    width: int
    tables: tuple[Tensor, ...]
    seeds: tuple[Tensor, ...]
    reads: tuple[int, ...]


def obstacle(recipe: Recipe, device: torch.device = CPU) -> str:
    """Why the kernels for a device cannot carry out ``recipe``, or ``""`` if they can."""
    first = recipe.reads[0]
    dtypes = (torch.float32,) if device == CPU else (torch.float32, torch.bfloat16)
    for read in all_reads(recipe):
        table = read.table
        if type(table) not in (Tensor, torch.nn.Parameter):
            return f"{read.name} is a {type(table).__name__}, not a plain tensor"
        if table.device != device:
            return f"{read.name} is on {table.device}, not on {_name(device)}"
        if table.dtype not in dtypes:
            return f"{read.name} is {table.dtype}, not one of {dtypes}"
        if table.dtype != first.table.dtype:
            return f"{read.name} is {table.dtype}, and {first.name} is {first.table.dtype}"
        if table.ndim != 2 or not table.is_contiguous():
            return f"{read.name} is not a contiguous matrix"
        if not isinstance(read.address, (Digit, Clamp)):
            return f"{read.name} is not addressed by a Digit or a Clamp"
        if isinstance(read.address, Digit) and read.address.seed is not None:
            seed = read.address.seed
            if seed.device != device or seed.dtype != torch.int64 or seed.numel() != 1:
                return f"the seed of {read.name} is not one int64 on {_name(device)}"
        if table.shape[0] < rows_addressed(read.address):
            return f"{read.name} has fewer rows than its address says"
    widths = {read.table.shape[1] for read in recipe.reads}
    if recipe.fusion != "concat" and len(widths - {1}) > 1:
        return f"rows of widths {sorted(widths)} cannot be fused"
    if recipe.weights is not None and recipe.weights.table.shape[1] != len(recipe.reads):
        return "there is not one weight per row"
    if recipe.weights is not None and recipe.fusion != "concat" and len(widths) > 1:
        return "weighted rows of different widths"
    if recipe.shift is not None and recipe.shift.table.shape[1] != 1:
        return "the shift is not a single number"
    if {id(r.table) for r in _numbers(recipe)} & {id(r.table) for r in recipe.reads}:
        return "one table is read both as rows and as numbers"
    return ""


def _name(device: torch.device) -> str:
    return "the CPU" if device == CPU else str(device)


def _numbers(recipe: Recipe) -> list[Read]:
    return [read for read in (recipe.weights, recipe.shift) if read is not None]


def rows_addressed(address: Address) -> int:
    """Number of rows that a Digit or Clamp can reach."""
    if isinstance(address, Clamp):
        return address.last + 1
    assert isinstance(address, Digit)
    return address.modulus


def all_reads(recipe: Recipe) -> list[Read]:
    """Every read of the recipe: rows, then weights, then shift."""
    return [r for r in (*recipe.reads, recipe.weights, recipe.shift) if r is not None]


class Layout(NamedTuple):
    """A program before it is tied to tensors in memory.

    Attributes:
        code: The entries, head first; ``TABLE`` is 0 and ``SEED`` is 0 or 1 + the seed's number.
        tables: The different tables, in the order of the ``NUMBER`` of an entry.
        seeds: The seeds, 0-d int64 tensors.
    """

    code: list[list[int]]
    tables: list[Tensor]
    seeds: list[Tensor]


def layout(
    recipe: Recipe, num_embeddings: int = MAX_NUM_EMBEDDINGS, padding_idx: int | None = None
) -> Layout:
    """The program of a recipe that has no `obstacle`.

    Args:
        recipe: What to read and how to fuse it.
        num_embeddings: One more than the largest id that is to be accepted.
        padding_idx: The id whose vector is zero.
    """
    concat = recipe.fusion == "concat"
    widths = [read.table.shape[1] for read in recipe.reads]
    width = sum(widths) if concat else max(widths)
    rows = [r for r, w in zip(recipe.reads, widths, strict=True) if concat or w == width]
    narrow = [] if concat else [r for r, w in zip(recipe.reads, widths, strict=True) if w < width]
    weights = [] if recipe.weights is None else [recipe.weights]
    scales = narrow if recipe.fusion == "mult" else []
    shifts = narrow if recipe.fusion == "sum" else []
    shifts = shifts + ([] if recipe.shift is None else [recipe.shift])
    counts = [len(rows), len(weights), len(scales), len(shifts)]
    padding = -1 if padding_idx is None else padding_idx
    program = Layout([[*counts, _FUSION[recipe.fusion], width, num_embeddings, padding]], [], [])
    offset = 0
    for read in (*rows, *weights, *scales, *shifts):
        columns, digit, seed = read.table.shape[1], read.address, 0
        same = [k for k, table in enumerate(program.tables) if table is read.table]
        number = same[0] if same else len(program.tables)
        if not same:
            program.tables.append(read.table)
        if isinstance(digit, Digit):
            place = (digit.divisor, digit.modulus, digit.stride)
            if digit.seed is not None:
                program.seeds.append(digit.seed)
                seed = len(program.seeds)
        else:
            place = (1, rows_addressed(digit), CLAMP)
        program.code.append([0, columns, *place, seed, offset, number])
        offset += columns if concat else 0
    return program


def bind(plan: Layout) -> Program:
    """The program for tensors where they lie in memory now."""
    code = np.array(plan.code, dtype=np.int64)
    for entry in code[1:]:
        entry[TABLE] = plan.tables[entry[NUMBER]].data_ptr()
        if entry[SEED]:
            entry[SEED] = plan.seeds[entry[SEED] - 1].data_ptr()
    width = int(code[0, WIDTH])
    numbers = [entry[NUMBER] for entry in plan.code[1:]]
    reads = tuple(numbers.count(k) for k in range(len(plan.tables)))
    return Program(code, code.ctypes.data, width, tuple(plan.tables), tuple(plan.seeds), reads)
