"""The fused lookup on a GPU, in Triton: addresses, rows and fusion in one kernel, and the reverse.

A recipe reaches the compiler as constants, so each gets its own machine code: no branch, no
division by a variable, and no 64-bit arithmetic where the ids fit 32 bits. Each size of a layer is
compiled once, in about a second, and cached on disk.

A program takes ``BLOCK`` ids and, one after another, stretches of ``COLUMNS`` coordinates, as many
numbers as its registers hold with room to have all rows in flight at once. Rows are read 16 bytes a
thread where their width allows; sums are float32; nothing is written but the result. An id out of
range stops the device by an assertion, as it does for `torch.nn.Embedding`.

Head and entries are those of a `memcom.kernels.program.Layout`, as constants of the compiler,
except that an entry's ``USE`` counts the earlier reads of its table, and its ``SEED`` is 0 or the
place of the seed among the sources, which are the tables and then the seeds.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from memcom.kernels import program as names

ROWS, WEIGHTS = constexpr(names.ROWS), constexpr(names.WEIGHTS)
SCALES, SHIFTS = constexpr(names.SCALES), constexpr(names.SHIFTS)
FUSION, WIDTH = constexpr(names.FUSION), constexpr(names.WIDTH)
LIMIT, PADDING = constexpr(names.LIMIT), constexpr(names.PADDING)
USE, WIDE = constexpr(names.TABLE), constexpr(names.COLUMNS)
DIVISOR, MODULUS = constexpr(names.DIVISOR), constexpr(names.MODULUS)
STRIDE, SEED = constexpr(names.STRIDE), constexpr(names.SEED)
OFFSET, NUMBER = constexpr(names.OFFSET), constexpr(names.NUMBER)
CLAMP, MULT, CONCAT = (constexpr(x) for x in (names.CLAMP, names.MULT, names.CONCAT))


@triton.jit
def load_ids(
    ids: tensor, count: tensor, LIMIT: constexpr, PADDING: constexpr, BLOCK: constexpr
) -> tensor:
    """Load a program's ids.

    Returns the number of its first id; the positions after that; which positions hold an id; which
    hold one that is read, neither the padding nor out of range; and the ids, unsigned, as 32 bits
    if all fit.
    """
    first = tl.program_id(0).to(tl.int64) * BLOCK
    at = tl.arange(0, BLOCK)
    there = at < count - first
    key = tl.load(ids + first + at, mask=there, other=0).to(tl.int64)
    inside = (key >= 0) & (key < LIMIT)
    tl.device_assert(inside, "an id is out of range")
    shown = there & inside & (key != PADDING)
    keys = key.to(tl.uint32) if LIMIT <= 2**32 else key.to(tl.uint64)
    return first, at, there, shown, keys


@triton.jit
def _mix(state: tensor, word: tensor) -> tensor:
    word *= 0xCC9E2D51
    word = ((word << 15) | (word >> 17)) * 0x1B873593
    state ^= word
    return ((state << 13) | (state >> 19)) * 5 + 0xE6546B64


@triton.jit
def murmur3(key: tensor, seed: tensor) -> tensor:
    """`memcom.addresses.murmur3` in 32-bit words, whose products wrap around as they should.

    Keys are unsigned, of 32 or 64 bits.
    """
    low = key.to(tl.uint32)
    high = low * 0 if key.dtype == tl.uint32 else (key >> 32).to(tl.uint32)
    state = _mix(_mix(seed.to(tl.uint32), low), high) ^ 8
    state = (state ^ (state >> 16)) * 0x85EBCA6B
    state = (state ^ (state >> 13)) * 0xC2B2AE35
    return state ^ (state >> 16)


@triton.jit
def digit(
    key: tensor,
    LARGEST: constexpr,
    DIVISOR: constexpr,
    MODULUS: constexpr,
    STRIDE: constexpr,
) -> tensor:
    """A `memcom.addresses.Digit` of keys up to ``LARGEST``."""
    if DIVISOR > LARGEST:
        row = key * 0
    elif STRIDE > 1:
        key = key // DIVISOR
        row = key * 0
        for k in tl.static_range(40):
            if (1 << k) < MODULUS and LARGEST >> (k * STRIDE) > 0:
                row |= ((key >> (k * STRIDE)) & 1) << k
    else:
        row = key // DIVISOR
        if LARGEST // DIVISOR >= MODULUS:
            row = row % MODULUS
    return row


@triton.jit
def rows(
    sources: tl.tuple, key: tensor, HEAD: constexpr, ENTRIES: constexpr, J: constexpr
) -> tensor:
    """Numbers of the rows that the keys read, for entry ``J``."""
    divisor: constexpr = ENTRIES[J][DIVISOR]
    modulus: constexpr = ENTRIES[J][MODULUS]
    stride: constexpr = ENTRIES[J][STRIDE]
    if stride == CLAMP:
        row = tl.minimum(key, modulus - 1)
    elif ENTRIES[J][SEED] != 0:
        hashed = murmur3(key, tl.load(sources[ENTRIES[J][SEED]]))
        row = digit(hashed, 0xFFFFFFFF, divisor, modulus, stride)
    else:
        row = digit(key, HEAD[LIMIT] - 1, divisor, modulus, stride)
    return row


@triton.jit
def starts(
    sources: tl.tuple, key: tensor, HEAD: constexpr, ENTRIES: constexpr, J: constexpr
) -> tensor:
    """Offsets of those rows in their table."""
    row = rows(sources, key, HEAD, ENTRIES, J)
    if ENTRIES[J][MODULUS] * ENTRIES[J][WIDE] < 2**31:
        start = row.to(tl.int32) * ENTRIES[J][WIDE]
    else:
        start = row.to(tl.int64) * ENTRIES[J][WIDE]
    return start


@triton.jit
def number(
    sources: tl.tuple,
    key: tensor,
    there: tensor,
    k: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    J: constexpr,
) -> tensor:
    """Number ``k`` of the row of each key."""
    place = sources[ENTRIES[J][NUMBER]] + starts(sources, key, HEAD, ENTRIES, J) + k
    return tl.load(place, mask=there, other=0).to(tl.float32)


@triton.jit
def piece(
    sources: tl.tuple,
    key: tensor,
    there: tensor,
    column: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    J: constexpr,
) -> tensor:
    """The columns ``column`` of the row of each key."""
    start = starts(sources, key, HEAD, ENTRIES, J)
    place = sources[ENTRIES[J][NUMBER]] + start[:, None] + column[None, :]
    mask = there[:, None] & (column < ENTRIES[J][WIDE])[None, :]
    return tl.load(place, mask=mask, other=0).to(tl.float32)


@triton.jit
def _factor(
    sources: tl.tuple,
    key: tensor,
    there: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    BUT: constexpr,
) -> tensor:
    """Factor of a product of rows: all weights, then all scales, without number ``BUT``."""
    wide: constexpr = HEAD[ROWS]
    product = there.to(tl.float32)
    if HEAD[WEIGHTS]:
        for j in tl.static_range(wide):
            if j != BUT:
                product *= number(sources, key, there, j, HEAD, ENTRIES, wide)
    for j in tl.static_range(wide, wide + HEAD[SCALES]):
        if j != BUT:
            product *= number(sources, key, there, 0, HEAD, ENTRIES, j + HEAD[WEIGHTS])
    return product


@triton.jit
def _weight(
    sources: tl.tuple, key: tensor, there: tensor, HEAD: constexpr, ENTRIES: constexpr, J: constexpr
) -> tensor:
    """Factor of row ``J`` in a sum or a concatenation."""
    wide: constexpr = HEAD[ROWS]
    weight = there.to(tl.float32)
    for w in tl.static_range(wide, wide + HEAD[WEIGHTS]):
        weight *= number(sources, key, there, J, HEAD, ENTRIES, w)
    return weight


@triton.jit(do_not_specialize=["count"])
def forward(
    ids: tensor,
    sources: tl.tuple,
    out: tensor,
    count: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    BLOCK: constexpr,
    COLUMNS: constexpr,
) -> None:
    """Write the vectors of ``count`` ids, ``(count, width)``, to ``out``.

    The padding id reads nothing: its rows, scales and shifts are zeros, and so is its vector.
    """
    first, at, there, shown, key = load_ids(ids, count, HEAD[LIMIT], HEAD[PADDING], BLOCK)
    place = out + first * HEAD[WIDTH] + at[:, None] * HEAD[WIDTH]
    shift = tl.zeros((BLOCK, 1), tl.float32)
    wide: constexpr = HEAD[ROWS]
    shifts: constexpr = wide + HEAD[WEIGHTS] + HEAD[SCALES]
    for j in tl.static_range(shifts, shifts + HEAD[SHIFTS]):
        shift += number(sources, key, shown, 0, HEAD, ENTRIES, j)[:, None]
    if HEAD[FUSION] == CONCAT:
        for j in tl.static_range(wide):
            weight = _weight(sources, key, shown, HEAD, ENTRIES, j)[:, None]
            for start in range(0, ENTRIES[j][WIDE], COLUMNS):
                column = start + tl.arange(0, COLUMNS)
                mask = there[:, None] & (column < ENTRIES[j][WIDE])[None, :]
                row = weight * piece(sources, key, shown, column, HEAD, ENTRIES, j)
                tl.store(place + ENTRIES[j][OFFSET] + column[None, :], row + shift, mask=mask)
    else:
        for start in range(0, HEAD[WIDTH], COLUMNS):
            column = start + tl.arange(0, COLUMNS)
            mask = there[:, None] & (column < HEAD[WIDTH])[None, :]
            if HEAD[FUSION] == MULT:
                fused = _factor(sources, key, shown, HEAD, ENTRIES, -1)[:, None]
                for j in tl.static_range(wide):
                    fused = fused * piece(sources, key, shown, column, HEAD, ENTRIES, j)
                fused += shift
            else:
                fused = shift
                for j in tl.static_range(wide):
                    weight = _weight(sources, key, shown, HEAD, ENTRIES, j)[:, None]
                    fused = fused + weight * piece(sources, key, shown, column, HEAD, ENTRIES, j)
            tl.store(place + column[None, :], fused, mask=mask)


@triton.jit
def _give(
    targets: tl.tuple,
    place: tensor,
    value: tensor,
    mask: tensor,
    ENTRIES: constexpr,
    J: constexpr,
    LISTED: constexpr,
) -> None:
    """Store numbers in a list of reads, or add them to a sum."""
    if LISTED:
        tl.store(targets[ENTRIES[J][NUMBER]] + place, value, mask=mask)
    else:
        tl.atomic_add(targets[ENTRIES[J][NUMBER]] + place, value, mask=mask, sem="relaxed")


@triton.jit
def _places(
    sources: tl.tuple,
    key: tensor,
    read: tensor,
    count: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    J: constexpr,
    LISTED: constexpr,
) -> tensor:
    """Offsets of the rows of a gradient: in a list by read and id, in a sum by row."""
    if LISTED:
        place = (ENTRIES[J][USE] * count + read) * ENTRIES[J][WIDE]
    else:
        place = starts(sources, key, HEAD, ENTRIES, J)
    return place


@triton.jit(do_not_specialize=["count"])
def backward(
    ids: tensor,
    sources: tl.tuple,
    grad: tensor,
    targets: tl.tuple,
    lines: tl.tuple,
    count: tensor,
    HEAD: constexpr,
    ENTRIES: constexpr,
    NEEDED: constexpr,
    LISTED: constexpr,
    BLOCK: constexpr,
    COLUMNS: constexpr,
) -> None:
    """Compute what ``count`` ids contribute to the gradients of the tables, in float32.

    Args:
        ids: The ids.
        sources: The tables, then the seeds.
        grad: Gradient of the vectors, ``(count, width)``.
        targets: Per table: zeros of its shape, to be added to; or, if ``LISTED``, one row per read
            and id, to be filled.
        lines: Per table, if ``LISTED``: filled with the rows that were read.
        count: Number of ids.
        HEAD: Head of the program.
        ENTRIES: Its entries.
        NEEDED: Per table, whether its gradient is wanted.
        LISTED: List the contributions instead of adding them up.
        BLOCK: Ids of a program.
        COLUMNS: Coordinates it takes at a time.
    """
    first, at, there, shown, key = load_ids(ids, count, HEAD[LIMIT], HEAD[PADDING], BLOCK)
    given = there if LISTED else shown
    read, count = first + at, count.to(tl.int64)
    wide: constexpr = HEAD[ROWS]
    scales: constexpr = wide + HEAD[WEIGHTS]
    shifts: constexpr = scales + HEAD[SCALES]
    if LISTED:
        for j in tl.static_range(shifts + HEAD[SHIFTS]):
            if NEEDED[ENTRIES[j][NUMBER]]:
                line = lines[ENTRIES[j][NUMBER]] + ENTRIES[j][USE] * count + read
                tl.store(line, rows(sources, key, HEAD, ENTRIES, j).to(tl.int64), mask=there)
    total = tl.zeros((BLOCK,), tl.float32)  # of the gradient: what a shift gets
    product = tl.zeros((BLOCK,), tl.float32)  # of the gradient and all rows
    for j in tl.static_range(wide):
        place = _places(sources, key, read, count, HEAD, ENTRIES, j, LISTED)[:, None]
        dot = tl.zeros((BLOCK,), tl.float32)  # of the gradient and the row
        if HEAD[FUSION] == MULT:
            factor = _factor(sources, key, shown, HEAD, ENTRIES, -1)
        else:
            factor = _weight(sources, key, shown, HEAD, ENTRIES, j)
        for start in range(0, ENTRIES[j][WIDE], COLUMNS):
            column = start + tl.arange(0, COLUMNS)
            inside = (column < ENTRIES[j][WIDE])[None, :]
            source = grad + first * HEAD[WIDTH] + ENTRIES[j][OFFSET]
            source += at[:, None] * HEAD[WIDTH] + column[None, :]
            gradient = tl.load(source, mask=shown[:, None] & inside, other=0).to(tl.float32)
            if HEAD[SHIFTS] > 0 and (HEAD[FUSION] == CONCAT or j == 0):
                total += tl.sum(gradient, 1)
            if HEAD[FUSION] == MULT:
                for i in tl.static_range(wide):
                    if i != j:
                        gradient *= piece(sources, key, shown, column, HEAD, ENTRIES, i)
                if j == 0 and shifts > wide:
                    own = piece(sources, key, shown, column, HEAD, ENTRIES, 0)
                    product += tl.sum(gradient * own, 1)
            elif HEAD[WEIGHTS]:
                own = piece(sources, key, shown, column, HEAD, ENTRIES, j)
                dot += tl.sum(gradient * own, 1)
            if NEEDED[ENTRIES[j][NUMBER]]:
                value, mask = gradient * factor[:, None], given[:, None] & inside
                _give(targets, place + column[None, :], value, mask, ENTRIES, j, LISTED)
        if HEAD[FUSION] != MULT:
            for w in tl.static_range(wide, scales):  # the row of weights, if there is one
                if NEEDED[ENTRIES[w][NUMBER]]:
                    start = _places(sources, key, read, count, HEAD, ENTRIES, w, LISTED)
                    _give(targets, start + j, dot, given, ENTRIES, w, LISTED)
    if HEAD[FUSION] == MULT:
        for w in tl.static_range(wide, scales):
            if NEEDED[ENTRIES[w][NUMBER]]:
                start = _places(sources, key, read, count, HEAD, ENTRIES, w, LISTED)
                for j in tl.static_range(wide):
                    value = product * _factor(sources, key, shown, HEAD, ENTRIES, j)
                    _give(targets, start + j, value, given, ENTRIES, w, LISTED)
    for j in tl.static_range(scales, shifts):
        if NEEDED[ENTRIES[j][NUMBER]]:
            value = product * _factor(sources, key, shown, HEAD, ENTRIES, j - HEAD[WEIGHTS])
            place = _places(sources, key, read, count, HEAD, ENTRIES, j, LISTED)
            _give(targets, place, value, given, ENTRIES, j, LISTED)
    for j in tl.static_range(shifts, shifts + HEAD[SHIFTS]):
        if NEEDED[ENTRIES[j][NUMBER]]:
            place = _places(sources, key, read, count, HEAD, ENTRIES, j, LISTED)
            _give(targets, place, total, given, ENTRIES, j, LISTED)
