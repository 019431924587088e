"""Compiled optimizer steps on the rows that have a gradient, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types
from torch import Tensor

from memcom.kernels._native import float32s, int64s, num_threads, prefetch, run, take_next

SGD, ADAGRAD, ADAM = range(3)
AHEAD = 12  # rows between asking for a row and changing it
CHUNK = 256  # rows that a thread takes at a time
SERIAL = 1 << 14  # numbers to change below which one thread is quicker

NEXT, RULE, ROWS, VALUES, COUNT, WIDTH, TABLE, FIRST, SECOND, NUMBERS = range(10)


def update(
    rule: int, table: Tensor, gradient: Tensor, states: tuple[Tensor, ...], numbers: list[float]
) -> None:
    """Carry out one step of ``rule`` in place.

    Args:
        rule: ``SGD``, ``ADAGRAD`` or ``ADAM``.
        table: Contiguous float32 matrix on the CPU.
        gradient: Sparse gradient of it.
        states: The table's moments: none, ``(rows, 1)``, or two of the table's shape.
        numbers: The rule's constants, as `_step` names them.
    """
    rows, values = gradient._indices(), gradient._values().contiguous()
    if not ascending(rows.data_ptr(), rows.shape[1]):
        gradient = gradient.coalesce()
        rows, values = gradient.indices(), gradient.values()
    rows = rows.contiguous()
    constants = np.array(numbers, np.float32)
    places = [t.data_ptr() for t in states] + [0, 0]
    count, width = rows.shape[1], table.shape[1]
    task = np.array(
        [
            *(0, rule, rows.data_ptr(), values.data_ptr(), count, width, table.data_ptr()),
            *(places[0], places[1], constants.ctypes.data),
        ],
        np.int64,
    )
    threads = num_threads() if count * width >= SERIAL else 1
    run(update_task, task.ctypes.data, threads)


@njit(types.boolean(types.int64, types.int64), nogil=True, cache=True)
def ascending(rows: int, count: int) -> bool:
    """Whether the int64 numbers at ``rows`` rise all the way, so that none occurs twice."""
    numbers, rises = int64s(rows), True
    for k in range(1, count):
        rises &= numbers[k] > numbers[k - 1]
    return rises


@njit
def _sgd(row: int, gradient: int, c: Any, width: int) -> None:
    w, g, rate = float32s(row), float32s(gradient), c[0]
    for k in range(width):
        w[k] -= rate * g[k]


@njit(fastmath={"reassoc", "contract"})
def _mean_square(gradient: int, width: int) -> Any:
    g, total = float32s(gradient), np.float32(0)
    for k in range(width):
        total += g[k] * g[k]
    return total / np.float32(width)


@njit
def _adagrad(row: int, gradient: int, state: int, c: Any, width: int) -> None:
    w, g, total = float32s(row), float32s(gradient), float32s(state)
    total[0] += _mean_square(gradient, width)
    rate = c[0] / (np.sqrt(total[0]) + c[1])
    for k in range(width):
        w[k] -= rate * g[k]


@njit
def _adam(row: int, gradient: int, first: int, second: int, c: Any, width: int) -> None:
    w, g, m, s = float32s(row), float32s(gradient), float32s(first), float32s(second)
    rate, eps, one, two = c[0], c[1], c[2], c[3]
    for k in range(width):
        m[k] += one * (g[k] - m[k])
        s[k] += two * (g[k] * g[k] - s[k])
        w[k] -= rate * m[k] / (np.sqrt(s[k]) + eps)


@cfunc(types.void(types.int64), cache=True)
def update_task(address: int) -> None:
    """Change chunks of rows until none is left."""
    task = carray(int64s(address), (10,))
    rule, count, width = task[RULE], task[COUNT], task[WIDTH]
    size = width * 4
    rows, constants = int64s(task[ROWS]), float32s(task[NUMBERS])
    while True:
        start = take_next(address) * CHUNK
        if start >= count:
            break
        for k in range(start, min(count, start + CHUNK)):
            later = rows[min(k + AHEAD, count - 1)]
            for byte in range(0, size, 64):
                prefetch(task[TABLE] + later * size + byte)
                if rule == ADAM:
                    prefetch(task[FIRST] + later * size + byte)
                    prefetch(task[SECOND] + later * size + byte)
            row, gradient = rows[k], task[VALUES] + k * size
            place = task[TABLE] + row * size
            if rule == SGD:
                _sgd(place, gradient, constants, width)
            elif rule == ADAGRAD:
                _adagrad(place, gradient, task[FIRST] + row * 4, constants, width)
            else:
                first, second = task[FIRST] + row * size, task[SECOND] + row * size
                _adam(place, gradient, first, second, constants, width)
