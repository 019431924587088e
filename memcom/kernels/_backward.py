"""The compiled backward pass: the sum of each row's gradients, in one sweep over a table's reads.

It ends in a dense gradient (rows of a zero matrix), in a sparse one (already coalesced, and
sorted), or in no gradient at all: an optimizer's rule is applied to the row on the spot.
"""

from __future__ import annotations

import numpy as np
from numba import carray, cfunc, types

from memcom.kernels._native import entry_point, float32s, int64s, prefetch
from memcom.kernels._program import (
    COLUMNS,
    CONCAT,
    FUSION,
    MULT,
    NUMBER,
    OFFSET,
    ROWS,
    SCALES,
    SHIFTS,
    TABLE,
    WEIGHTS,
    WIDTH,
)
from memcom.kernels._segments import (
    DENSE,
    FIRST,
    FOUND,
    GRAD,
    ID_BITS,
    JOB,
    JOBS,
    NUM_JOBS,
    NUMBERS,
    RULE,
    SECOND,
    SORTED,
    STARTS,
    TARGET,
    TASK,
    THREADS,
    USE_BITS,
    WHICH,
    views,
)
from memcom.kernels._terms import add_numbers, add_row, add_scaled, row_address, sum_of
from memcom.kernels._threads import part_by_length
from memcom.kernels._update import ADAM, NO_RULE, change_row

AHEAD = 12  # reads between asking for a gradient row and reading it
ROWS_AHEAD = 6  # the same for rows of the table


@cfunc(types.void(types.int64), cache=True)
@entry_point
def accumulate_task(address: int) -> None:
    """Sum the gradients of one thread's part of one table's rows."""
    task = carray(int64s(address), (TASK,))
    program, lines, factors, dots = views(task)
    which = task[WHICH]
    job = carray(int64s(task[JOBS]), (task[NUM_JOBS], JOB))[which]
    id_bits, bits = job[ID_BITS], job[USE_BITS] + job[ID_BITS]
    use_mask, id_mask = (1 << job[USE_BITS]) - 1, (1 << id_bits) - 1
    starts, ordered = int64s(job[STARTS]), int64s(job[SORTED])
    entries, uses = np.empty(program.shape[0], np.int64), 0
    for j in range(program.shape[0] - 1):
        if program[1 + j, NUMBER] == which:
            entries[uses] = j
            uses += 1
    wide, fusion, size = program[0, ROWS], program[0, FUSION], program[0, WIDTH] * 4
    numbers = entries[0] >= wide
    simple = program[0, WEIGHTS] == 0 and (fusion != MULT or wide == 1)
    columns, last = program[1 + entries[0], COLUMNS], starts[job[FOUND]] - 1
    table, stride = program[1 + entries[0], TABLE], columns * 4
    spare = np.empty(columns, np.float32)
    constants = float32s(job[NUMBERS])
    dotted, summed = program[0, SCALES] > 0, program[0, SHIFTS] > 0
    # One number per id, whose gradient is a dot product as it was noted: no need to ask further.
    plain = numbers and uses == 1 and program[0, WEIGHTS] == 0 and program[0, SCALES] <= 1
    noted = dots[0] if entries[0] < wide + program[0, SCALES] else dots[wide]
    begin, end = part_by_length(starts, job[FOUND], task[THREADS])
    for s in range(begin, end):
        row = ordered[starts[s]] >> bits
        later = ordered[starts[min(s + ROWS_AHEAD, job[FOUND] - 1)]] >> bits
        for byte in range(0, stride, 64):
            prefetch(table + later * stride + byte)
            if job[RULE] == ADAM:
                prefetch(job[FIRST] + later * stride + byte)
                prefetch(job[SECOND] + later * stride + byte)
        place = spare.ctypes.data
        if job[TARGET] != 0:
            place = job[TARGET] + (row if job[DENSE] else s) * stride
        total = float32s(place)
        for k in range(columns):
            total[k] = np.float32(0)
        if plain:
            for p in range(starts[s], starts[s + 1]):
                total[0] += noted[ordered[p] & id_mask]
        for p in range(starts[s], starts[s] if plain else starts[s + 1]):
            b, j = ordered[p] & id_mask, entries[(ordered[p] >> id_bits) & use_mask]
            if numbers:
                add_numbers(program, lines, factors, dots, j, b, place)
                continue
            after = ordered[min(p + AHEAD, last)] & id_mask
            for byte in range(0, size, 64):
                prefetch(task[GRAD] + after * size + byte)
            gradient = task[GRAD] + b * size
            if not simple:
                for i in range(wide):
                    other = row_address(program, lines, i, after)
                    for byte in range(0, program[1 + i, COLUMNS] * 4, 64):
                        prefetch(other + byte)
                add_row(program, lines, factors, dots, gradient, j, b, place)
                continue
            if summed and j == 0:
                dots[wide, b] = sum_of(gradient, program[0, WIDTH])
            if fusion == CONCAT:
                gradient += program[1 + j, OFFSET] * 4
            factor = factors[wide, b] if dotted else np.float32(1)
            dot = add_scaled(place, gradient, factor, table + row * stride, dotted, columns)
            if dotted:
                dots[0, b] = dot
        if job[RULE] != NO_RULE:
            change_row(job[RULE], table, row, columns, place, job[FIRST], job[SECOND], constants)
