"""Compiled matrix products of rows that are sorted by class, a matrix for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import multiply_rows, transpose
from memcom.kernels.cpu.native import BYTES, address_of, compiled, int64_array, njit
from memcom.kernels.cpu.threads import num_threads, part_by_length, run_task
from memcom.kernels.gate import address, allocate

THREADS, CLASSES, BEGINS, WIDTH, COLUMNS, KIND, ROWS, OTHERS, OUT = range(9)
PRODUCT, TURNED, OUTER = range(3)  # by the matrices, by their transposes; products of two rows
SERIAL = 1 << 16  # multiplications below which one thread is faster


@njit
def _multiply(a: int, rows: int, depth: int, b: int, columns: int, out: int) -> None:
    """Multiply two matrices; the second has whole vectors in a row."""
    size = columns * 4
    for byte in range(0, size, BYTES):
        multiply_rows(a, depth * 4, rows, depth, b + byte, size, out + byte, size)


@compiled(cfunc, types.void(types.int64))
def _class_task(task_address: int) -> None:
    """Compute the products of one thread's classes."""
    task = int64_array(task_address, (OUT + 1,))
    classes, width, columns, kind = task[CLASSES], task[WIDTH], task[COLUMNS], task[KIND]
    begins = int64_array(task[BEGINS], (classes + 1,))
    start, stop = part_by_length(begins, classes, task[THREADS])
    most = columns
    if kind == OUTER:
        for c in range(start, stop):
            most = max(most, begins[c + 1] - begins[c])
    space = np.empty(width * most, np.float32)
    turned = address_of(space)
    for c in range(start, stop):
        first, count = begins[c], begins[c + 1] - begins[c]
        rows, matrix = task[ROWS] + first * width * 4, c * width * columns * 4
        if kind == OUTER:
            transpose(rows, width * 4, count, width, turned, count * 4)
            others = task[OTHERS] + first * columns * 4
            _multiply(turned, width, count, others, columns, task[OUT] + matrix)
        else:
            weights = task[OTHERS] + matrix
            if kind == TURNED:
                transpose(weights, width * 4, columns, width, turned, columns * 4)
                weights = turned
            _multiply(rows, count, width, weights, columns, task[OUT] + first * columns * 4)


def class_product(rows: Tensor, weights: Tensor, sizes: Sequence[int], turned: bool) -> Tensor:
    """Multiply ``(n, a)`` rows by ``(C, a, b)`` weights, or by the transposes of ``(C, b, a)``.

    The width of the result, b, is a multiple of `LANES`, and ``sizes`` add up to n.
    """
    columns = weights.shape[1] if turned else weights.shape[2]
    out, place = allocate(len(rows), columns)
    _run(TURNED if turned else PRODUCT, rows, columns, weights, sizes, place)
    return out


def class_outer(rows: Tensor, others: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sum the outer products of ``(n, a)`` and ``(n, b)`` rows over each class: ``(C, a, b)``.

    b is a multiple of `LANES`, and ``sizes`` add up to n.
    """
    out, place = allocate(len(sizes), rows.shape[1], others.shape[1])
    _run(OUTER, rows, others.shape[1], others, sizes, place)
    return out


def _run(
    kind: int, rows: Tensor, columns: int, others: Tensor, sizes: Sequence[int], out: int
) -> None:
    begins = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=begins[1:])
    threads = num_threads() if rows.numel() * columns >= SERIAL else 1
    shape: tuple[Any, ...] = threads, len(sizes), begins.ctypes.data, rows.shape[1], columns
    given = address(rows, torch.float32), address(others, torch.float32)
    run_task(_class_task, np.array([*shape, kind, *given, out], np.int64))
