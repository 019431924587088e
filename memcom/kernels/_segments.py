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

from memcom.kernels._native import entry_point, float32s, int64s
from memcom.kernels._program import FIELDS, LIMIT, NUMBER, PADDING, ROWS, SCALES, TABLE, WEIGHTS
from memcom.kernels._rows import BLOCK, block_rows, load_ids
from memcom.kernels._threads import member, part_of

# A task. `LINES` holds the row numbers of all reads; `FACTORS` the weights and the product of the
# scales, `DOTS` the dot products that the gradients of scalars are made of, per id.
THREADS, WHICH, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT = range(7)
LINES, FACTORS, DOTS, JOBS, NUM_JOBS, GRAD = range(7, 13)
TASK = 13

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


@njit
def _gather(program: Any, rows: Any, factors: Any, n: int) -> None:
    """Weights of the wide rows and product of the scales of a block's ids."""
    wide, first = program[0, ROWS], program[0, ROWS] + program[0, WEIGHTS]
    for j in range(wide if program[0, WEIGHTS] else 0):
        table = float32s(program[1 + wide, TABLE])
        for b in range(n):
            factors[j, b] = table[rows[wide, b] * wide + j]
    for b in range(n):
        factors[wide, b] = np.float32(1)
    for j in range(first, first + program[0, SCALES]):
        table = float32s(program[1 + j, TABLE])
        for b in range(n):
            factors[wide, b] *= table[rows[j, b]]


@cfunc(types.void(types.int64), cache=True)
@entry_point
def prepare_task(address: int) -> None:
    """Row numbers, weights and scales of all ids, which have been checked. Padding reads row -1."""
    task = carray(int64s(address), (TASK,))
    program, lines, factors, _dots = views(task)
    head = program[0]
    entries = program.shape[0] - 1
    keys = np.empty(BLOCK, np.int64)
    start, stop = part_of(task[COUNT], task[THREADS])
    for first in range(start, stop, BLOCK):
        n = min(BLOCK, stop - first)
        load_ids(task[IDS], task[ID_BYTES], first, n, head[LIMIT], keys)
        some = slice(first, first + n)
        for j in range(entries):
            block_rows(program[1 + j], head[LIMIT], keys, lines[j, some], n)
        _gather(program, lines[:, some], factors[:, some], n)
        if head[PADDING] >= 0:
            for j in range(entries):
                for b in range(n):
                    if keys[b] == head[PADDING]:
                        lines[j, first + b] = -1


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
    number, team = member(task[THREADS])
    for which in range(number, task[NUM_JOBS], team):
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
