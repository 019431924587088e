"""Compiled addresses: which rows a block of ids reads. The plain form is `memcom.addresses`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from memcom.kernels._native import int32s, int64s
from memcom.kernels._program import CLAMP, DIVISOR, MODULUS, SEED, STRIDE

BLOCK = 512  # ids handled at a time: their rows' numbers stay in the first-level cache
_WORD = np.uint64(0xFFFFFFFF)


@njit
def load_ids(ids: int, id_bytes: int, start: int, count: int, limit: int, keys: Any) -> int:
    """Copy ``count`` ids from number ``start`` on to ``keys``.

    Returns:
        -1, or the position in the block of an id outside ``[0, limit)``.
    """
    low, high = np.int64(0), np.int64(0)
    if id_bytes == 4:
        narrow = int32s(ids + start * 4)
        for b in range(count):
            keys[b] = narrow[b]
            low, high = min(low, keys[b]), max(high, keys[b])
    else:
        wide = int64s(ids + start * 8)
        for b in range(count):
            keys[b] = wide[b]
            low, high = min(low, keys[b]), max(high, keys[b])
    if low < 0 or high >= limit:
        for b in range(count):
            if keys[b] < 0 or keys[b] >= limit:
                return b
    return -1


@njit
def block_rows(entry: Any, limit: int, keys: Any, rows: Any, count: int) -> None:
    """Rows read by ``keys`` according to one entry of a program, written to ``rows``.

    Quotients come from a multiplication by the reciprocal, which is off by one at the most, and
    are then put right: exact for keys below 2^51, and several times quicker than dividing.
    """
    divisor, modulus, stride = entry[DIVISOR], entry[MODULUS], entry[STRIDE]
    if stride == CLAMP:
        for b in range(count):
            rows[b] = min(keys[b], modulus - 1)
        return
    if entry[SEED] != 0:
        seed = np.uint64(int64s(entry[SEED])[0])
        for b in range(count):
            rows[b] = _murmur3(np.uint64(keys[b]), seed)
        largest = 0xFFFFFFFF
    else:
        for b in range(count):
            rows[b] = keys[b]
        largest = limit - 1
    if stride > 1:
        _deal_bits(rows, divisor, modulus, stride, count)
        return
    if divisor > 1 and divisor & (divisor - 1) == 0:
        shift = np.int64(_log2(divisor))
        for b in range(count):
            rows[b] >>= shift
    elif divisor > 1:
        reciprocal = 1.0 / divisor
        for b in range(count):
            quotient = np.int64(rows[b] * reciprocal)
            rest = rows[b] - quotient * divisor
            rows[b] = quotient + np.int64(rest >= divisor) - np.int64(rest < 0)
    if largest // divisor < modulus:
        return
    if modulus & (modulus - 1) == 0:
        for b in range(count):
            rows[b] &= modulus - 1
    else:
        reciprocal = 1.0 / modulus
        for b in range(count):
            rest = rows[b] - np.int64(rows[b] * reciprocal) * modulus
            rest += modulus * np.int64(rest < 0)
            rows[b] = rest - modulus * np.int64(rest >= modulus)


@njit
def _log2(power: int) -> int:
    exponent = 0
    while (1 << exponent) < power:
        exponent += 1
    return exponent


@njit
def _deal_bits(rows: Any, divisor: int, modulus: int, stride: int, count: int) -> None:
    start, width = _log2(divisor), _log2(modulus)
    for b in range(count):
        key, row = rows[b] >> start, np.int64(0)
        for k in range(width):
            row |= ((key >> (k * stride)) & 1) << k
        rows[b] = row


@njit
def _murmur3(key: Any, seed: Any) -> Any:
    state = _mix(_mix(seed, key & _WORD), key >> np.uint64(32)) ^ np.uint64(8)
    state = ((state ^ (state >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & _WORD
    state = ((state ^ (state >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & _WORD
    return np.int64(state ^ (state >> np.uint64(16)))


@njit
def _mix(state: Any, word: Any) -> Any:
    word = _rotate((word * np.uint64(0xCC9E2D51)) & _WORD, np.uint64(15))
    state ^= (word * np.uint64(0x1B873593)) & _WORD
    return (_rotate(state, np.uint64(13)) * np.uint64(5) + np.uint64(0xE6546B64)) & _WORD


@njit
def _rotate(word: Any, bits: Any) -> Any:
    return ((word << bits) & _WORD) | (word >> (np.uint64(32) - bits))
