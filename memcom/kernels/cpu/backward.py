"""The compiled backward pass: the reads of each table sorted by row, then one sweep over the rows.

The row numbers a table was read at are sorted, each with the position it was read for::

    ids        7  3  7  9         rows of a table   3  3  3  1      (i mod 4)
    sorted     (1, id 3)  (3, id 0)  (3, id 1)  (3, id 2)
    segments    row 1     |  row 3

Every row's contributions then lie side by side, and one thread sums them in the order of the ids:
no locks, and the same sum for any number of threads. The sum ends in a dense gradient (rows of a
zero matrix), in a sparse one (coalesced and sorted), or in no gradient at all: an optimizer's rule
is applied to the row on the spot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cfunc, types

from memcom.kernels.cpu.forward import BLOCK, block_rows, load_ids
from memcom.kernels.cpu.native import (
    address_of,
    compiled,
    float32_array,
    float32s,
    int64_array,
    int64s,
    njit,
    prefetch,
    row_address,
)
from memcom.kernels.cpu.sorting import sort_keys
from memcom.kernels.cpu.threads import member, part_by_length, part_of
from memcom.kernels.cpu.update import MOST_NUMBERS, NO_RULE, SGD, change_row, prefetch_row
from memcom.kernels.program import (
    COLUMNS,
    CONCAT,
    END,
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

AHEAD = 12  # reads between prefetching a gradient row and reading it
ROWS_AHEAD = 6  # the same for rows of the table

# A task. `LINES` holds the row numbers of all reads; `FACTORS` the weights and the product of the
# scales, `DOTS` the dot products that the gradients of scalars are made of, per id.
THREADS, WHICH, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT = range(7)
LINES, FACTORS, DOTS, JOBS, NUM_JOBS, GRAD = range(7, 13)
BAD = 13
TASK = 14

# A job is one table. `KEYS` and `SPARE` have room for every read of it, `STARTS` for one more;
# `FOUND` distinct rows are found, and `SORTED` is where the sorted keys end up.
USES, USE_BITS, ID_BITS, ROW_BITS, KEYS, SPARE, STARTS, SORTED, FOUND = range(9)
TARGET, DENSE, RULE, FIRST, SECOND, NUMBERS = range(9, 15)
JOB = 16


@njit
def _views(task: Any) -> Any:
    """The program, and per id: row numbers, (weights, scale) and (dots per wide row, sum)."""
    program = int64_array(task[PROGRAM], (task[ENTRIES], FIELDS))
    count, wide = task[COUNT], program[0, ROWS]
    lines = int64_array(task[LINES], (program.shape[0] - 1, count))
    factors = float32_array(task[FACTORS], (wide + 1, count))
    dots = float32_array(task[DOTS], (wide + 1, count))
    return program, lines, factors, dots


@njit(forceinline=True)
def _numbers(entry: Any) -> Any:
    """All numbers of an entry's table."""
    return float32s(entry[TABLE], (entry[END] - entry[TABLE]) // 4)


# --- which ids read each row ----------------------------------------------------------------------


@njit
def _gather(program: Any, rows: Any, factors: Any, n: int) -> None:
    """Weights of the wide rows and product of the scales of a block's ids."""
    wide, first = program[0, ROWS], program[0, ROWS] + program[0, WEIGHTS]
    for j in range(wide if program[0, WEIGHTS] else 0):
        table = _numbers(program[1 + wide])
        for b in range(n):
            factors[j, b] = table[rows[wide, b] * wide + j]
    for b in range(n):
        factors[wide, b] = np.float32(1)
    for j in range(first, first + program[0, SCALES]):
        table = _numbers(program[1 + j])
        for b in range(n):
            factors[wide, b] *= table[rows[j, b]]


@compiled(cfunc, types.void(types.int64))
def prepare_task(address: int) -> None:
    """Compute row numbers, weights and scales of all ids. Padding reads row -1.

    `BAD` becomes the position of an id that has left the range since the forward pass.
    """
    task = int64_array(address, (TASK,))
    program, lines, factors, _dots = _views(task)
    head = program[0]
    entries = program.shape[0] - 1
    keys = np.empty(BLOCK, np.int64)
    start, stop = part_of(task[COUNT], task[THREADS])
    for first in range(start, stop, BLOCK):
        n = min(BLOCK, stop - first)
        bad = load_ids(task[IDS], task[ID_BYTES], first, n, head[LIMIT], keys)
        if bad >= 0:
            task[BAD] = first + bad
            break
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
def segment(ordered: int, count: int, bits: int, starts: int) -> int:
    """Note where each row's reads begin; returns the number of distinct rows."""
    keys, begin = int64s(ordered, count), int64s(starts, count + 1)
    found, last = 0, -1
    for p in range(count):
        row = keys[p] >> bits
        begin[found] = p
        found += int(row != last)
        last = row
    begin[found] = count
    return found


@compiled(cfunc, types.void(types.int64))
def segment_task(address: int) -> None:
    """Sort each table's reads by row, and note where each row's begin."""
    task = int64_array(address, (TASK,))
    program, lines, _factors, _dots = _views(task)
    jobs, count = int64_array(task[JOBS], (task[NUM_JOBS], JOB)), task[COUNT]
    number, team = member(task[THREADS])
    for which in range(number, task[NUM_JOBS], team):
        job = jobs[which]
        id_bits, bits = job[ID_BITS], job[USE_BITS] + job[ID_BITS]
        keys: Any = int64s(job[KEYS], job[USES] * count)
        uses, kept = np.int64(0), np.int64(0)  # not literals: see `native.njit`
        for j in range(program.shape[0] - 1):
            if program[1 + j, NUMBER] == which:
                line = lines[j]
                for b in range(count):
                    keys[kept] = (line[b] << bits) | (uses << id_bits) | b
                    kept += int(line[b] >= 0)
                uses += 1
        job[SORTED] = sort_keys(job[KEYS], job[SPARE], kept, bits, bits + job[ROW_BITS])
        job[FOUND] = segment(job[SORTED], kept, bits, job[STARTS])


# --- what one read of one id adds to the gradient of its row --------------------------------------


@njit
def _row_address(program: Any, lines: Any, j: int, b: int) -> int:
    """Address of the row that read ``j`` of id ``b`` reads."""
    table, size, end = program[1 + j, TABLE], program[1 + j, COLUMNS] * 4, program[1 + j, END]
    return row_address(table, lines[j, b], size, end)


@njit(fastmath={"reassoc", "contract"})
def dot(left: int, right: int, width: int) -> Any:
    """Return the dot product of two rows of float32."""
    a, c, total = float32s(left, width), float32s(right, width), np.float32(0)
    for k in range(width):
        total += a[k] * c[k]
    return total


@njit(fastmath={"reassoc"})
def row_sum(row: int, width: int) -> Any:
    """Return the sum of a row of float32."""
    a, total = float32s(row, width), np.float32(0)
    for k in range(width):
        total += a[k]
    return total


@njit
def _add_scaled(place: int, row: int, factor: Any, own: int, dotted: bool, width: int) -> Any:
    """Add ``factor`` times a row; returns its dot product with the row ``own`` if ``dotted``."""
    total, a = float32s(place, width), float32s(row, width)
    for k in range(width):
        total[k] += a[k] * factor
    return dot(row, own, width) if dotted else np.float32(0)


@njit
def _add_product(place: int, left: int, right: int, factor: Any, width: int) -> None:
    total, a, c = float32s(place, width), float32s(left, width), float32s(right, width)
    for k in range(width):
        total[k] += a[k] * c[k] * factor


@njit
def _weight(program: Any, factors: Any, j: int, b: int) -> Any:
    return factors[j, b] if program[0, WEIGHTS] else np.float32(1)


@njit
def _note(program: Any, lines: Any, dots: Any, gradient: int, b: int) -> None:
    """Note the dot products of id ``b`` that the gradients of its scalars are made of."""
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    if program[0, SHIFTS]:
        dots[wide, b] = row_sum(gradient, width)
    if fusion != MULT:
        if program[0, WEIGHTS]:
            for i in range(wide):
                piece = gradient + (program[1 + i, OFFSET] * 4 if fusion == CONCAT else 0)
                row = _row_address(program, lines, i, b)
                dots[i, b] = dot(piece, row, program[1 + i, COLUMNS])
    elif program[0, SCALES] + program[0, WEIGHTS]:
        if wide == 1:
            dots[0, b] = dot(gradient, _row_address(program, lines, 0, b), width)
        else:
            g, total = float32s(gradient, width), np.float32(0)
            for k in range(width):
                product = g[k]
                for i in range(wide):
                    product *= float32s(_row_address(program, lines, i, b), width)[k]
                total += product
            dots[0, b] = total


@njit
def _add_row(
    program: Any, lines: Any, factors: Any, dots: Any, gradient: int, j: int, b: int, place: int
) -> None:
    """Add what wide row ``j`` of id ``b`` gets, for any recipe."""
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    if j == 0:
        _note(program, lines, dots, gradient, b)
    if fusion != MULT:
        piece = gradient + (program[1 + j, OFFSET] * 4 if fusion == CONCAT else 0)
        columns = program[1 + j, COLUMNS]
        _add_scaled(place, piece, _weight(program, factors, j, b), piece, False, columns)
        return
    factor = factors[wide, b]
    for i in range(wide):
        factor *= _weight(program, factors, i, b)
    if wide == 1:
        _add_scaled(place, gradient, factor, gradient, False, width)
    elif wide == 2:
        _add_product(place, gradient, _row_address(program, lines, 1 - j, b), factor, width)
    else:
        total, g = float32s(place, width), float32s(gradient, width)
        for k in range(width):
            product = g[k] * factor
            for i in range(wide):
                if i != j:
                    product *= float32s(_row_address(program, lines, i, b), width)[k]
            total[k] += product


@njit
def _add_numbers(
    program: Any, lines: Any, factors: Any, dots: Any, j: int, b: int, place: int
) -> None:
    """Add what entry ``j``, a row of weights, a scale or a shift, gets from id ``b``."""
    wide, total = program[0, ROWS], float32s(place, program[1 + j, COLUMNS])
    scales = wide + program[0, WEIGHTS]
    if j >= scales + program[0, SCALES]:
        total[0] += dots[wide, b]
    elif j >= scales:
        value = dots[0, b]
        for i in range(wide if program[0, WEIGHTS] else 0):
            value *= factors[i, b]
        for i in range(scales, scales + program[0, SCALES]):
            if i != j:
                value *= float32s(_row_address(program, lines, i, b), 1)[0]
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


# --- the sweep ------------------------------------------------------------------------------------


@compiled(cfunc, types.void(types.int64))
def accumulate_task(address: int) -> None:
    """Sum the gradients of one thread's part of one table's rows."""
    task = int64_array(address, (TASK,))
    program, lines, factors, dots = _views(task)
    which = task[WHICH]
    job = int64_array(task[JOBS], (task[NUM_JOBS], JOB))[which]
    id_bits, bits = job[ID_BITS], job[USE_BITS] + job[ID_BITS]
    use_mask, id_mask = (1 << job[USE_BITS]) - 1, (1 << id_bits) - 1
    starts = int64s(job[STARTS], job[FOUND] + 1)
    ordered = int64s(job[SORTED], starts[job[FOUND]])
    entries, uses = np.empty(program.shape[0], np.int64), 0
    for j in range(program.shape[0] - 1):
        if program[1 + j, NUMBER] == which:
            entries[uses] = j
            uses += 1
    wide, fusion, size = program[0, ROWS], program[0, FUSION], program[0, WIDTH] * 4
    numbers = entries[0] >= wide
    simple = program[0, WEIGHTS] == 0 and (fusion != MULT or wide == 1)
    entry, last = program[1 + entries[0]], starts[job[FOUND]] - 1
    columns, table, table_end = entry[COLUMNS], entry[TABLE], entry[END]
    stride = columns * 4
    grad_end = task[GRAD] + task[COUNT] * size
    target_end = job[TARGET] + (table_end - table if job[DENSE] else job[FOUND] * stride)
    spare = np.empty(columns, np.float32)
    constants = float32s(job[NUMBERS], MOST_NUMBERS)
    dotted, summed = program[0, SCALES] > 0, program[0, SHIFTS] > 0
    # One number per id, whose gradient is a dot product as it was noted.
    plain = numbers and uses == 1 and program[0, WEIGHTS] == 0 and program[0, SCALES] <= 1
    noted = dots[0] if entries[0] < wide + program[0, SCALES] else dots[wide]
    begin, end = part_by_length(starts, job[FOUND], task[THREADS])
    if plain and job[RULE] == SGD and job[TARGET] == 0:  # a call takes longer than such a step
        rate = constants[0]
        for s in range(begin, end):
            prefetch(table + (ordered[min(starts[s] + AHEAD, last)] >> bits) * 4)
            change = np.float32(0)
            for p in range(starts[s], starts[s + 1]):
                change += noted[ordered[p] & id_mask]
            cell = float32s(row_address(table, ordered[starts[s]] >> bits, 4, table_end), 1)
            cell[0] -= rate * change
        return
    for s in range(begin, end):
        row = ordered[starts[s]] >> bits
        later = ordered[starts[min(s + ROWS_AHEAD, job[FOUND] - 1)]] >> bits
        prefetch_row(job[RULE], table, later, stride, job[FIRST], job[SECOND])
        place = address_of(spare)
        if job[TARGET] != 0:
            place = row_address(job[TARGET], row if job[DENSE] else s, stride, target_end)
        total = float32s(place, columns)
        for k in range(columns):
            total[k] = np.float32(0)
        if plain:
            for p in range(starts[s], starts[s + 1]):
                total[0] += noted[ordered[p] & id_mask]
        for p in range(starts[s], starts[s] if plain else starts[s + 1]):
            b, j = ordered[p] & id_mask, entries[(ordered[p] >> id_bits) & use_mask]
            if numbers:
                _add_numbers(program, lines, factors, dots, j, b, place)
                continue
            after = ordered[min(p + AHEAD, last)] & id_mask
            for byte in range(0, size, 64):
                prefetch(task[GRAD] + after * size + byte)
            gradient = row_address(task[GRAD], b, size, grad_end)
            if not simple:
                for i in range(wide):
                    other = _row_address(program, lines, i, after)
                    for byte in range(0, program[1 + i, COLUMNS] * 4, 64):
                        prefetch(other + byte)
                _add_row(program, lines, factors, dots, gradient, j, b, place)
                continue
            if summed and j == 0:
                dots[wide, b] = row_sum(gradient, program[0, WIDTH])
            if fusion == CONCAT:
                gradient += program[1 + j, OFFSET] * 4
            factor = factors[wide, b] if dotted else np.float32(1)
            own = row_address(table, row, stride, table_end)
            dot = _add_scaled(place, gradient, factor, own, dotted, columns)
            if dotted:
                dots[0, b] = dot
        if job[RULE] != NO_RULE:
            first, second = job[FIRST], job[SECOND]
            change_row(job[RULE], table, table_end, row, columns, place, first, second, constants)
