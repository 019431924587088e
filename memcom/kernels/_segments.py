"""Which ids read each row: the first half of the compiled backward pass.

The row numbers a table was read at are sorted, each with the position it was read for::

    ids        7  3  7  9         rows of a table   3  3  3  1      (i mod 4)
    sorted     (1, id 3)  (3, id 0)  (3, id 1)  (3, id 2)
    segments    row 1     |  row 3

so every row's contributions lie side by side and can be summed by one thread, in the order of the
ids: no locks, and the same sum whatever the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from memcom.kernels._forward import gather_scalars
from memcom.kernels._native import entry_point, float32s, int64s, take_next
from memcom.kernels._program import FIELDS, LIMIT, NUMBER, PADDING, ROWS, WEIGHTS
from memcom.kernels._rows import BLOCK, block_rows, load_ids

# A task. `LINES` holds the row numbers of all reads; `FACTORS` the weights and the product of the
# scales, `DOTS` the dot products that the gradients of scalars are made of, per id.
NEXT, CHUNK, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, LINES, FACTORS, DOTS, JOBS, NUM_JOBS = range(
    12
)
GRAD, WHICH = 12, 13
TASK = 16

# A job is one table. `KEYS` and `SPARE` have room for every read of it, `STARTS` for one more;
# `FOUND` different rows are found, and `SORTED` is where the sorted keys are in the end.
USES, USE_BITS, ID_BITS, ROW_BITS, KEYS, SPARE, STARTS, SORTED, FOUND = range(9)
TARGET, DENSE, RULE, FIRST, SECOND, NUMBERS = range(9, 15)
JOB = 16

_RADIX = 11  # bits sorted by in one pass; their counts fit the first-level cache


@njit
def views(task: Any) -> Any:
    """The program, and per id: row numbers, (weights, scale) and (dots per wide row, sum)."""
    program = carray(int64s(task[PROGRAM]), (task[ENTRIES], FIELDS))
    count, wide = task[COUNT], program[0, ROWS]
    lines = carray(int64s(task[LINES]), (program.shape[0] - 1, count))
    factors = carray(float32s(task[FACTORS]), (wide + 1, count))
    dots = carray(float32s(task[DOTS]), (wide + 1, count))
    return program, lines, factors, dots


@cfunc(types.void(types.int64), cache=True)
@entry_point
def prepare_task(address: int) -> None:
    """Row numbers, weights and scales of all ids, which have been checked. Padding reads row -1."""
    task = carray(int64s(address), (TASK,))
    program, lines, factors, _dots = views(task)
    head = program[0]
    wide, chunk, entries = head[ROWS], task[CHUNK], program.shape[0] - 1
    keys, rows = np.empty(BLOCK, np.int64), np.empty((entries, BLOCK), np.int64)
    weights = np.empty((wide if head[WEIGHTS] else 0, BLOCK), np.float32)
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
            for j in range(weights.shape[0]):
                for b in range(n):
                    factors[j, first + b] = weights[j, b]


@njit
def _sort(source: int, target: int, count: int, low: int, high: int) -> int:
    """Sort int64 keys by their bits ``[low, high)``, keeping the order of equals.

    Returns:
        Which of the two buffers they are in at last.
    """
    begins = np.empty(1 << _RADIX, np.int64)
    for bit in range(low, high, _RADIX):
        keys, out = int64s(source), int64s(target)
        mask = (1 << min(_RADIX, high - bit)) - 1
        begins[: mask + 1] = 0
        for k in range(count):
            begins[(keys[k] >> bit) & mask] += 1
        total = 0
        for digit in range(mask + 1):
            total, begins[digit] = total + begins[digit], total
        for k in range(count):
            digit = (keys[k] >> bit) & mask
            out[begins[digit]] = keys[k]
            begins[digit] += 1
        source, target = target, source
    return source


@njit
def _segment(ordered: int, count: int, bits: int, starts: int) -> int:
    """Where each row's reads begin; returns the number of different rows."""
    keys, begin = int64s(ordered), int64s(starts)
    found, last = 0, -1
    for p in range(count):
        row = keys[p] >> bits
        begin[found] = p
        found += int(row != last)
        last = row
    begin[found] = count
    return found


@cfunc(types.void(types.int64), cache=True)
@entry_point
def segment_task(address: int) -> None:
    """Sort each table's reads by row, and note where each row's begin."""
    task = carray(int64s(address), (TASK,))
    program, lines, _factors, _dots = views(task)
    jobs, count = carray(int64s(task[JOBS]), (task[NUM_JOBS], JOB)), task[COUNT]
    while True:
        which = take_next(address)
        if which >= task[NUM_JOBS]:
            break
        job = jobs[which]
        id_bits, bits = job[ID_BITS], job[USE_BITS] + job[ID_BITS]
        keys, uses, kept = int64s(job[KEYS]), 0, 0
        for j in range(program.shape[0] - 1):
            if program[1 + j, NUMBER] == which:
                line = lines[j]
                for b in range(count):
                    keys[kept] = (line[b] << bits) | (uses << id_bits) | b
                    kept += int(line[b] >= 0)
                uses += 1
        job[SORTED] = _sort(job[KEYS], job[SPARE], kept, bits, bits + job[ROW_BITS])
        job[FOUND] = _segment(job[SORTED], kept, bits, job[STARTS])
