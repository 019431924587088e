"""The compiled backward pass: one gradient row per row that was read, in one sweep each table.

The row numbers a table was read at are sorted, each with the position it was read for::

    ids        7  3  7  9         rows of table t   3  3  3  1      (i mod 4)
    sorted     (1, id 3)  (3, id 0)  (3, id 1)  (3, id 2)
    segments    row 1     |  row 3

so every row's contributions lie side by side and are summed by one thread, in the order of the
ids: no locks, and the same sum whatever the number of threads. The same segments give a dense
gradient (rows of a zero matrix) and a sparse one (already coalesced, and sorted).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from memcom.kernels._forward import gather_scalars
from memcom.kernels._native import float32s, int64s, prefetch, take_next
from memcom.kernels._program import (
    COLUMNS,
    CONCAT,
    FIELDS,
    FUSION,
    LIMIT,
    MULT,
    NUMBER,
    OFFSET,
    PADDING,
    ROWS,
    SCALES,
    SHIFTS,
    TABLE,
    WEIGHTS,
    WIDTH,
)
from memcom.kernels._rows import BLOCK, block_rows, load_ids

AHEAD = 12  # contributions between asking for a gradient row and reading it
NO_ROW = np.int64(2**63 - 1)  # sorts behind all others

# A task. `SCRATCH` holds per id: all row numbers, then as float32 the weights, the product of the
# scales, and the dot products that the gradients of scalars are made of.
NEXT, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, CHUNK = range(8)
SORTED, SEGMENTS, STARTS, TARGET, DENSE, GRAD, WHICH, LINES, FACTORS, DOTS, BITS, ID_BITS = range(
    8, 20
)
TASK = 24


@njit
def _views(task: Any) -> Any:
    """The program, and per id: row numbers, (weights, scale) and (dots per wide row, sum)."""
    program = carray(int64s(task[PROGRAM]), (task[ENTRIES], FIELDS))
    count, wide = task[COUNT], program[0, ROWS]
    lines = carray(int64s(task[LINES]), (program.shape[0] - 1, count))
    factors = carray(float32s(task[FACTORS]), (wide + 1, count))
    dots = carray(float32s(task[DOTS]), (wide + 1, count))
    return program, lines, factors, dots


@cfunc(types.void(types.int64), cache=True)
def prepare_task(address: int) -> None:
    """Row numbers, weights and scales of all ids."""
    task = carray(int64s(address), (TASK,))
    program, lines, factors, _dots = _views(task)
    head = program[0]
    wide, chunk, entries = head[ROWS], task[CHUNK], program.shape[0] - 1
    keys, rows = np.empty(BLOCK, np.int64), np.empty((entries, BLOCK), np.int64)
    weights = np.ones((wide, BLOCK), np.float32)
    scale, shift = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    while True:
        start = take_next(address) * chunk
        if start >= task[COUNT]:
            break
        stop = min(task[COUNT], start + chunk)
        for first in range(start, stop, BLOCK):
            n = min(BLOCK, stop - first)
            load_ids(task[IDS], task[ID_BYTES], first, n, head[LIMIT], keys)
            for j in range(entries):
                block_rows(program[1 + j], head[LIMIT], keys, rows[j], n)
            gather_scalars(program, rows, weights, scale, shift, n)
            for j in range(entries):
                for b in range(n):
                    lines[j, first + b] = -1 if keys[b] == head[PADDING] else rows[j, b]
            for b in range(n):
                factors[wide, first + b] = scale[b]
            for j in range(wide):
                for b in range(n):
                    factors[j, first + b] = weights[j, b]


@njit(types.int64(*[types.int64] * 8), nogil=True, cache=True)
def pack(
    program: int,
    entries: int,
    which: int,
    lines: int,
    count: int,
    uses_bits: int,
    id_bits: int,
    out: int,
) -> int:
    """Row numbers at which table ``which`` was read, each with its position, ready to be sorted.

    Returns:
        How many there are; padding is not among them.
    """
    code = carray(int64s(program), (entries, FIELDS))
    target, uses, kept = int64s(out), 0, 0
    for j in range(entries - 1):
        if code[1 + j, NUMBER] == which:
            line = int64s(lines + j * count * 8)
            for b in range(count):
                target[kept] = (line[b] << (uses_bits + id_bits)) | (uses << id_bits) | b
                kept += int(line[b] >= 0)
            uses += 1
    return kept


@njit(types.int64(types.int64, types.int64, types.int64, types.int64), nogil=True, cache=True)
def segment(ordered: int, count: int, bits: int, starts: int) -> int:
    """Where each row's contributions begin; returns the number of different rows."""
    keys, begin = int64s(ordered), int64s(starts)
    found, last = 0, -1
    for p in range(count):
        row = keys[p] >> bits
        begin[found] = p
        found += int(row != last)
        last = row
    begin[found] = count
    return found


@njit
def _address(program: Any, lines: Any, j: int, b: int) -> int:
    return program[1 + j, TABLE] + lines[j, b] * program[1 + j, COLUMNS] * 4


@njit
def _add(place: int, row: int, factor: Any, width: int) -> None:
    total, a = float32s(place), float32s(row)
    for k in range(width):
        total[k] += a[k] * factor


@njit
def _add_product(place: int, left: int, right: int, factor: Any, width: int) -> None:
    total, a, c = float32s(place), float32s(left), float32s(right)
    for k in range(width):
        total[k] += a[k] * c[k] * factor


@njit(fastmath={"reassoc", "contract"})
def _dot(left: int, right: int, width: int) -> Any:
    a, c, total = float32s(left), float32s(right), np.float32(0)
    for k in range(width):
        total += a[k] * c[k]
    return total


@njit(fastmath={"reassoc"})
def _total(row: int, width: int) -> Any:
    a, total = float32s(row), np.float32(0)
    for k in range(width):
        total += a[k]
    return total


@njit
def _note(program: Any, lines: Any, dots: Any, gradient: int, b: int) -> None:
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    if program[0, SHIFTS]:
        dots[wide, b] = _total(gradient, width)
    if fusion != MULT:
        if program[0, WEIGHTS]:
            for i in range(wide):
                piece = gradient + (program[1 + i, OFFSET] * 4 if fusion == CONCAT else 0)
                row = _address(program, lines, i, b)
                dots[i, b] = _dot(piece, row, program[1 + i, COLUMNS])
    elif program[0, SCALES] + program[0, WEIGHTS]:
        if wide == 1:
            dots[0, b] = _dot(gradient, _address(program, lines, 0, b), width)
        else:
            g, total = float32s(gradient), np.float32(0)
            for k in range(width):
                product = g[k]
                for i in range(wide):
                    product *= float32s(_address(program, lines, i, b))[k]
                total += product
            dots[0, b] = total


@njit
def _row(
    program: Any, lines: Any, factors: Any, dots: Any, grad: int, j: int, b: int, place: int
) -> None:
    """Add what wide row ``j`` of id ``b`` gets; note the dot products that scalars will need."""
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    scalars = program[0, WEIGHTS] + program[0, SCALES] + program[0, SHIFTS] > 0
    gradient = grad + b * width * 4
    if j == 0 and scalars:
        _note(program, lines, dots, gradient, b)
    if fusion != MULT:
        piece = gradient + (program[1 + j, OFFSET] * 4 if fusion == CONCAT else 0)
        _add(place, piece, factors[j, b], program[1 + j, COLUMNS])
        return
    factor = factors[wide, b]
    for i in range(wide):
        factor *= factors[i, b]
    if wide == 1:
        _add(place, gradient, factor, width)
    elif wide == 2:
        _add_product(place, gradient, _address(program, lines, 1 - j, b), factor, width)
    else:
        total, g = float32s(place), float32s(gradient)
        for k in range(width):
            product = g[k] * factor
            for i in range(wide):
                if i != j:
                    product *= float32s(_address(program, lines, i, b))[k]
            total[k] += product


@njit
def _numbers(program: Any, lines: Any, factors: Any, dots: Any, j: int, b: int, place: int) -> None:
    """Add what entry ``j``, a row of weights, a scale or a shift, gets from id ``b``."""
    wide, total = program[0, ROWS], float32s(place)
    scales = wide + program[0, WEIGHTS]
    if j >= scales + program[0, SCALES]:
        total[0] += dots[wide, b]
    elif j >= scales:
        value = dots[0, b]
        for i in range(wide):
            value *= factors[i, b]
        for i in range(scales, scales + program[0, SCALES]):
            if i != j:
                value *= float32s(_address(program, lines, i, b))[0]
        total[0] += value
    else:
        for k in range(wide):
            if program[0, FUSION] != MULT:
                total[k] += dots[k, b]
            else:
                value = dots[0, b] * factors[wide, b]
                for i in range(wide):
                    if i != k:
                        value *= factors[i, b]
                total[k] += value


@cfunc(types.void(types.int64), cache=True)
def accumulate_task(address: int) -> None:
    """Gradient rows of one table."""
    task = carray(int64s(address), (TASK,))
    program, lines, factors, dots = _views(task)
    chunk, which = task[CHUNK], task[WHICH]
    bits, id_bits = task[BITS], task[ID_BITS]
    starts, ordered = int64s(task[STARTS]), int64s(task[SORTED])
    entries = np.empty(program.shape[0], np.int64)
    uses = 0
    for j in range(program.shape[0] - 1):
        if program[1 + j, NUMBER] == which:
            entries[uses] = j
            uses += 1
    columns, last = program[1 + entries[0], COLUMNS], starts[task[SEGMENTS]] - 1
    spare = np.empty(max(columns, program[0, WIDTH]), np.float32)
    use_mask, id_mask = (1 << (bits - id_bits)) - 1, (1 << id_bits) - 1
    size = program[0, WIDTH] * 4
    dotted = which == 0 and program[0, WEIGHTS] + program[0, SCALES] > 0
    reads_rows = dotted or (program[0, FUSION] == MULT and program[0, ROWS] > 1)
    while True:
        first = take_next(address) * chunk
        if first >= task[SEGMENTS]:
            break
        for s in range(first, min(task[SEGMENTS], first + chunk)):
            place = spare.ctypes.data
            if task[TARGET] != 0:
                row = ordered[starts[s]] >> bits if task[DENSE] else s
                place = task[TARGET] + row * columns * 4
            total = float32s(place)
            for k in range(columns):
                total[k] = np.float32(0)
            for p in range(starts[s], starts[s + 1]):
                b, j = ordered[p] & id_mask, entries[(ordered[p] >> id_bits) & use_mask]
                if j < program[0, ROWS]:
                    later = ordered[min(p + AHEAD, last)] & id_mask
                    for byte in range(0, size, 64):
                        prefetch(task[GRAD] + later * size + byte)
                    for i in range(program[0, ROWS] if reads_rows else 0):
                        row = _address(program, lines, i, later)
                        for byte in range(0, program[1 + i, COLUMNS] * 4, 64):
                            prefetch(row + byte)
                    _row(program, lines, factors, dots, task[GRAD], j, b, place)
                else:
                    _numbers(program, lines, factors, dots, j, b, place)
