"""What a program of the Triton kernels reads: its ids, the rows they address, and tables' numbers.

Head and entries are those of a `memcom.kernels._program.Layout`, as constants of the compiler,
except that an entry's ``USE`` counts the earlier reads of its table, and its ``SEED`` is 0 or the
place of the seed among the sources, which are the tables and then the seeds.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memcom.kernels import _program as names

ROWS, WEIGHTS = tl.constexpr(names.ROWS), tl.constexpr(names.WEIGHTS)
SCALES, SHIFTS = tl.constexpr(names.SCALES), tl.constexpr(names.SHIFTS)
FUSION, WIDTH = tl.constexpr(names.FUSION), tl.constexpr(names.WIDTH)
LIMIT, PADDING = tl.constexpr(names.LIMIT), tl.constexpr(names.PADDING)
USE, WIDE = tl.constexpr(names.TABLE), tl.constexpr(names.COLUMNS)
DIVISOR, MODULUS = tl.constexpr(names.DIVISOR), tl.constexpr(names.MODULUS)
STRIDE, SEED = tl.constexpr(names.STRIDE), tl.constexpr(names.SEED)
OFFSET, NUMBER = tl.constexpr(names.OFFSET), tl.constexpr(names.NUMBER)
CLAMP, MULT, CONCAT = (tl.constexpr(x) for x in (names.CLAMP, names.MULT, names.CONCAT))


@triton.jit
def load_ids(
    ids: tl.tensor, count: tl.tensor, HEAD: tl.constexpr, BLOCK: tl.constexpr
) -> tl.tensor:
    """A program's ids, and which of them there are to be looked up.

    Returns the number of its first id; the ids' places after that; which places hold an id at all;
    which hold one that is read, being neither the padding nor out of range; and the ids, unsigned,
    of 32 bits if all can be.
    """
    first = tl.program_id(0).to(tl.int64) * BLOCK
    at = tl.arange(0, BLOCK)
    there = at < count - first
    key = tl.load(ids + first + at, mask=there, other=0).to(tl.int64)
    inside = (key >= 0) & (key < HEAD[LIMIT])
    tl.device_assert(inside, "an id is out of range")
    shown = there & inside & (key != HEAD[PADDING])
    keys = key.to(tl.uint32) if HEAD[LIMIT] <= 2**32 else key.to(tl.uint64)
    return first, at, there, shown, keys


@triton.jit
def _mix(state: tl.tensor, word: tl.tensor) -> tl.tensor:
    word *= 0xCC9E2D51
    word = ((word << 15) | (word >> 17)) * 0x1B873593
    state ^= word
    return ((state << 13) | (state >> 19)) * 5 + 0xE6546B64


@triton.jit
def _murmur3(key: tl.tensor, seed: tl.tensor, NARROW: tl.constexpr) -> tl.tensor:
    """`memcom.addresses.murmur3` in 32-bit words, whose products wrap around as they should."""
    low = key.to(tl.uint32)
    high = low * 0 if NARROW else (key >> 32).to(tl.uint32)
    state = _mix(_mix(seed.to(tl.uint32), low), high) ^ 8
    state = (state ^ (state >> 16)) * 0x85EBCA6B
    state = (state ^ (state >> 13)) * 0xC2B2AE35
    return state ^ (state >> 16)


@triton.jit
def _digit(
    key: tl.tensor,
    BITS: tl.constexpr,
    LARGEST: tl.constexpr,
    ENTRIES: tl.constexpr,
    J: tl.constexpr,
) -> tl.tensor:
    """A `memcom.addresses.Digit` of keys up to ``LARGEST``, which have so many bits."""
    if ENTRIES[J][DIVISOR] > LARGEST:
        row = key * 0
    elif ENTRIES[J][STRIDE] > 1:
        key = key // ENTRIES[J][DIVISOR]
        row = key & 1
        for k in tl.static_range(1, 40):
            if (1 << k) < ENTRIES[J][MODULUS] and k * ENTRIES[J][STRIDE] < BITS:
                row |= ((key >> (k * ENTRIES[J][STRIDE])) & 1) << k
    else:
        row = key // ENTRIES[J][DIVISOR]
        if LARGEST // ENTRIES[J][DIVISOR] >= ENTRIES[J][MODULUS]:
            row = row % ENTRIES[J][MODULUS]
    return row


@triton.jit
def rows(
    sources: tl.tuple, key: tl.tensor, HEAD: tl.constexpr, ENTRIES: tl.constexpr, J: tl.constexpr
) -> tl.tensor:
    """Numbers of the rows that the keys read, for one entry."""
    narrow: tl.constexpr = HEAD[LIMIT] <= 2**32
    if ENTRIES[J][STRIDE] == CLAMP:
        row = tl.minimum(key, ENTRIES[J][MODULUS] - 1)
    elif ENTRIES[J][SEED] != 0:
        key = _murmur3(key, tl.load(sources[ENTRIES[J][SEED]]), narrow)
        row = _digit(key, 32, 0xFFFFFFFF, ENTRIES, J)
    elif narrow:
        row = _digit(key, 32, HEAD[LIMIT] - 1, ENTRIES, J)
    else:
        row = _digit(key, 64, HEAD[LIMIT] - 1, ENTRIES, J)
    return row


@triton.jit
def starts(
    sources: tl.tuple, key: tl.tensor, HEAD: tl.constexpr, ENTRIES: tl.constexpr, J: tl.constexpr
) -> tl.tensor:
    """Where those rows start in their table."""
    row = rows(sources, key, HEAD, ENTRIES, J)
    if ENTRIES[J][MODULUS] * ENTRIES[J][WIDE] < 2**31:
        start = row.to(tl.int32) * ENTRIES[J][WIDE]
    else:
        start = row.to(tl.int64) * ENTRIES[J][WIDE]
    return start


@triton.jit
def number(
    sources: tl.tuple,
    key: tl.tensor,
    there: tl.tensor,
    k: tl.tensor,
    HEAD: tl.constexpr,
    ENTRIES: tl.constexpr,
    J: tl.constexpr,
) -> tl.tensor:
    """Number ``k`` of the row of each key."""
    place = sources[ENTRIES[J][NUMBER]] + starts(sources, key, HEAD, ENTRIES, J) + k
    return tl.load(place, mask=there, other=0).to(tl.float32)


@triton.jit
def piece(
    sources: tl.tuple,
    key: tl.tensor,
    there: tl.tensor,
    column: tl.tensor,
    HEAD: tl.constexpr,
    ENTRIES: tl.constexpr,
    J: tl.constexpr,
) -> tl.tensor:
    """Some columns of the row of each key."""
    start = starts(sources, key, HEAD, ENTRIES, J)
    place = sources[ENTRIES[J][NUMBER]] + start[:, None] + column[None, :]
    mask = there[:, None] & (column < ENTRIES[J][WIDE])[None, :]
    return tl.load(place, mask=mask, other=0).to(tl.float32)
