"""The compiled forward pass: addresses, rows and fusion in one sweep over the ids.

Ids are taken a block at a time. For a block, the addresses of all rows are worked out,
in loops the compiler can vectorise; then the rows are fused straight into the output, each asked
for some ids ahead of its use. Nothing else is written, so a lookup costs
the bytes that it has to move.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from memcom.kernels._fuse import fuse, to_addresses
from memcom.kernels._native import entry_point, float32s, int64s
from memcom.kernels._program import FIELDS, LIMIT, PADDING, WIDTH
from memcom.kernels._rows import BLOCK, block_rows, load_ids
from memcom.kernels._threads import launch, part_of

THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OUT = range(8)


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
    return np.empty((program.shape[0], size), np.int64)


@njit
def compose_block(
    program: Any, ids: int, id_bytes: int, first: int, n: int, spare: Any, out: int
) -> int:
    """Vectors of the ``n`` ids from number ``first`` on, written to ``out``.

    Returns:
        -1, or the number of an id that is out of range.
    """
    head, keys, rows = program[0], spare[0], spare[1:]
    bad = load_ids(ids, id_bytes, first, n, head[LIMIT], keys)
    if bad >= 0:
        return first + bad
    for j in range(rows.shape[0]):
        block_rows(program[1 + j], head[LIMIT], keys, rows[j], n)
        to_addresses(program[1 + j], rows[j], n)
    fuse(program, rows, out, n)
    if head[PADDING] >= 0:
        _blank(keys, head[PADDING], out, head[WIDTH], n)
    return -1


@cfunc(types.void(types.int64), cache=True)
@entry_point
def forward_task(address: int) -> None:
    """Write one thread's part of the vectors of a task; see the names above for its fields."""
    task = carray(int64s(address), (OUT + 1,))
    program = carray(int64s(task[PROGRAM]), (task[ENTRIES], FIELDS))
    start, stop = part_of(task[COUNT], task[THREADS])
    size = max(1, min(BLOCK, stop - start))
    spare = scratch(program, size)
    for first in range(start, stop, size):
        place = task[OUT] + first * program[0, WIDTH] * 4
        n = min(size, stop - first)
        bad = compose_block(program, task[IDS], task[ID_BYTES], first, n, spare, place)
        if bad >= 0:
            task[BAD] = bad
            break


_word = types.int64


@njit(types.int64(*[_word] * 8), nogil=True, cache=True)
@entry_point
def forward(
    function: int,
    threads: int,
    program: int,
    entries: int,
    ids: int,
    id_bytes: int,
    count: int,
    out: int,
) -> int:
    """Vectors of ``count`` ids at ``ids``, written to ``out``.

    Args:
        function: Address of `forward_task`.
        threads: On how many threads.
        program: Address of a program; see `memcom.kernels._program`.
        entries: Entries of the program, the head included.
        ids: Address of the ids.
        id_bytes: Bytes of an id, 4 or 8.
        count: How many ids.
        out: Address of the output.

    Returns:
        -1, or the position of an id that is out of range; the output is then unfinished.
    """
    task = np.array([threads, -1, program, entries, ids, id_bytes, count, out])
    launch(function, task.ctypes.data)
    return task[BAD]
