"""Sorting by digits, which brings equal numbers together: distinct ids, one sum for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import add_row, copy_rows
from memcom.kernels.cpu.native import address_of, compiled, int64s, njit
from memcom.kernels.gate import CPU, address, allocate

RADIX = 11  # bits sorted by in one pass; their counts fit the first-level cache
_MOST = 63  # bits of a number that is not negative
_word = types.int64


@njit
def sort_keys(source: int, target: int, count: int, low: Any, high: Any) -> int:
    """Sort int64 keys stably by their bits ``[low, high)``; returns the buffer they end up in."""
    begins = np.empty(1 << RADIX, np.int64)
    for bit in range(low, high, RADIX):
        keys, out = int64s(source, count), int64s(target, count)
        mask = (1 << min(RADIX, high - bit)) - 1
        for digit in range(mask + 1):
            begins[digit] = 0
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
def _bits(number: Any) -> Any:
    bits = np.int64(0)
    while number >> bits:
        bits += 1
    return bits


@njit
def _sorted(source: int, count: int, keys: Any, spare: Any) -> Any:
    """Sort numbers, each with its position below it; return the keys and the bits of a position.

    The bits are -1 where a number is negative, or too large for that.
    """
    numbers, bits, most = int64s(source, count), _bits(count - 1), np.int64(0)
    bad = False
    for k in range(count):
        bad |= numbers[k] < 0
        most = max(most, numbers[k])
    if bad or bits + _bits(most) > _MOST:
        return int64s(address_of(keys), count), np.int64(-1)
    for k in range(count):
        keys[k] = (numbers[k] << bits) | k
    place = sort_keys(address_of(keys), address_of(spare), count, bits, bits + _bits(most))
    return int64s(place, count), bits


@compiled(njit, _word(_word, _word, _word, _word), nogil=True)
def _distinct(source: int, count: int, distinct: int, places: int) -> Any:
    """Write the distinct numbers, ascending, and the place of each number among them."""
    keys, spare = np.empty(count, np.int64), np.empty(count, np.int64)
    ordered, bits = _sorted(source, count, keys, spare)
    if bits < 0:
        return -1
    numbers, place = int64s(distinct, count), int64s(places, count)
    found: Any = np.int64(0)
    last = np.int64(-1)
    for p in range(count):
        number = ordered[p] >> bits
        if number != last:
            numbers[found] = number
            found += 1
            last = number
        place[ordered[p] - (number << bits)] = found - 1
    return found


@compiled(njit, _word(_word, _word, _word, _word, _word, _word), nogil=True)
def _sums(source: int, values: int, count: int, width: int, rows: int, sums: int) -> Any:
    """Write the distinct row numbers, ascending, and the sum of the values of each."""
    keys, spare = np.empty(count, np.int64), np.empty(count, np.int64)
    ordered, bits = _sorted(source, count, keys, spare)
    if bits < 0:
        return -1
    numbers, size = int64s(rows, count), width * 4
    found: Any = np.int64(0)
    last = np.int64(-1)
    for p in range(count):
        number = ordered[p] >> bits
        value = values + (ordered[p] - (number << bits)) * size
        if number == last:
            add_row(value, sums + (found - 1) * size, width)
            continue
        copy_rows(value, size, sums + found * size, size, 1, width)
        numbers[found] = number
        found += 1
        last = number
    return found


def distinct(ids: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the distinct ids, ascending, and the place of each id among them.

    Args:
        ids: int64 ``(n,)``, contiguous and on the CPU.

    Returns:
        int64 ``(d,)`` and ``(n,)``; None where an id is negative or beyond 2^63 / n.
    """
    given, count = address(ids, torch.int64), len(ids)
    found, places = (torch.empty(count, dtype=torch.int64, device=CPU) for _ in range(2))
    number = _distinct(given, count, address(found, torch.int64), address(places, torch.int64))
    return None if number < 0 else (found[:number], places)


def summed(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the distinct rows, ascending, and the sums of their values, in the order given.

    Args:
        rows: int64 ``(n,)``, contiguous and on the CPU.
        values: float32 ``(n, width)``, likewise.

    Returns:
        int64 ``(d,)`` and float32 ``(d, width)``; None where a row is negative or beyond 2^63 / n.
    """
    count, width = values.shape
    given = address(rows, torch.int64), address(values, torch.float32)
    found, (sums, place) = torch.empty(count, dtype=torch.int64, device=CPU), allocate(count, width)
    number = _sums(*given, count, width, address(found, torch.int64), place)
    return None if number < 0 else (found[:number], sums[:number])
