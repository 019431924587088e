"""What one read of one id adds to the gradient of the row it read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from memcom.kernels._native import float32s
from memcom.kernels._program import (
    COLUMNS,
    CONCAT,
    FUSION,
    MULT,
    OFFSET,
    ROWS,
    SCALES,
    SHIFTS,
    TABLE,
    WEIGHTS,
    WIDTH,
)


@njit
def row_address(program: Any, lines: Any, j: int, b: int) -> int:
    """Where the row lies that read ``j`` of id ``b`` reads."""
    return program[1 + j, TABLE] + lines[j, b] * program[1 + j, COLUMNS] * 4


@njit(fastmath={"reassoc", "contract"})
def dot_of(left: int, right: int, width: int) -> Any:
    """Dot product of two rows."""
    a, c, total = float32s(left), float32s(right), np.float32(0)
    for k in range(width):
        total += a[k] * c[k]
    return total


@njit(fastmath={"reassoc"})
def sum_of(row: int, width: int) -> Any:
    """Sum of a row."""
    a, total = float32s(row), np.float32(0)
    for k in range(width):
        total += a[k]
    return total


@njit
def add_scaled(place: int, row: int, factor: Any, own: int, dotted: bool, width: int) -> Any:
    """Add ``factor`` times a row; returns its dot product with the row ``own``, if asked for."""
    total, a = float32s(place), float32s(row)
    for k in range(width):
        total[k] += a[k] * factor
    return dot_of(row, own, width) if dotted else np.float32(0)


@njit
def _add_product(place: int, left: int, right: int, factor: Any, width: int) -> None:
    total, a, c = float32s(place), float32s(left), float32s(right)
    for k in range(width):
        total[k] += a[k] * c[k] * factor


@njit
def _weight(program: Any, factors: Any, j: int, b: int) -> Any:
    return factors[j, b] if program[0, WEIGHTS] else np.float32(1)


@njit
def _note(program: Any, lines: Any, dots: Any, gradient: int, b: int) -> None:
    """Keep the dot products of id ``b`` that the gradients of its scalars are made of."""
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    if program[0, SHIFTS]:
        dots[wide, b] = sum_of(gradient, width)
    if fusion != MULT:
        if program[0, WEIGHTS]:
            for i in range(wide):
                piece = gradient + (program[1 + i, OFFSET] * 4 if fusion == CONCAT else 0)
                row = row_address(program, lines, i, b)
                dots[i, b] = dot_of(piece, row, program[1 + i, COLUMNS])
    elif program[0, SCALES] + program[0, WEIGHTS]:
        if wide == 1:
            dots[0, b] = dot_of(gradient, row_address(program, lines, 0, b), width)
        else:
            g, total = float32s(gradient), np.float32(0)
            for k in range(width):
                product = g[k]
                for i in range(wide):
                    product *= float32s(row_address(program, lines, i, b))[k]
                total += product
            dots[0, b] = total


@njit
def add_row(
    program: Any, lines: Any, factors: Any, dots: Any, gradient: int, j: int, b: int, place: int
) -> None:
    """Add what wide row ``j`` of id ``b`` gets, whatever the recipe."""
    wide, width, fusion = program[0, ROWS], program[0, WIDTH], program[0, FUSION]
    if j == 0:
        _note(program, lines, dots, gradient, b)
    if fusion != MULT:
        piece = gradient + (program[1 + j, OFFSET] * 4 if fusion == CONCAT else 0)
        columns = program[1 + j, COLUMNS]
        add_scaled(place, piece, _weight(program, factors, j, b), piece, False, columns)
        return
    factor = factors[wide, b]
    for i in range(wide):
        factor *= _weight(program, factors, i, b)
    if wide == 1:
        add_scaled(place, gradient, factor, gradient, False, width)
    elif wide == 2:
        _add_product(place, gradient, row_address(program, lines, 1 - j, b), factor, width)
    else:
        total, g = float32s(place), float32s(gradient)
        for k in range(width):
            product = g[k] * factor
            for i in range(wide):
                if i != j:
                    product *= float32s(row_address(program, lines, i, b))[k]
            total[k] += product


@njit
def add_numbers(
    program: Any, lines: Any, factors: Any, dots: Any, j: int, b: int, place: int
) -> None:
    """Add what entry ``j``, a row of weights, a scale or a shift, gets from id ``b``."""
    wide, total = program[0, ROWS], float32s(place)
    scales = wide + program[0, WEIGHTS]
    if j >= scales + program[0, SCALES]:
        total[0] += dots[wide, b]
    elif j >= scales:
        value = dots[0, b]
        for i in range(wide if program[0, WEIGHTS] else 0):
            value *= factors[i, b]
        for i in range(scales, scales + program[0, SCALES]):
            if i != j:
                value *= float32s(row_address(program, lines, i, b))[0]
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
