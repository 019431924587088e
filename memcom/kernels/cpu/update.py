"""Compiled optimizer steps on the rows that have a gradient, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.native import (
    compiled,
    float32s,
    int64_array,
    int64s,
    njit,
    prefetch,
    row_address,
)
from memcom.kernels.cpu.sorting import summed
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import address, readable

NO_RULE, SGD, ADAGRAD, ADAM = range(4)
_RULES = {"sgd": SGD, "adagrad": ADAGRAD, "adam": ADAM}
AHEAD = 12  # rows between prefetching a row and changing it
SERIAL = 1 << 14  # numbers to change below which one thread is faster

THREADS, RULE, ROWS, VALUES, COUNT, WIDTH, TABLE, END, FIRST, SECOND, NUMBERS = range(11)
MOST_NUMBERS = 4  # constants of a rule


class Step:
    """One step of an optimizer on one table; see `memcom.kernels.fused_step`."""

    def __init__(self, rule: str, states: tuple[Tensor, ...], numbers: list[float]) -> None:
        self._rule, self._states = _RULES[rule], states
        self._numbers = np.array(numbers, np.float32)

    def code(self, table: Tensor) -> tuple[int, int, int, int]:
        """Return the rule, and the addresses of both moments (0 for none) and of the constants.

        Raises:
            ValueError: A moment has another shape than the rule keeps for the table.
        """
        shape = (table.shape[0], 1) if self._rule == ADAGRAD else tuple(table.shape)
        for state in self._states:
            if state.shape != shape:
                raise ValueError(
                    f"the optimizer's state for a table of shape {list(table.shape)} must have "
                    f"shape {list(shape)}, got {list(state.shape)}"
                )
        first, second = [*(address(state, torch.float32) for state in self._states), 0, 0][:2]
        return self._rule, first, second, self._numbers.ctypes.data


def update(table: Tensor, gradient: Tensor, step: Step) -> None:
    """Change the rows that have a sparse gradient, of a contiguous float32 matrix on the CPU.

    Raises:
        ValueError: The gradient has another shape than the table.
        IndexError: It names a row that the table does not have.
    """
    rows, values = readable(gradient._indices()), readable(gradient._values())
    if gradient.shape != table.shape or values.shape != (rows.shape[1], table.shape[1]):
        shapes = f"{list(gradient.shape)} for a table of shape {list(table.shape)}"
        raise ValueError(f"a sparse gradient has shape {shapes}")
    if not _ascending(address(rows, torch.int64), rows.shape[1]):
        found = summed(rows[0], values)
        if found is None:
            raise _outside(rows, table)
        rows, values = found[0].unsqueeze(0), found[1]
    # The rows rise, so the first and the last say whether all are in the table.
    if rows.numel() and (int(rows[0, 0]) < 0 or int(rows[0, -1]) >= table.shape[0]):
        raise _outside(rows, table)
    count, width = rows.shape[1], table.shape[1]
    rule, *addresses = step.code(table)
    gradients = address(rows, torch.int64), address(values, torch.float32), count, width
    threads = num_threads() if count * width >= SERIAL else 1
    place = address(table, torch.float32)
    end = place + table.numel() * table.element_size()
    fields = threads, rule, *gradients, place, end, *addresses
    run_task(_update_task, np.array(fields, np.int64))


def _outside(rows: Tensor, table: Tensor) -> IndexError:
    least, most = int(rows.min()), int(rows.max())
    return IndexError(
        f"a sparse gradient names rows {least} to {most}, but the table has {table.shape[0]}"
    )


@compiled(njit, types.boolean(types.int64, types.int64), nogil=True)
def _ascending(rows: int, count: int) -> bool:
    """True if the int64 numbers at ``rows`` rise strictly, so that none occurs twice."""
    numbers, rises = int64s(rows, count), True
    for k in range(1, count):
        rises &= numbers[k] > numbers[k - 1]
    return rises


@njit
def _sgd(row: int, gradient: int, c: Any, width: int) -> None:
    w, g, rate = float32s(row, width), float32s(gradient, width), c[0]
    for k in range(width):
        w[k] -= rate * g[k]


@njit(fastmath={"reassoc", "contract"})
def _mean_square(gradient: int, width: int) -> Any:
    g, total = float32s(gradient, width), np.float32(0)
    for k in range(width):
        total += g[k] * g[k]
    return total / np.float32(width)


@njit
def _adagrad(row: int, gradient: int, state: int, c: Any, width: int) -> None:
    w, g, total = float32s(row, width), float32s(gradient, width), float32s(state, 1)
    total[0] += _mean_square(gradient, width)
    rate = c[0] / (np.sqrt(total[0]) + c[1])
    for k in range(width):
        w[k] -= rate * g[k]


@njit
def _adam(row: int, gradient: int, first: int, second: int, c: Any, width: int) -> None:
    w, g = float32s(row, width), float32s(gradient, width)
    m, s = float32s(first, width), float32s(second, width)
    rate, eps, one, two = c[0], c[1], c[2], c[3]
    for k in range(width):
        m[k] += one * (g[k] - m[k])
        s[k] += two * (g[k] * g[k] - s[k])
        w[k] -= rate * m[k] / (np.sqrt(s[k]) + eps)


@njit
def change_row(
    rule: int,
    table: int,
    end: int,
    row: int,
    width: int,
    gradient: int,
    first: int,
    second: int,
    c: Any,
) -> None:
    """Change one row, of the table that ends at ``end``, by a rule with the constants ``c``.

    ``first`` is the address of the first moments or of Adagrad's sums, ``second`` that of the
    second moments.
    """
    place = row_address(table, row, width * 4, end)
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


@compiled(cfunc, types.void(types.int64))
def _update_task(task_address: int) -> None:
    """Change one thread's part of the rows."""
    task = int64_array(task_address, (NUMBERS + 1,))
    rule, count, width = task[RULE], task[COUNT], task[WIDTH]
    size = width * 4
    rows, constants = int64s(task[ROWS], count), float32s(task[NUMBERS], MOST_NUMBERS)
    first, second = task[FIRST], task[SECOND]
    start, stop = part_of(count, task[THREADS])
    if rule == SGD and width == 1:  # cells of an array: many, and a call takes longer than a step
        gradients, rate = float32s(task[VALUES], count), constants[0]
        table, end = task[TABLE], task[END]
        for k in range(start, stop):
            cell = float32s(row_address(table, rows[k], 4, end), 1)
            cell[0] -= rate * gradients[k]
        return
    for k in range(start, stop):
        later = rows[min(k + AHEAD, count - 1)]
        prefetch_row(rule, task[TABLE], later, size, first, second)
        gradient = task[VALUES] + k * size
        table, end = task[TABLE], task[END]
        change_row(rule, table, end, rows[k], width, gradient, first, second, constants)
