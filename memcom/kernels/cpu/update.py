"""Compiled optimizer steps on the rows that have a gradient, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from torch import Tensor

from memcom.kernels.cpu.native import entry_point, float32s, int64s, prefetch
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import address

NO_RULE, SGD, ADAGRAD, ADAM = range(4)
_RULES = {"sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM}
AHEAD = 12  # rows between prefetching a row and changing it
SERIAL = 1 << 14  # numbers to change below which one thread is faster

THREADS, RULE, ROWS, VALUES, COUNT, WIDTH, TABLE, FIRST, SECOND, NUMBERS = range(10)


class Step:
    """One step of an optimizer on one table; see `memcom.kernels.fused_step`."""

    def __init__(self, rule: str, states: tuple[Tensor, ...], numbers: list[float]) -> None:
        self._rule, self._states = _RULES[rule], states
        self._numbers = np.array(numbers, np.float32)

    def code(self) -> tuple[int, int, int, int]:
        """Return the rule, and the addresses of both moments (0 for none) and of the constants."""
        first, second = [*(address(state, torch.float32) for state in self._states), 0, 0][:2]
        return self._rule, first, second, self._numbers.ctypes.data


def update(table: Tensor, gradient: Tensor, step: Step) -> None:
    """Change the rows that have a sparse gradient, of a contiguous float32 matrix on the CPU."""
    rows, values = gradient._indices().contiguous(), gradient._values().contiguous()
    if not _ascending(address(rows, torch.int64), rows.shape[1]):
        gradient = gradient.coalesce()
        rows, values = gradient.indices().contiguous(), gradient.values()
    count, width = rows.shape[1], table.shape[1]
    rule, *addresses = step.code()
    gradients = address(rows, torch.int64), address(values, torch.float32), count, width
    threads = num_threads() if count * width >= SERIAL else 1
    fields = threads, rule, *gradients, address(table, torch.float32), *addresses
    run_task(_update_task, np.array(fields, np.int64))


@njit(types.boolean(types.int64, types.int64), nogil=True, cache=True)
@entry_point
def _ascending(rows: int, count: int) -> bool:
    """True if the int64 numbers at ``rows`` rise strictly, so that none occurs twice."""
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


@njit
def change_row(
    rule: int, table: int, row: int, width: int, gradient: int, first: int, second: int, c: Any
) -> None:
    """Change one row by a rule with the constants ``c``.

    ``first`` is the address of the first moments or of Adagrad's sums, ``second`` that of the
    second moments.
    """
    place = table + row * width * 4
    if rule == SGD:
        _sgd(place, gradient, c, width)
    elif rule == ADAGRAD:
        _adagrad(place, gradient, first + row * 4, c, width)
    else:
        moved = row * width * 4
        _adam(place, gradient, first + moved, second + moved, c, width)


@njit(forceinline=True)
def prefetch_row(rule: int, table: int, row: int, size: int, first: int, second: int) -> None:
    """Prefetch a row of ``size`` bytes, and its moments."""
    for byte in range(0, size, 64):
        prefetch(table + row * size + byte)
        if rule == ADAM:
            prefetch(first + row * size + byte)
            prefetch(second + row * size + byte)


@cfunc(types.void(types.int64), cache=True)
@entry_point
def _update_task(task_address: int) -> None:
    """Change one thread's part of the rows."""
    task = carray(int64s(task_address), (NUMBERS + 1,))
    rule, count, width = task[RULE], task[COUNT], task[WIDTH]
    size = width * 4
    rows, constants = int64s(task[ROWS]), float32s(task[NUMBERS])
    first, second = task[FIRST], task[SECOND]
    start, stop = part_of(count, task[THREADS])
    for k in range(start, stop):
        later = rows[min(k + AHEAD, count - 1)]
        prefetch_row(rule, task[TABLE], later, size, first, second)
        gradient = task[VALUES] + k * size
        change_row(rule, task[TABLE], rows[k], width, gradient, first, second, constants)
