"""The compiled forward pass: addresses, rows and fusion in one sweep over the ids.

Ids are taken `BLOCK` at a time. First the addresses of all rows of a block are computed, in loops
the compiler can vectorise. Then the rows are fused straight into the output, each row prefetched
some ids ahead. Nothing else is written, so a lookup costs the bytes it has to move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cfunc, types

from memcom.kernels.cpu.native import (
    BYTES,
    address_of,
    block_zeros,
    compiled,
    float32s,
    int32s,
    int64_array,
    int64s,
    njit,
    prefetch,
    read,
    row_address,
    spread,
    write,
    zeros,
)
from memcom.kernels.cpu.threads import launch, part_of
from memcom.kernels.program import (
    CLAMP,
    COLUMNS,
    CONCAT,
    DIVISOR,
    END,
    FIELDS,
    FUSION,
    LIMIT,
    MODULUS,
    OFFSET,
    PADDING,
    ROWS,
    SCALES,
    SEED,
    STRIDE,
    SUM,
    TABLE,
    WEIGHTS,
    WIDTH,
)

BLOCK = 512  # ids of a block: their row numbers stay in the first-level cache
AHEAD = 24  # rows between prefetching one and reading it
NEAR = 1 << 19  # bytes of a table that stays in the cache without prefetching

# --- ids to rows: the compiled form of `memcom.addresses` -----------------------------------------

_WORD = np.uint64(0xFFFFFFFF)
NO_SEED = -1  # no hash, but the key itself


@njit
def load_ids(ids: int, id_bytes: int, start: int, count: int, limit: int, keys: Any) -> int:
    """Copy ``count`` ids from number ``start`` on to ``keys``.

    Returns -1, or the position in the block of an id outside ``[0, limit)``.
    """
    low, high = np.int64(0), np.int64(0)
    if id_bytes == 4:
        narrow = int32s(ids + start * 4, count)
        for b in range(count):
            keys[b] = narrow[b]
            low, high = min(low, keys[b]), max(high, keys[b])
    else:
        wide = int64s(ids + start * 8, count)
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
    """Write the rows that ``keys`` read, by one entry of a program, to ``rows``."""
    modulus = entry[MODULUS]
    if entry[STRIDE] == CLAMP:
        clamped_rows(modulus, keys, rows, count)
        return
    seed = NO_SEED if entry[SEED] == 0 else int64s(entry[SEED], 1)[0]
    digit_rows(entry[DIVISOR], modulus, entry[STRIDE], seed, limit - 1, keys, rows, count)


@njit
def clamped_rows(modulus: int, keys: Any, rows: Any, count: int) -> None:
    """Write the smaller of each key and the last row."""
    for b in range(count):
        rows[b] = min(keys[b], modulus - 1)


@njit
def digit_rows(
    divisor: int,
    modulus: int,
    stride: int,
    seed: int,
    largest: int,
    keys: Any,
    rows: Any,
    count: int,
) -> None:
    """Write a digit of each key, or of its hash; see `memcom.addresses.Digit`.

    Quotients are products with the reciprocal, at most one off, and then corrected: exact for keys
    below 2^51, and several times faster than a division.
    """
    if seed != NO_SEED:
        hash_keys(np.uint32(seed), largest, keys, rows, count)
        if divisor == 1 and stride == 1:
            remainders(rows, modulus, count)
            return
        largest = 0xFFFFFFFF
    else:
        for b in range(count):
            rows[b] = keys[b]
    if stride > 1:
        _strided_bits(rows, divisor, modulus, stride, count)
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
def _strided_bits(rows: Any, divisor: int, modulus: int, stride: int, count: int) -> None:
    start, width = _log2(divisor), _log2(modulus)
    for b in range(count):
        key, row = rows[b] >> start, np.int64(0)
        for k in range(width):
            row |= ((key >> (k * stride)) & 1) << k
        rows[b] = row


@njit
def hash_keys(seed: Any, largest: int, keys: Any, rows: Any, count: int) -> None:
    """Write the hash of each key to ``rows``; ``largest`` is the largest key there may be."""
    if largest < 2**32:
        for b in range(count):
            rows[b] = hash_word(np.uint32(keys[b]), seed)
    else:
        for b in range(count):
            rows[b] = murmur3(keys[b], seed)


@njit(forceinline=True)
def hash_word(key: Any, seed: Any) -> Any:
    """Hash a key below 2^32, a uint32, as `murmur3` does."""
    return np.int64(_finish(_mix(_mix(seed, key), np.uint32(0))))


@njit
def murmur3(key: int, seed: Any) -> Any:
    """Hash a key; the seed is a uint32. See `memcom.addresses.murmur3`."""
    low, high = np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32)
    return np.int64(_finish(_mix(_mix(seed, low), high)))


@njit
def _finish(state: Any) -> Any:
    state = np.uint32(state ^ np.uint32(8))
    state = np.uint32((state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    state = np.uint32((state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(state ^ (state >> np.uint32(16)))


@njit
def _mix(state: Any, word: Any) -> Any:
    word = _rotate(np.uint32(word * np.uint32(0xCC9E2D51)), np.uint32(15))
    state = np.uint32(state ^ np.uint32(word * np.uint32(0x1B873593)))
    return np.uint32(_rotate(state, np.uint32(13)) * np.uint32(5) + np.uint32(0xE6546B64))


@njit
def _rotate(word: Any, bits: Any) -> Any:
    return np.uint32(np.uint32(word << bits) | np.uint32(word >> (np.uint32(32) - bits)))


@njit
def remainders(rows: Any, modulus: int, count: int) -> None:
    """Replace each row, a number of 32 bits, by its remainder.

    The reciprocal in 32 bits gives the quotient or one less, in vectors of integers.
    """
    if modulus >= 2**32:
        return
    if modulus & (modulus - 1) == 0:
        for b in range(count):
            rows[b] &= modulus - 1
        return
    reciprocal, size = np.uint64(2**32 // modulus), np.uint64(modulus)
    for b in range(count):
        row = np.uint64(rows[b]) & _WORD
        rest = row - ((row * reciprocal) >> np.uint64(32)) * size
        rows[b] = np.int64(rest - (size if rest >= size else np.uint64(0)))


# --- rows to vectors ------------------------------------------------------------------------------


@njit
def _to_addresses(entry: Any, rows: Any, n: int) -> None:
    """Turn the row numbers of a block into memory addresses, and prefetch the first rows."""
    table, size, end = entry[TABLE], entry[COLUMNS] * 4, entry[END]
    for b in range(n):
        rows[b] = row_address(table, rows[b], size, end)
    for b in range(min(AHEAD, n) if _is_far(entry) else 0):
        _prefetch_row(rows[b], size)


@njit(forceinline=True)
def _is_far(entry: Any) -> bool:
    return entry[MODULUS] * entry[COLUMNS] * 4 > NEAR


@njit(forceinline=True)
def _prefetch_row(row: int, size: int) -> None:
    for byte in range(0, size, BYTES):
        prefetch(row + byte)


# Fused value of the wide rows of id `b` at offset `byte`: a number or a vector, of the type of
# `like`. `weights` is the address of the id's weights. One and two rows are specialised: they are
# the usual case and run twice as fast.


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
    weight = float32s(weights, rows.shape[0])
    value = read(rows[0, b] + byte, like) * spread(weight[0], like)
    for j in range(1, rows.shape[0]):
        value = value + read(rows[j, b] + byte, like) * spread(weight[j], like)
    return value


def _writer(value: Any) -> Callable[..., None]:
    """Compile the loop over a block's ids that writes ``value`` of their rows."""

    @njit
    def write_all(program: Any, rows: Any, first: int, last: int, out: int, n: int) -> None:
        """Fuse the wide rows ``first`` to ``last`` of each id; the rest as for `_fuse`."""
        head, entries, wide = program[0], program[1:], rows[first:last]
        step, size = head[WIDTH] * 4, entries[first, COLUMNS] * 4
        block, vector, number = block_zeros(), zeros(), np.float32(0)
        blocks, whole = size // (4 * BYTES) * (4 * BYTES), size // BYTES * BYTES
        weight = head[ROWS] * head[WEIGHTS]
        first_weight, last_weight = (first, last) if weight and head[FUSION] != SUM else (0, 0)
        scales = head[ROWS] + head[WEIGHTS]
        shifts, end = scales + head[SCALES], entries.shape[0]
        for b in range(n):
            if b + AHEAD < n:
                for j in range(first, last):
                    if _is_far(entries[j]):
                        _prefetch_row(rows[j, b + AHEAD], size)
                for j in range(head[ROWS], end):
                    prefetch(rows[j, b + AHEAD])
            place, weights = out + b * step, rows[weight, b]
            factor, term = np.float32(1), np.float32(0)
            for j in range(first_weight, last_weight):
                factor *= float32s(weights, head[ROWS])[j]
            for j in range(scales, shifts):
                factor *= float32s(rows[j, b], 1)[0]
            for j in range(shifts, end):
                term += float32s(rows[j, b], 1)[0]
            for byte in range(0, blocks, 4 * BYTES):  # so that an address is read once for many
                fused = value(wide, weights, b, byte, block)
                write(place + byte, fused * spread(factor, block) + spread(term, block))
            for byte in range(blocks, whole, BYTES):
                fused = value(wide, weights, b, byte, vector)
                write(place + byte, fused * spread(factor, vector) + spread(term, vector))
            for byte in range(whole, size, 4):
                write(place + byte, value(wide, weights, b, byte, number) * factor + term)

    return write_all


_write_row, _write_sum, _write_product = map(_writer, [_row, _sum, _product])
_write_sum_of_two, _write_product_of_two = map(_writer, [_sum_of_two, _product_of_two])
_write_weighted_sum = _writer(_weighted_sum)


@njit(inline="always")
def _fuse(program: Any, rows: Any, out: int, n: int) -> None:
    """Write the vectors of ``n`` ids to ``out``; ``rows`` has one line of addresses per entry."""
    wide, fusion = program[0, ROWS], program[0, FUSION]
    if fusion == CONCAT:
        end = out + program[0, WIDTH] * 4
        for j in range(wide):
            offset, size = program[1 + j, OFFSET] * 4, program[1 + j, COLUMNS] * 4
            _write_row(program, rows, j, j + 1, row_address(out + offset, 0, size, end), n)
    elif fusion == SUM and program[0, WEIGHTS]:
        _write_weighted_sum(program, rows, 0, wide, out, n)
    elif wide == 1:
        first: Any = np.int64(0)
        _write_row(program, rows, first, wide, out, n)
    elif wide == 2 and fusion == SUM:
        _write_sum_of_two(program, rows, 0, 2, out, n)
    elif wide == 2:
        _write_product_of_two(program, rows, 0, 2, out, n)
    elif fusion == SUM:
        _write_sum(program, rows, 0, wide, out, n)
    else:
        _write_product(program, rows, 0, wide, out, n)


# --- the sweep ------------------------------------------------------------------------------------

THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OUT = range(8)  # fields of a task


@njit
def scratch(program: Any, size: int) -> Any:
    """Working memory of `compose_block`, for blocks of up to ``size`` ids."""
    return np.empty((program.shape[0], size), np.int64)


@njit
def compose_block(
    program: Any, ids: int, id_bytes: int, first: int, n: int, spare: Any, out: int
) -> int:
    """Write the vectors of ``n`` ids from number ``first`` on to ``out``.

    Returns -1, or the number of an id that is out of range.
    """
    head, keys, rows = program[0], spare[0], spare[1:]
    bad = load_ids(ids, id_bytes, first, n, head[LIMIT], keys)
    if bad >= 0:
        return first + bad
    for j in range(rows.shape[0]):
        block_rows(program[1 + j], head[LIMIT], keys, rows[j], n)
        _to_addresses(program[1 + j], rows[j], n)
    _fuse(program, rows, out, n)
    if head[PADDING] >= 0:
        _blank(keys, head[PADDING], out, head[WIDTH], n)
    return -1


@njit
def _blank(keys: Any, padding: int, out: int, width: int, n: int) -> None:
    for b in range(n):
        if keys[b] == padding:
            y = float32s(out + b * width * 4, width)
            for k in range(width):
                y[k] = np.float32(0)


@compiled(cfunc, types.void(types.int64))
def forward_task(address: int) -> None:
    """Write one thread's part of the vectors of a task."""
    task = int64_array(address, (OUT + 1,))
    program = int64_array(task[PROGRAM], (task[ENTRIES], FIELDS))
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


@njit
def pool_block(
    vectors: int,
    width: int,
    first: int,
    n: int,
    factors: Any,
    offsets: Any,
    bags: int,
    bag: int,
    out: int,
) -> int:
    """Add the vectors of ids ``first``, ... times their factors to the bags from ``bag`` on.

    Returns the bag of the last one.
    """
    size = width * 4
    out_end = out + bags * size
    for b in range(n):
        while first + b >= offsets[bag + 1]:
            bag += 1
        total = float32s(row_address(out, bag, size, out_end), width)
        row, factor = float32s(vectors + b * size, width), factors[first + b]
        for k in range(width):
            total[k] += row[k] * factor
    return bag


_word = types.int64


@compiled(njit, types.int64(*[_word] * 8), nogil=True)
def sweep_forward(
    function: int,
    threads: int,
    program: int,
    entries: int,
    ids: int,
    id_bytes: int,
    count: int,
    out: int,
) -> int:
    """Launch ``function``, the address of `forward_task`, on ``threads`` threads.

    Returns -1, or the position of an id that is out of range; the output is then unfinished.
    """
    task = np.array([threads, -1, program, entries, ids, id_bytes, count, out, 0, 0])
    launch(function, address_of(task))
    return task[BAD]
