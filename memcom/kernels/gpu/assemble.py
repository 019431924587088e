"""Any reading on a GPU, in Triton, without gradients: a block of ids, line by line.

The lines are those of `memcom.kernels.assembly`, as constants of the compiler: each reading gets
its own machine code, as a recipe does in `memcom.kernels.gpu.kernels`. What a vector is made of
stays in registers until it is written.

Fields that hold addresses on the CPU hold the numbers of the sources here, from 1 on, and each line
has some more, from `memcom.kernels.gpu.lines`::

    END      of a line that sets a row, the line after the last that is fused with it
    BY       of a weighted row, the line of its weights
    PIECES   how often these lines follow one another, each time a row further to the right
    NUMBER   of the line in the assembly, which is in the memory of the GPU, too
    APART    lines from one repetition to the next there

So the 64 code books of a vector are one line, compiled once; the fields in which its repetitions
differ are read when they are needed.

Row numbers that are looked up are compared with the table before it is read. One that points
outside stops the device by an assertion, as an id out of range does.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from memcom.kernels import assembly as names
from memcom.kernels.gpu import lines
from memcom.kernels.gpu.kernels import digit, load_ids, murmur3

HEAD_WIDTH, LIMIT, PADDING = (
    constexpr(names.WIDTH),
    constexpr(names.LIMIT),
    constexpr(names.PADDING),
)
OP, SOURCE, FIRST = constexpr(names.OP), constexpr(names.SOURCE), constexpr(names.FIRST)
DIVISOR, MODULUS = constexpr(names.DIVISOR), constexpr(names.MODULUS)
STRIDE, SEED = constexpr(names.STRIDE), constexpr(names.SEED)
DERIVED, LOW, HIGH = constexpr(names.DERIVED), constexpr(names.LOW), constexpr(names.HIGH)
CODES, CODES_SIZE = constexpr(names.CODES), constexpr(names.CODES_SIZE)
BITS, PER_ID, WHICH = constexpr(names.BITS), constexpr(names.PER_ID), constexpr(names.WHICH)
TABLE, FORMAT = constexpr(names.TABLE), constexpr(names.FORMAT)
WIDE, STEP = constexpr(names.COLUMNS), constexpr(names.STEP)
NUMBERS, GROUP = constexpr(names.NUMBERS), constexpr(names.GROUP)
SCALES, LOWS = constexpr(names.SCALES), constexpr(names.LOWS)
OFFSET, MODE, FINISH = constexpr(names.OFFSET), constexpr(names.MODE), constexpr(names.FINISH)
WEIGHT, SIGN = constexpr(names.WEIGHT), constexpr(names.SIGN)
PROJECTION, PROJECTED = constexpr(names.PROJECTION), constexpr(names.PROJECTED)
PLACES, PLACES_SIZE = constexpr(names.PLACES), constexpr(names.PLACES_SIZE)
PLACE_BITS = constexpr(names.PLACE_BITS)
LINE = constexpr(names.LINE)
END, BY = constexpr(lines.END), constexpr(lines.BY)
PIECES, NUMBER = constexpr(lines.PIECES), constexpr(lines.NUMBER)
APART = constexpr(lines.APART)
MAP, PART, FACTOR = constexpr(names.MAP), constexpr(names.PART), constexpr(names.FACTOR)
TERM, ROW, RAGGED = constexpr(names.TERM), constexpr(names.ROW), constexpr(names.RAGGED)
CLAMP, STORED = constexpr(names.CLAMP), constexpr(names.STORED)
SIGNATURE, NONE = constexpr(names.SIGNATURE), constexpr(names.NONE)
BRAIN = constexpr(names.BRAIN)
IN_ROWS, IN_BLOCKS = constexpr(names.IN_ROWS), constexpr(names.IN_BLOCKS)
SET, ADD = constexpr(names.SET), constexpr(names.ADD)

# --- addresses ------------------------------------------------------------------------------------


@triton.jit
def _field(code: tensor, piece: tensor, FIELD: constexpr, LINES: constexpr, J: constexpr) -> tensor:
    """A field of line ``J``, or of its repetition number ``piece``."""
    if LINES[J][PIECES] == 1:
        field = tl.full((), LINES[J][FIELD], tl.int64)
    else:
        field = tl.load(code + (LINES[J][NUMBER] + piece * LINES[J][APART]) * LINE + FIELD)
    return field


@triton.jit
def _code(
    packed: tensor, number: tensor, there: tensor, SIZE: constexpr, BITS: constexpr
) -> tensor:
    """One number of ``BITS`` bits for each key, of a packed string of ``SIZE`` bytes."""
    bit = number.to(tl.int64) * BITS
    byte, code = bit >> 3, bit * 0
    apart: constexpr = BITS & -BITS if BITS % 8 != 0 else 8  # numbers start at multiples of this
    for k in tl.static_range((15 - apart + BITS) // 8):
        octet = tl.load(packed + byte + k, mask=there & (byte + k < SIZE), other=0)
        code |= octet.to(tl.int64) << (8 * k)
    return (code >> (bit & 7)) & ((1 << BITS) - 1)


@triton.jit
def _hash(
    sources: tl.tuple,
    code: tensor,
    key: tensor,
    piece: tensor,
    FIELD: constexpr,
    LINES: constexpr,
    J: constexpr,
) -> tensor:
    """Hashes of keys, by the line's seed or by the one of that ``FIELD`` that follows from it."""
    seed = tl.load(sources[LINES[J][SEED] - 1]).to(tl.uint32)
    if LINES[J][FIELD] != NONE:
        seed = murmur3(_field(code, piece, FIELD, LINES, J).to(tl.uint32), seed)
    return murmur3(key, seed)


@triton.jit
def _signature(
    sources: tl.tuple,
    key: tensor,
    there: tensor,
    picks: tensor,
    LINES: constexpr,
    J: constexpr,
) -> tensor:
    """The bytes that are picked of each key's, as one number."""
    place = sources[LINES[J][CODES] - 1] + key.to(tl.int64) * LINES[J][PER_ID]
    word = (place.to(tl.uint64) + picks.to(tl.uint64)) * 0
    for k in tl.static_range(7):
        pick = (picks >> (8 * k)) & 255
        octet = tl.load(place + (pick - 1), mask=there & (pick > 0), other=0)
        word = tl.where(pick > 0, (word << 8) | octet.to(tl.uint64), word)
    return word


@triton.jit
def _rows(
    sources: tl.tuple,
    code: tensor,
    key: tensor,
    there: tensor,
    piece: tensor,
    LINES: constexpr,
    J: constexpr,
) -> tuple[tensor, tensor]:
    """Numbers of the rows that the keys read, and which of them are in the table."""
    first = _field(code, piece, FIRST, LINES, J)
    if LINES[J][SOURCE] == STORED:
        number = key.to(tl.int64) * LINES[J][PER_ID] + _field(code, piece, WHICH, LINES, J)
        packed = sources[LINES[J][CODES] - 1]
        row = _code(packed, number, there, LINES[J][CODES_SIZE], LINES[J][BITS])
        inside = row + first < LINES[J][MODULUS]
        tl.device_assert(inside | ~there, "a stored number points outside its table")
        there &= inside
    elif LINES[J][SOURCE] == CLAMP:
        row = tl.minimum(key, LINES[J][MODULUS] - 1)
    elif LINES[J][SOURCE] == SIGNATURE:
        picks = _field(code, piece, WHICH, LINES, J)
        word = _signature(sources, key, there, picks, LINES, J)
        word = _hash(sources, code, word, piece, DERIVED, LINES, J)
        row = digit(word, 0xFFFFFFFF, 1, LINES[J][MODULUS], 1)
    else:
        largest: constexpr = LINES[J][HIGH] - 1 if LINES[J][SEED] == 0 else 0xFFFFFFFF
        if LINES[J][SEED] != 0:
            key = _hash(sources, code, key, piece, DERIVED, LINES, J)
        row = digit(key, largest, LINES[J][DIVISOR], LINES[J][MODULUS], LINES[J][STRIDE])
    row = row.to(tl.int64) + first
    narrow: constexpr = LINES[J][NUMBERS] + LINES[J][WIDE] < 2**31
    return row.to(tl.int32 if narrow else tl.int64), there


# --- numbers --------------------------------------------------------------------------------------


@triton.jit
def _numbers(
    sources: tl.tuple,
    row: tensor,
    column: tensor,
    there: tensor,
    LINES: constexpr,
    J: constexpr,
) -> tensor:
    """Numbers ``column`` of rows, or of runs that go on at the start of their array."""
    table = sources[LINES[J][TABLE] - 1]
    at = row * LINES[J][STEP] + column
    if LINES[J][STEP] == 1 and LINES[J][WIDE] > 1:
        at = tl.where(at < LINES[J][NUMBERS], at, at - LINES[J][NUMBERS])
    if LINES[J][FORMAT] <= BRAIN:
        number = tl.load(table + at, mask=there, other=0).to(tl.float32)
    else:
        bits: constexpr = LINES[J][FORMAT] % IN_ROWS
        if LINES[J][FORMAT] >= IN_BLOCKS:
            start, group, place = table, at // LINES[J][GROUP], at
        else:
            start, group, place = table + row * ((LINES[J][STEP] * bits + 7) // 8), row, column
        # Eight numbers are as many bytes as one has bits; so all keeps within 32 bits if `at` does.
        byte, bit = start + (place >> 3) * bits, (place & 7) * bits
        code = tl.load(byte + (bit >> 3), mask=there, other=0)
        if 8 % bits != 0:  # a number may lie in two bytes
            last = tl.load(byte + ((bit + bits - 1) >> 3), mask=there, other=0)
            code = code.to(tl.int32) | (last.to(tl.int32) << 8)
        if bits != 8:
            code = (code >> (bit & 7)) & ((1 << bits) - 1)
        scale = tl.load(sources[LINES[J][SCALES] - 1] + group, mask=there, other=0)
        low = tl.load(sources[LINES[J][LOWS] - 1] + group, mask=there, other=0)
        number = low.to(tl.float32) + scale.to(tl.float32) * code.to(tl.float32)
    return number


@triton.jit
def _number(
    sources: tl.tuple,
    code: tensor,
    key: tensor,
    there: tensor,
    column: tensor,
    LINES: constexpr,
    J: constexpr,
) -> tensor:
    """One number of the row of each key."""
    row, inside = _rows(sources, code, key, there, 0, LINES, J)
    return _numbers(sources, row, column, inside, LINES, J)


@triton.jit
def _row(
    sources: tl.tuple,
    code: tensor,
    key: tensor,
    there: tensor,
    piece: tensor,
    column: tensor,
    LINES: constexpr,
    J: constexpr,
) -> tensor:
    """Columns of what line ``J`` reads for each key, weighted."""
    row, inside = _rows(sources, code, key[:, None], there[:, None], piece, LINES, J)
    if LINES[J][PROJECTION] != 0:
        matrix, width = sources[LINES[J][PROJECTION] - 1] + column, LINES[J][PROJECTED]
        numbers = tl.zeros((key.shape[0], column.shape[0]), tl.float32)
        for k in range(LINES[J][WIDE]):
            line = tl.load(matrix + k * width, mask=column < width, other=0)
            numbers += _numbers(sources, row, k, inside, LINES, J) * line[None, :]
    else:
        mask = inside & (column < LINES[J][WIDE])[None, :]
        numbers = _numbers(sources, row, column[None, :], mask, LINES, J)
    if LINES[J][WEIGHT] != NONE:
        weight = _number(sources, code, key, there, LINES[J][WEIGHT], LINES, LINES[J][BY])
        numbers *= weight[:, None]
    if LINES[J][SIGN] != NONE:
        bit = _hash(sources, code, key[:, None], piece, SIGN, LINES, J) & 1
        numbers *= 1 - 2 * bit.to(tl.float32)
    return numbers


# --- lines ----------------------------------------------------------------------------------------


@triton.jit
def _fuse(
    sources: tl.tuple,
    code: tensor,
    place: tensor,
    key: tensor,
    written: tensor,
    read: tensor,
    factor: tensor,
    term: tensor,
    LINES: constexpr,
    J: constexpr,
    COLUMNS: constexpr,
) -> None:
    """Carry out line ``J``, which sets a row, and those that add to it or multiply it."""
    width: constexpr = LINES[J][PROJECTED] if LINES[J][PROJECTION] != 0 else LINES[J][WIDE]
    pieces: constexpr = LINES[J][PIECES]
    end: constexpr = LINES[J][END]
    for start in range(0, width * pieces, COLUMNS):
        to = start + tl.arange(0, COLUMNS)
        piece, column = 0, to
        if pieces > 1:
            piece, column = tl.minimum(to // width, pieces - 1)[None, :], to % width
        fused = _row(sources, code, key, read, piece, column, LINES, J)
        for k in tl.static_range(J + 1, end):
            numbers = _row(sources, code, key, read, piece, column, LINES, k)
            if LINES[k][MODE] == ADD:
                fused += numbers
            else:
                fused *= numbers
        if LINES[end - 1][FINISH]:
            fused = fused * factor[:, None] + term[:, None]
        fused = tl.where(read[:, None], fused, 0)
        mask = written[:, None] & (to < width * pieces)[None, :]
        tl.store(place + LINES[J][OFFSET] + to[None, :], fused, mask=mask)


@triton.jit
def _fill(
    sources: tl.tuple,
    place: tensor,
    key: tensor,
    read: tensor,
    LINES: constexpr,
    J: constexpr,
    COLUMNS: constexpr,
) -> None:
    """Carry out a line of rows of different lengths, over zeros."""
    step: constexpr = LINES[J][STEP]
    width: constexpr = LINES[J][WIDE]
    starts = sources[LINES[J][CODES] - 1]
    start = _code(starts, key, read, LINES[J][CODES_SIZE], LINES[J][BITS])
    stop = _code(starts, key.to(tl.int64) + 1, read, LINES[J][CODES_SIZE], LINES[J][BITS])
    inside = (start <= stop) & (stop <= LINES[J][NUMBERS] // step)
    tl.device_assert(inside | ~read, "a stored number points outside its table")
    read &= inside
    if LINES[J][PLACES] == 0:
        for first in range(0, width, COLUMNS):
            column = (first + tl.arange(0, COLUMNS))[None, :]
            mask = read[:, None] & (column < width) & (column < ((stop - start) * step)[:, None])
            piece = start[:, None] + column // step
            number = _numbers(sources, piece, column % step, mask, LINES, J)
            tl.store(place + column, number, mask=mask)
    else:
        places = sources[LINES[J][PLACES] - 1]
        for k in range(tl.max(tl.where(read, stop - start, 0))):
            there = read & (start + k < stop)
            at = _code(places, start + k, there, LINES[J][PLACES_SIZE], LINES[J][PLACE_BITS]) * step
            tl.device_assert((at < width) | ~there, "a stored number points outside its row")
            for first in range(0, step, COLUMNS):
                column = (first + tl.arange(0, COLUMNS))[None, :]
                to = at[:, None] + column
                mask = there[:, None] & (column < step) & (to < width)
                number = _numbers(sources, (start + k)[:, None], column, mask, LINES, J)
                tl.store(place + to, number, mask=mask)


@triton.jit(do_not_specialize=["count"])
def assemble(
    ids: tensor,
    sources: tl.tuple,
    code: tensor,
    out: tensor,
    count: tensor,
    LINES: constexpr,
    BLOCK: constexpr,
    COLUMNS: constexpr,
) -> None:
    """Write the vectors of ``count`` ids, ``(count, width)``, to ``out``.

    The padding id reads nothing, and its vector is zero. What the lines do not write is left as it
    is.
    """
    first, at, there, read, key = load_ids(ids, count, LINES[0][LIMIT], LINES[0][PADDING], BLOCK)
    place = out + first * LINES[0][HEAD_WIDTH] + at[:, None] * LINES[0][HEAD_WIDTH]
    key = tl.where(read, key, 0)  # zeros are written where id 0 would be
    own, written, reads = key, there, read
    factor, term = tl.full((BLOCK,), 1, tl.float32), tl.zeros((BLOCK,), tl.float32)
    for j in tl.static_range(1, len(LINES)):
        if LINES[j][OP] == MAP:
            key, read = _rows(sources, code, key, read, 0, LINES, j)
            key = tl.where(read, key, 0)
        elif LINES[j][OP] == PART:
            written = there & (key >= LINES[j][LOW]) & (key < LINES[j][HIGH])
            reads = written & read
            own = tl.where(written, key - LINES[j][LOW], 0)
            own = own.to(tl.uint32 if LINES[j][HIGH] - LINES[j][LOW] <= 2**32 else tl.uint64)
        elif LINES[j][OP] == RAGGED:
            _fill(sources, place, own, reads, LINES, j, COLUMNS)
        elif LINES[j][OP] == ROW:
            if LINES[j][MODE] == SET:
                _fuse(sources, code, place, own, written, reads, factor, term, LINES, j, COLUMNS)
        elif LINES[j][OP] == FACTOR:
            if LINES[j][WIDE] == 0:
                factor, term = tl.full((BLOCK,), 1, tl.float32), tl.zeros((BLOCK,), tl.float32)
            else:
                factor *= _number(sources, code, own, reads, 0, LINES, j)
        elif LINES[j][OP] == TERM:
            term += _number(sources, code, own, reads, 0, LINES, j)
