"""A recipe as numbers: what the compiled kernels read instead of Python objects.

A program is a small int64 array: a head, then one entry per row that an id reads, in this order

    rows      wide rows, to be summed, multiplied or put side by side
    weights   at most one entry: one number per wide row
    scales    numbers that multiply the product
    shifts    numbers that are added to every coordinate

so one kernel, compiled once, serves every recipe of every size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memcom.addresses import MAX_NUM_EMBEDDINGS, Address, Clamp, DerivedSeed, Digit
from memcom.kernels import gate
from memcom.kernels.gate import CPU
from memcom.kernels.recipe import Read, Reading, Recipe, address_flaw

FIELDS = 9
# The head, entry 0.
ROWS, WEIGHTS, SCALES, SHIFTS, FUSION, WIDTH, LIMIT, PADDING = range(FIELDS - 1)
# Any other entry. `SEED` is the address of the seed, or 0; `STRIDE` may be `CLAMP`; `END` is the
# address behind the table's last number.
TABLE, COLUMNS, DIVISOR, MODULUS, STRIDE, SEED, OFFSET, NUMBER, END = range(FIELDS)
CLAMP = -1
SUM, MULT, CONCAT = range(3)
TILE = 2048  # numbers that the 128 threads of a GPU program hold: 16 each
MOST_COLUMNS, MOST_IDS = 1024, 256
_FUSION = {"sum": SUM, "mult": MULT, "concat": CONCAT}


class Layout(NamedTuple):
    """A program before it is bound to tensors in memory.

    Attributes:
        code: The entries, head first; ``TABLE`` and ``END`` are 0, ``SEED`` is 0 or 1 + the seed's
            number.
        tables: The distinct tables; an entry's ``NUMBER`` is its table's place here.
        seeds: The seeds, 0-d int64 tensors.
    """

    code: list[list[int]]
    tables: list[Tensor]
    seeds: list[Tensor]


class Program(NamedTuple):
    """A recipe compiled for the CPU.

    Attributes:
        code: The int64 array described above.
        address: Where the array lies in memory.
        width: Coordinates of a vector.
        tables: The distinct tables; an entry's ``NUMBER`` is its table's place here.
        reads: How often each table is read for an id.
        held: The layout, with the tables' memory as it was when the program was bound. A table
            may get other memory (``table.data = ...``, ``layer.half()``); this stays alive.
        marks: Where the tables and seeds of ``held`` lie.
    """

    code: NDArray[np.int64]
    address: int
    width: int
    tables: tuple[Tensor, ...]
    reads: tuple[int, ...]
    held: Layout
    marks: tuple[gate.Mark, ...]

    def in_place(self) -> Program:
        """Return the program for where its memory lies now, to be called before a backward pass.

        Returns:
            This program, or one bound anew.

        Raises:
            RuntimeError: The memory that the forward pass read is gone.
        """
        tensors = (*self.held.tables, *self.held.seeds)
        if all(mark.holds(tensor) for mark, tensor in zip(self.marks, tensors, strict=True)):
            return self
        for tensor in tensors:
            gate.require_memory(tensor)
        return bind(self.held)._replace(tables=self.tables)


class GpuProgram(NamedTuple):
    """A recipe compiled for a GPU.

    Attributes:
        head: The head of a `Layout`.
        entries: Its entries, with the fields that `memcom.kernels.gpu.kernels` names.
        tables: The distinct tables.
        sources: The tables, then the seeds.
        reads: How often each table is read for an id.
        block: Ids of a program.
        columns: Coordinates it takes at a time.
    """

    head: tuple[int, ...]
    entries: tuple[tuple[int, ...], ...]
    tables: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]
    reads: tuple[int, ...]
    block: int
    columns: int


def unsupported_reason(
    recipe: Reading | None, device: torch.device = CPU, width: int | None = None
) -> str:
    """Return why there is no program for a recipe, or ``""`` if there is one.

    Args:
        recipe: What to read.
        device: Where the tables should be.
        width: Coordinates that the vectors should have; None for any number.

    Returns:
        The reason.
    """
    if not isinstance(recipe, Recipe) or not all(isinstance(r, Read) for r in recipe.reads):
        return "it is more than rows that are fused"
    if any(read.first or read.projection is not None for read in recipe.every_read()):
        return "its rows are parts of a table, or multiplied by a matrix"
    dtypes = (torch.float32,) if device == CPU else (torch.float32, torch.bfloat16)
    first = recipe.reads[0]
    for read in recipe.every_read():
        table, address = read.table, read.address
        why = gate.flaw(table, dtypes, device)
        if why:
            return f"{read.name} {why}"
        if table.dtype != first.table.dtype:
            return f"{read.name} is {table.dtype}, and {first.name} is {first.table.dtype}"
        if table.ndim != 2:
            return f"{read.name} has {table.ndim} dimensions, not 2"
        if not isinstance(address, (Digit, Clamp)):
            return f"{read.name} is not addressed by a Digit or a Clamp"
        if address_flaw(address):
            return f"the address of {read.name} {address_flaw(address)}"
        if isinstance(address, Digit) and address.seed is not None:
            if isinstance(address.seed, DerivedSeed):
                return f"the seed of {read.name} follows from another"
            why = gate.flaw(address.seed, (torch.int64,), device)
            if why or address.seed.numel() != 1:
                return f"the seed of {read.name} {why or 'is not one number'}"
        if table.shape[0] < _rows_addressed(address):
            return f"{read.name} has fewer rows than its address says"
    widths = {read.table.shape[1] for read in recipe.reads}
    if recipe.fusion != "concat" and len(widths - {1}) > 1:
        return f"rows of widths {sorted(widths)} cannot be fused"
    fused = (
        sum(read.table.shape[1] for read in recipe.reads)
        if recipe.fusion == "concat"
        else max(widths)
    )
    if width is not None and fused != width:
        return f"its rows have {fused} numbers, its vectors {width}"
    if recipe.weights is not None and recipe.weights.table.shape[1] != len(recipe.reads):
        return "there is not one weight per row"
    if recipe.weights is not None and recipe.fusion != "concat" and len(widths) > 1:
        return "weighted rows of different widths"
    if recipe.shift is not None and recipe.shift.table.shape[1] != 1:
        return "the shift is not a single number"
    numbers = [read for read in (recipe.weights, recipe.shift) if read is not None]
    if {id(r.table) for r in numbers} & {id(r.table) for r in recipe.reads}:
        return "one table is read both as rows and as numbers"
    return ""


def _rows_addressed(address: Address) -> int:
    if isinstance(address, Clamp):
        return address.last + 1
    assert isinstance(address, Digit)
    return address.modulus


def layout(
    recipe: Recipe, num_embeddings: int = MAX_NUM_EMBEDDINGS, padding_idx: int | None = None
) -> Layout:
    """Lay out the program of a recipe that has no `unsupported_reason`.

    Args:
        recipe: What to read and how to fuse it.
        num_embeddings: One more than the largest valid id.
        padding_idx: The id whose vector is zero.

    Returns:
        The layout, for `compile_for`.
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
    plan = Layout([[*counts, _FUSION[recipe.fusion], width, num_embeddings, padding, 0]], [], [])
    offset = 0
    for read in (*rows, *weights, *scales, *shifts):
        columns, address, seed = read.table.shape[1], read.address, 0
        same = [k for k, table in enumerate(plan.tables) if table is read.table]
        number = same[0] if same else len(plan.tables)
        if not same:
            plan.tables.append(read.table)
        if isinstance(address, Digit):
            place = (address.divisor, address.modulus, address.stride)
            if isinstance(address.seed, Tensor):
                plan.seeds.append(address.seed)
                seed = len(plan.seeds)
        else:
            place = (1, _rows_addressed(address), CLAMP)
        plan.code.append([0, columns, *place, seed, offset, number, 0])
        offset += columns if concat else 0
    return plan


def compile_for(device: torch.device, plan: Layout) -> Program | GpuProgram:
    """Compile a layout whose tensors are on ``device``."""
    return bind(plan) if device == CPU else bind_for_gpu(plan)


def bind(plan: Layout) -> Program:
    """Bind a layout to its tensors where they lie in memory now.

    Args:
        plan: The layout.

    Returns:
        The program; it keeps the memory alive.

    Raises:
        TypeError: The kernels cannot read a tensor.
        ValueError: A table has another shape than its entry says.
    """
    held = plan._replace(tables=[table.detach() for table in plan.tables])
    marks = tuple(map(gate.Mark, (*held.tables, *held.seeds)))
    code = np.array(plan.code, dtype=np.int64)
    for entry in code[1:]:
        table = held.tables[entry[NUMBER]]
        if table.shape[0] < entry[MODULUS] or table.shape[1] != entry[COLUMNS]:
            rows, columns = int(entry[MODULUS]), int(entry[COLUMNS])
            raise ValueError(f"a table is {list(table.shape)}, but is read as {[rows, columns]}")
        entry[TABLE] = gate.address(table, torch.float32)
        entry[END] = entry[TABLE] + table.numel() * table.element_size()
        if entry[SEED]:
            entry[SEED] = gate.address(held.seeds[entry[SEED] - 1], torch.int64)
    width = int(code[0, WIDTH])
    numbers = [entry[NUMBER] for entry in plan.code[1:]]
    reads = tuple(numbers.count(k) for k in range(len(plan.tables)))
    return Program(code, code.ctypes.data, width, tuple(plan.tables), reads, held, marks)


def bind_for_gpu(plan: Layout) -> GpuProgram:
    """Return the program of a layout whose tensors are on one GPU; it holds no addresses."""
    reads, entries = [0] * len(plan.tables), []
    for entry in plan.code[1:]:
        entry = entry.copy()
        entry[TABLE] = reads[entry[NUMBER]]
        reads[entry[NUMBER]] += 1
        if entry[SEED]:
            entry[SEED] += len(plan.tables) - 1
        entries.append(tuple(entry))
    widest = max(entry[COLUMNS] for entry in entries[: plan.code[0][ROWS]])
    block, columns = gpu_tile(widest)
    return GpuProgram(
        head=tuple(plan.code[0]),
        entries=tuple(entries),
        tables=tuple(plan.tables),
        sources=(*plan.tables, *plan.seeds),
        reads=tuple(reads),
        block=block,
        columns=columns,
    )


def gpu_tile(widest: int) -> tuple[int, int]:
    """Return how many ids a GPU program takes, and how many coordinates of rows at a time."""
    columns = min(MOST_COLUMNS, 1 << (widest - 1).bit_length())
    return min(MOST_IDS, TILE // columns), columns
