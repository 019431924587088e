"""The compiled forward pass: addresses, rows and fusion in one sweep over the ids.

Ids are taken a block at a time. For a block, the addresses of all rows are worked out and all
scalars fetched, in loops the compiler can vectorise; then the wide rows are fused straight into
the output, each asked for some ids ahead of its use. Nothing else is written, so a lookup costs
the bytes that it has to move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from memcom.kernels._native import entry_point, float32s, int64s, prefetch, take_next
from memcom.kernels._program import (
    COLUMNS,
    CONCAT,
    FIELDS,
    FUSION,
    LIMIT,
    MULT,
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

AHEAD = 24  # ids between asking for a row and reading it

# A task of several threads.
NEXT, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, CHUNK, OUT = range(9)
TASK = 16


@njit
def gather_scalars(program: Any, rows: Any, weights: Any, scale: Any, shift: Any, n: int) -> None:
    """Weights of the wide rows, product of the scales and sum of the shifts of a block's ids.

    Args:
        program: See `memcom.kernels._program`.
        rows: Row numbers of the block, one line per entry.
        weights: Filled; one line per wide row. Left alone if the program has none.
        scale: Filled.
        shift: Filled.
        n: Ids in the block.
    """
    head = program[0]
    wide = head[ROWS]
    for b in range(n):
        scale[b] = np.float32(1)
        shift[b] = np.float32(0)
    if head[WEIGHTS]:
        table, chosen = float32s(program[1 + wide, TABLE]), rows[wide]
        for j in range(wide):
            line = weights[j]
            for b in range(n):
                line[b] = table[chosen[b] * wide + j]
    first = wide + head[WEIGHTS]
    for j in range(first, first + head[SCALES]):
        table, chosen = float32s(program[1 + j, TABLE]), rows[j]
        for b in range(n):
            scale[b] *= table[chosen[b]]
    first += head[SCALES]
    for j in range(first, first + head[SHIFTS]):
        table, chosen = float32s(program[1 + j, TABLE]), rows[j]
        for b in range(n):
            shift[b] += table[chosen[b]]


@njit
def rows_to_addresses(program: Any, rows: Any, n: int) -> None:
    """Turn the row numbers of the wide rows into memory addresses."""
    for j in range(program[0, ROWS]):
        table, size, line = program[1 + j, TABLE], program[1 + j, COLUMNS] * 4, rows[j]
        for b in range(n):
            line[b] = table + line[b] * size


@njit
def ask_for(line: Any, b: int, n: int, size: int) -> None:
    """Ask for the row that is read `AHEAD` ids after ``b``; at a block's start, also for the first.

    Args:
        line: Memory addresses of a block's rows.
        b: Position in the block.
        n: Ids in the block.
        size: Bytes of a row.
    """
    if b == 0:
        for early in range(1, min(AHEAD, n)):
            for byte in range(0, size, 64):
                prefetch(line[early] + byte)
    if b + AHEAD < n:
        row = line[b + AHEAD]
        for byte in range(0, size, 64):
            prefetch(row + byte)


@njit
def _one(out: int, step: int, line: Any, scale: Any, shift: Any, width: int, n: int) -> None:
    for b in range(n):
        ask_for(line, b, n, width * 4)
        y, a = float32s(out + b * step), float32s(line[b])
        factor, term = scale[b], shift[b]
        for k in range(width):
            y[k] = a[k] * factor + term


@njit
def _product(out: int, left: Any, right: Any, scale: Any, shift: Any, width: int, n: int) -> None:
    for b in range(n):
        ask_for(left, b, n, width * 4)
        ask_for(right, b, n, width * 4)
        y, a, c = float32s(out + b * width * 4), float32s(left[b]), float32s(right[b])
        factor, term = scale[b], shift[b]
        for k in range(width):
            y[k] = a[k] * c[k] * factor + term


@njit
def _sum(
    out: int, left: Any, right: Any, one: Any, other: Any, shift: Any, width: int, n: int
) -> None:
    for b in range(n):
        ask_for(left, b, n, width * 4)
        ask_for(right, b, n, width * 4)
        y, a, c = float32s(out + b * width * 4), float32s(left[b]), float32s(right[b])
        first, second, term = one[b], other[b], shift[b]
        for k in range(width):
            y[k] = a[k] * first + c[k] * second + term


@njit
def _times(out: int, line: Any, shift: Any, width: int, n: int) -> None:
    for b in range(n):
        ask_for(line, b, n, width * 4)
        y, a, term = float32s(out + b * width * 4), float32s(line[b]), shift[b]
        for k in range(width):
            y[k] = y[k] * a[k] + term


@njit
def _plus(out: int, line: Any, weight: Any, width: int, n: int) -> None:
    for b in range(n):
        ask_for(line, b, n, width * 4)
        y, a, factor = float32s(out + b * width * 4), float32s(line[b]), weight[b]
        for k in range(width):
            y[k] += a[k] * factor


@njit
def _fuse(program: Any, lines: Any, weights: Any, scale: Any, shift: Any, out: int, n: int) -> None:
    wide, fusion, width = program[0, ROWS], program[0, FUSION], program[0, WIDTH]
    weighted = program[0, WEIGHTS] == 1
    if fusion == CONCAT:
        for j in range(wide):
            factor = weights[j] if weighted else scale
            piece, columns = out + program[1 + j, OFFSET] * 4, program[1 + j, COLUMNS]
            _one(piece, width * 4, lines[j], factor, shift, columns, n)
        return
    if weighted and (fusion == MULT or wide == 1):
        for j in range(wide):
            for b in range(n):
                scale[b] *= weights[j, b]
    if wide == 1:
        _one(out, width * 4, lines[0], scale, shift, width, n)
    elif fusion == MULT:
        nothing = np.zeros(n if wide > 2 else 0, np.float32)
        _product(out, lines[0], lines[1], scale, nothing if wide > 2 else shift, width, n)
        for j in range(2, wide):
            _times(out, lines[j], shift if j == wide - 1 else nothing, width, n)
    else:
        first, second = (weights[0], weights[1]) if weighted else (scale, scale)
        _sum(out, lines[0], lines[1], first, second, shift, width, n)
        for j in range(2, wide):
            _plus(out, lines[j], weights[j] if weighted else scale, width, n)


@njit
def _blank(keys: Any, padding: int, out: int, width: int, n: int) -> None:
    for b in range(n):
        if keys[b] == padding:
            y = float32s(out + b * width * 4)
            for k in range(width):
                y[k] = np.float32(0)


@njit
def scratch(program: Any, size: int) -> Any:
    """What `compose_block` works with, for blocks of up to ``size`` ids."""
    head = program[0]
    keys, rows = np.empty(size, np.int64), np.empty((program.shape[0] - 1, size), np.int64)
    scale, shift = np.empty(size, np.float32), np.empty(size, np.float32)
    weights = np.empty((head[ROWS] if head[WEIGHTS] else 0, size), np.float32)
    return keys, rows, weights, scale, shift


@njit
def compose_block(
    program: Any, ids: int, id_bytes: int, first: int, n: int, spare: Any, out: int
) -> int:
    """Vectors of the ``n`` ids from number ``first`` on, written to ``out``.

    Returns:
        -1, or the number of an id that is out of range.
    """
    head = program[0]
    keys, rows, weights, scale, shift = spare
    bad = load_ids(ids, id_bytes, first, n, head[LIMIT], keys)
    if bad >= 0:
        return first + bad
    for j in range(rows.shape[0]):
        block_rows(program[1 + j], head[LIMIT], keys, rows[j], n)
    gather_scalars(program, rows, weights, scale, shift, n)
    rows_to_addresses(program, rows, n)
    _fuse(program, rows, weights, scale, shift, out, n)
    if head[PADDING] >= 0:
        _blank(keys, head[PADDING], out, head[WIDTH], n)
    return -1


@njit
def _sweep(program: Any, ids: int, id_bytes: int, start: int, stop: int, out: int) -> int:
    size = max(1, min(BLOCK, stop - start))
    spare = scratch(program, size)
    for first in range(start, stop, size):
        n = min(size, stop - first)
        place = out + first * program[0, WIDTH] * 4
        bad = compose_block(program, ids, id_bytes, first, n, spare, place)
        if bad >= 0:
            return bad
    return -1


@njit(
    types.int64(types.int64, types.int64, types.int64, types.int64, types.int64, types.int64),
    nogil=True,
    cache=True,
)
@entry_point
def forward(program: int, entries: int, ids: int, id_bytes: int, count: int, out: int) -> int:
    """Vectors of ``count`` ids at ``ids``, written to ``out``.

    Returns:
        -1, or the position of an id that is out of range; the output is then unfinished.
    """
    return _sweep(carray(int64s(program), (entries, FIELDS)), ids, id_bytes, 0, count, out)


@cfunc(types.void(types.int64), cache=True)
@entry_point
def forward_task(address: int) -> None:
    """Take chunks of a task until none is left; see the names above for its fields."""
    task = carray(int64s(address), (TASK,))
    program = carray(int64s(task[PROGRAM]), (task[ENTRIES], FIELDS))
    chunk, count = task[CHUNK], task[COUNT]
    while True:
        start = take_next(address) * chunk
        if start >= count:
            break
        stop = min(count, start + chunk)
        bad = _sweep(program, task[IDS], task[ID_BYTES], start, stop, task[OUT])
        if bad >= 0:
            task[BAD] = bad
