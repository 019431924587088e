"""Fusing the rows of a block of ids into their vectors: sums, products and pieces side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from memcom.kernels._native import float32s, prefetch
from memcom.kernels._program import (
    COLUMNS,
    CONCAT,
    FUSION,
    MODULUS,
    OFFSET,
    ROWS,
    SCALES,
    SUM,
    TABLE,
    WEIGHTS,
    WIDTH,
)
from memcom.kernels._vectors import BYTES, nothing, read, spread, write

AHEAD = 24  # ids between asking for a row and reading it
NEAR = 1 << 19  # bytes of a table that stays in the cache by itself


@njit
def to_addresses(entry: Any, rows: Any, n: int) -> None:
    """Turn the row numbers of a block into memory addresses, and ask for the first rows."""
    table, size = entry[TABLE], entry[COLUMNS] * 4
    for b in range(n):
        rows[b] = table + rows[b] * size
    for b in range(min(AHEAD, n) if _is_far(entry) else 0):
        ask_for(rows[b], size)


@njit(forceinline=True)
def _is_far(entry: Any) -> bool:
    """Whether a table is so large that its rows are worth asking for."""
    return entry[MODULUS] * entry[COLUMNS] * 4 > NEAR


@njit(forceinline=True)
def ask_for(row: int, size: int) -> None:
    """Ask for the row of ``size`` bytes at address ``row``, to be read soon."""
    for byte in range(0, size, BYTES):
        prefetch(row + byte)


# What the wide rows of id `b` come to at `byte`: a number or a vector, whichever `like` is. One row
# or two are far more usual than many, and written out they take half the time. `weights` is where
# the id's weights lie.


@njit(forceinline=True)
def _row(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    return read(rows[0, b] + byte, like)


@njit(forceinline=True)
def _sum_of_two(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    return read(rows[0, b] + byte, like) + read(rows[1, b] + byte, like)


@njit(forceinline=True)
def _product_of_two(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    return read(rows[0, b] + byte, like) * read(rows[1, b] + byte, like)


@njit(forceinline=True)
def _sum(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    value = read(rows[0, b] + byte, like)
    for j in range(1, rows.shape[0]):
        value = value + read(rows[j, b] + byte, like)
    return value


@njit(forceinline=True)
def _product(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    value = read(rows[0, b] + byte, like)
    for j in range(1, rows.shape[0]):
        value = value * read(rows[j, b] + byte, like)
    return value


@njit(forceinline=True)
def _weighted_sum(rows: Any, weights: int, b: int, byte: int, like: Any) -> Any:
    weight = float32s(weights)
    value = read(rows[0, b] + byte, like) * spread(weight[0], like)
    for j in range(1, rows.shape[0]):
        value = value + read(rows[j, b] + byte, like) * spread(weight[j], like)
    return value


def _writer(value: Any) -> Callable[..., None]:
    """The compiled loop over a block's ids that writes ``value`` of their rows."""

    @njit
    def write_all(program: Any, rows: Any, first: int, last: int, out: int, n: int) -> None:
        """Fuse the wide rows ``first`` to ``last`` of each id; else as for `fuse`."""
        head, entries, wide = program[0], program[1:], rows[first:last]
        step, size = head[WIDTH] * 4, entries[first, COLUMNS] * 4
        whole, vector, number = size // BYTES * BYTES, nothing(), np.float32(0)
        weight = head[ROWS] * head[WEIGHTS]
        first_weight, last_weight = (first, last) if weight and head[FUSION] != SUM else (0, 0)
        scales = head[ROWS] + head[WEIGHTS]
        shifts, end = scales + head[SCALES], entries.shape[0]
        for b in range(n):
            if b + AHEAD < n:
                for j in range(first, last):
                    if _is_far(entries[j]):
                        ask_for(rows[j, b + AHEAD], size)
                for j in range(head[ROWS], end):
                    prefetch(rows[j, b + AHEAD])
            place, weights = out + b * step, rows[weight, b]
            factor, term = np.float32(1), np.float32(0)
            for j in range(first_weight, last_weight):
                factor *= float32s(weights)[j]
            for j in range(scales, shifts):
                factor *= float32s(rows[j, b])[0]
            for j in range(shifts, end):
                term += float32s(rows[j, b])[0]
            factors, terms = spread(factor, vector), spread(term, vector)
            for byte in range(0, whole, BYTES):
                write(place + byte, value(wide, weights, b, byte, vector) * factors + terms)
            for byte in range(whole, size, 4):
                write(place + byte, value(wide, weights, b, byte, number) * factor + term)

    return write_all


_write_row, _write_sum, _write_product = map(_writer, [_row, _sum, _product])
_write_sum_of_two, _write_product_of_two = map(_writer, [_sum_of_two, _product_of_two])
_write_weighted_sum = _writer(_weighted_sum)


@njit
def fuse(program: Any, rows: Any, out: int, n: int) -> None:
    """Write the vectors of a block of ids.

    Args:
        program: See `memcom.kernels._program`.
        rows: Memory addresses of what the block reads, one line per entry.
        out: Where the first vector goes.
        n: Ids in the block.
    """
    wide, fusion = program[0, ROWS], program[0, FUSION]
    if fusion == CONCAT:
        for j in range(wide):
            _write_row(program, rows, j, j + 1, out + program[1 + j, OFFSET] * 4, n)
    elif fusion == SUM and program[0, WEIGHTS]:
        _write_weighted_sum(program, rows, 0, wide, out, n)
    elif wide == 1:
        _write_row(program, rows, 0, 1, out, n)
    elif wide == 2 and fusion == SUM:
        _write_sum_of_two(program, rows, 0, 2, out, n)
    elif wide == 2:
        _write_product_of_two(program, rows, 0, 2, out, n)
    elif fusion == SUM:
        _write_sum(program, rows, 0, wide, out, n)
    else:
        _write_product(program, rows, 0, wide, out, n)
