"""The compiled lookup of any reading, without gradients: a block of ids, line by line.

`memcom.kernels.assembly` says what the lines are. Each is carried out for all ids of a block before
the next, so its numbers stay in registers and the vectors in the cache. The rows of all lines are
found first, and prefetched: a block takes as long as its rows need to arrive, all at once.

Row numbers that are looked up, rather than computed, are compared with the table before it is read:
a file may hold anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.assembly import (
    ADD,
    BITS,
    BLANK,
    BRAIN,
    CLAMP,
    CODES,
    CODES_SIZE,
    COLUMNS,
    DERIVED,
    DIVISOR,
    FACTOR,
    FINISH,
    FIRST,
    FORMAT,
    GROUP,
    HALF,
    HIGH,
    IN_BLOCKS,
    IN_ROWS,
    KEPT,
    LIMIT,
    LINE,
    LOW,
    LOWS,
    MAP,
    MODE,
    MODULUS,
    MOST_COLUMNS,
    MOST_WEIGHTS,
    MULTIPLY,
    NEXT,
    NONE,
    NUMBERS,
    OFFSET,
    OP,
    OUT_FORMAT,
    PADDING,
    PART,
    PER_ID,
    PLACE_BITS,
    PLACES,
    PLACES_SIZE,
    PROJECTED,
    PROJECTION,
    RAGGED,
    SCALES,
    SEED,
    SET,
    SIDE,
    SIGN,
    SIGNATURE,
    SINGLE,
    SOURCE,
    STEP,
    STORED,
    STRIDE,
    TABLE,
    TERM,
    TOGETHER,
    WEIGHT,
    WEIGHTS,
    WHICH,
    WIDTH,
    WORD_BITS,
    Assembly,
)
from memcom.kernels.cpu import formats
from memcom.kernels.cpu.arithmetic import multiply_add
from memcom.kernels.cpu.forward import (
    AHEAD,
    NEAR,
    NO_SEED,
    clamped_rows,
    digit_rows,
    hash_word,
    load_ids,
    murmur3,
    pool_block,
    remainders,
    sweep_forward,
)
from memcom.kernels.cpu.native import (
    BYTES,
    CHECKED,
    address_of,
    compiled,
    eight_zeros,
    first_of,
    float32_array,
    float32s,
    four_zeros,
    int64_array,
    int64s,
    njit,
    prefetch,
    read,
    spread,
    two_zeros,
    write,
    zeros,
)
from memcom.kernels.cpu.sweeps import SERIAL, refuse
from memcom.kernels.cpu.threads import num_threads, part_by_length, part_of, run_task
from memcom.kernels.gate import CPU, address, allocate_as, pass_ids

AHEAD_TOGETHER = 8  # ids between prefetching `SIDE` short rows and reading them
BLOCK = 256  # ids of a block: their vectors stay in the cache from line to line
FEW = 4  # numbers of a sparse row that are written whether it has them or not
NOT_STORED = -2  # a stored number points outside the table
_ALL, _KEYS, _OWN, _PLACES, _ENDS, _ROWS = range(6)  # the block's integers; rows of each line last
_FACTOR, _TERM, _SIGN = range(3)  # of its numbers

# --- addresses ------------------------------------------------------------------------------------


@njit
def find_rows(line: Any, keys: Any, words: Any, rows: Any, n: int) -> bool:
    """Write the rows that ``keys`` read; False if a stored one is outside the table."""
    source, modulus, largest = line[SOURCE], line[MODULUS], line[HIGH] - 1
    if source == STORED:
        if not _stored_rows(line, keys, words, rows, n):
            return False
    elif source == CLAMP:
        clamped_rows(modulus, keys, rows, n)
    elif source == SIGNATURE:
        _signatures(line, keys, words, rows, n)
        remainders(rows, modulus, n)
    else:
        seed = seed_of(line, line[DERIVED])
        digit_rows(line[DIVISOR], modulus, line[STRIDE], seed, largest, keys, rows, n)
    if line[FIRST] != 0:
        for b in range(n):
            rows[b] += line[FIRST]
    if CHECKED:
        for b in range(n):
            if rows[b] < 0 or (rows[b] + 1) * line[STEP] > line[NUMBERS]:
                raise IndexError("a row outside its table")
    return True


@njit
def seed_of(line: Any, derived: int) -> Any:
    """Return a line's seed, or the one that follows from it; `NO_SEED` if it has none."""
    if line[SEED] == 0:
        return NO_SEED
    seed = np.int64(int64s(line[SEED], 1)[0])
    return seed if derived == NONE else murmur3(derived, np.uint32(seed))


@njit
def code_at(codes: int, size: int, bits: int, number: int) -> Any:
    """Read one number of ``bits`` bits of a packed string of ``size`` bytes."""
    return _word_from(codes, size, number * bits) & ((np.int64(1) << bits) - 1)


@njit
def _word_from(codes: int, size: int, bit: int) -> Any:
    """Read the word from a bit on: `WORD_BITS` bits or more, those beyond the end are 0."""
    byte = bit >> 3
    if byte + 8 <= size:
        word = formats.read_word(codes + byte)
    else:
        word = np.int64(0)
        for k in range(min(8, size - byte)):
            word |= np.int64(formats.octet(codes + byte + k)) << (8 * k)
    return word >> (bit & 7)


@njit
def stored_rows(line: Any, keys: Any, rows: Any, n: int) -> bool:
    """Write stored row numbers; False if one is outside the table."""
    return _stored_rows(line, keys, rows, rows, n)


@njit
def _stored_rows(line: Any, keys: Any, words: Any, rows: Any, n: int) -> bool:
    """Write stored row numbers, as `stored_rows`, and keep the words for the lines that follow."""
    ahead, mask = line[NEXT], (np.int64(1) << line[BITS]) - 1
    if ahead == 0:
        _read_words(line, keys, words, n)
    highest: Any = np.int64(0)
    for b in range(n):
        row = (words[b] >> ahead) & mask
        rows[b] = row
        highest = max(highest, row)
    return highest + line[FIRST] < line[MODULUS]


@njit
def _read_words(line: Any, keys: Any, words: Any, n: int) -> None:
    codes, size, bits = line[CODES], line[CODES_SIZE], line[BITS]
    step, start = line[PER_ID] * bits, line[WHICH] * bits
    if size > NEAR and start == 0:
        for b in range(n):
            prefetch(codes + ((keys[b] * step) >> 3))
    last: Any = np.int64(0)
    for b in range(n):
        last = max(last, keys[b])
    if ((last * step + start) >> 3) + 8 <= size:
        for b in range(n):
            bit = keys[b] * step + start
            words[b] = formats.read_word(codes + (bit >> 3)) >> (bit & 7)
    else:
        for b in range(n):
            words[b] = _word_from(codes, size, keys[b] * step + start)


@njit
def _signatures(line: Any, keys: Any, words: Any, rows: Any, n: int) -> None:
    """Write hashes of the bytes that are picked of each key's, taken as one number."""
    codes, size, picks = line[CODES], line[PER_ID], line[WHICH]
    seed = np.uint32(seed_of(line, line[DERIVED]))
    if size == 8 and line[NEXT] == 0:
        for b in range(n):
            words[b] = formats.read_word(codes + keys[b] * size)
    if size == 8 and picks >> 24 != 0 and picks >> 32 == 0:  # four picks, the usual number
        one, two = 8 * ((picks & 255) - 1), 8 * (((picks >> 8) & 255) - 1)
        three, four = 8 * (((picks >> 16) & 255) - 1), 8 * ((picks >> 24) - 1)
        for b in range(n):
            word = words[b]
            first, second = ((word >> one) & 255) << 24, ((word >> two) & 255) << 16
            last = (((word >> three) & 255) << 8) | ((word >> four) & 255)
            rows[b] = hash_word(np.uint32(first | second | last), seed)
        return
    for b in range(n):
        rows[b] = 0
    while picks != 0:
        pick = (picks & 255) - 1
        for b in range(n):
            rows[b] = (rows[b] << 8) | formats.octet(codes + keys[b] * size + pick)
        picks >>= 8
    for b in range(n):
        rows[b] = murmur3(rows[b], seed)


# --- rows -----------------------------------------------------------------------------------------


@njit(forceinline=True)
def _place(x: Any, place: int, mode: int, factor: Any, term: Any, like: Any) -> None:
    """Set, add or multiply what is at ``place``; then multiply it by ``factor``, add ``term``."""
    if mode == ADD:
        x = read(place, like) + x
    elif mode == MULTIPLY:
        x = read(place, like) * x
    write(place, x * spread(factor, like) + spread(term, like))


@functools.cache
def _putter(
    load: Callable[..., Any], scaled: bool
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Compile the two ways to write a row of one format."""
    number = formats.scaled_reader(load, scaled)

    @njit(forceinline=True)
    def copy(source: int, columns: int, place: int, scale: Any, low: Any) -> None:
        """Write the first ``columns`` numbers of a row to ``place``."""
        many, four, one, k = zeros(), four_zeros(), np.float32(0), 0
        while k + 16 <= columns:
            write(place + 4 * k, number(source, k, scale, low, many))
            k += 16
        while k + 4 <= columns:
            write(place + 4 * k, number(source, k, scale, low, four))
            k += 4
        while k < columns:
            write(place + 4 * k, number(source, k, scale, low, one))
            k += 1

    @njit
    def put(
        source: int,
        columns: int,
        place: int,
        mode: int,
        weight: Any,
        factor: Any,
        term: Any,
        scale: Any,
        low: Any,
    ) -> None:
        """Set, add or multiply what is at ``place`` by ``weight`` times the row of `copy`.

        The result is multiplied by ``factor``, and ``term`` added.
        """
        many, four, one, k = zeros(), four_zeros(), np.float32(0), 0
        while k + 16 <= columns:
            x = number(source, k, scale, low, many) * spread(weight, many)
            _place(x, place + 4 * k, mode, factor, term, many)
            k += 16
        while k + 4 <= columns:
            y = number(source, k, scale, low, four) * spread(weight, four)
            _place(y, place + 4 * k, mode, factor, term, four)
            k += 4
        while k < columns:
            z = number(source, k, scale, low, one) * weight
            _place(z, place + 4 * k, mode, factor, term, one)
            k += 1

    return copy, put


@njit
def _row_bytes(line: Any) -> int:
    """Bytes from a row to the next; 0 for numbers in blocks."""
    kind, step = line[FORMAT], line[STEP]
    if kind == SINGLE:
        return step * 4
    if kind in (HALF, BRAIN):
        return step * 2
    if kind < IN_BLOCKS:
        return (step * (kind % IN_ROWS) + 7) >> 3
    return 0


@njit
def _prefetch_rows(line: Any, rows: Any, n: int) -> None:
    """Prefetch what a line reads, unless its table stays in the cache anyway."""
    table, step, scales, lows = line[TABLE], line[STEP], line[SCALES], line[LOWS]
    stride = _row_bytes(line)
    if line[NUMBERS] // step * stride <= NEAR:
        return
    size = line[COLUMNS] * stride if step == 1 else stride
    fits = BYTES % stride == 0 or stride % BYTES == 0  # rows start where cache lines do
    last = (size - 1) // BYTES * BYTES if fits and size == stride else size - 1
    for b in range(n):
        source = table + rows[b] * stride
        for byte in range(0, last, BYTES):
            prefetch(source + byte)
        prefetch(source + last)
    if scales != 0:
        for b in range(n):
            prefetch(scales + rows[b] * 2)
            prefetch(lows + rows[b] * 2)


def _mover(load: Callable[..., Any], scaled: bool) -> Callable[..., None]:
    """Compile the loop over a block's ids that carries out a row's line, for one format."""
    (copy, put), value = _putter(load, scaled), formats.reader(load)
    is_single = load is formats.load_single

    @njit
    def each(
        rows: Any,
        places: Any,
        n: int,
        table: int,
        stride: int,
        offset: int,
        adds: bool,
        like: Any,
    ) -> None:
        """Set or add rows that are one vector each, of the type of ``like``."""
        for b in range(n):
            place, x = places[b] + offset, value(table + rows[b] * stride, 0, like)
            if adds:
                x = x + read(place, like)
            write(place, x)

    @njit
    def move(
        line: Any, rows: Any, places: Any, n: int, numbers: Any, weights: Any, row: Any
    ) -> None:
        # Fields are read once: numba cannot know that the vectors do not overlap them.
        table, columns, stride, end = line[TABLE], line[COLUMNS], _row_bytes(line), line[NUMBERS]
        scales, lows = line[SCALES], line[LOWS]
        wraps = line[STEP] == 1 and columns > 1
        mode, offset, which = line[MODE], line[OFFSET] * 4, line[WEIGHT]
        signed, finish, projected = line[SIGN] != NONE, line[FINISH], line[PROJECTION]
        unit, nought = np.float32(1), np.float32(0)
        aside: Any = np.int64(SET)  # how a row that is projected is put
        scale, low, weight, factor, term = unit, nought, unit, unit, nought
        is_unchanged = which == NONE and not (signed or finish)
        is_plain = is_unchanged and not projected
        is_copy = is_plain and mode == SET
        if not scaled and is_plain and mode != MULTIPLY and columns <= 16:
            last: Any = np.int64(0)
            for b in range(n):
                last = max(last, rows[b])
            if not wraps or last <= end - columns:
                adds = mode == ADD
                if columns == 16:
                    each(rows, places, n, table, stride, offset, adds, zeros())
                    return
                if columns == 8:
                    each(rows, places, n, table, stride, offset, adds, eight_zeros())
                    return
                if columns == 4:
                    each(rows, places, n, table, stride, offset, adds, four_zeros())
                    return
                if columns == 2:
                    each(rows, places, n, table, stride, offset, adds, two_zeros())
                    return
                if columns == 1:
                    each(rows, places, n, table, stride, offset, adds, nought)
                    return
        done: Any = np.int64(0)
        if is_single and is_unchanged and projected and mode == SET and line[PROJECTED] % 32 == 0:
            _project_pairs(line, rows, places, n)
            done = n // 2 * 2
        for b in range(done, n):
            place, number = places[b] + offset, rows[b]
            source = table + number * stride
            if scaled:
                scale = formats.half(scales, number, nought)
                low = formats.half(lows, number, nought)
            size = min(columns, end - number) if wraps else columns
            if is_copy:
                copy(source, size, place, scale, low)
                if size < columns:
                    copy(table, columns - size, place + size * 4, scale, low)
                continue
            if which != NONE:
                weight = weights[b, which]
            if signed:
                weight = numbers[_SIGN, b] * (unit if which == NONE else weight)
            if finish:
                factor, term = numbers[_FACTOR, b], numbers[_TERM, b]
            if projected:
                if not is_single or which != NONE or signed:
                    put(source, columns, address_of(row), aside, weight, unit, nought, scale, low)
                    source = address_of(row)
                _project(line, source, place, factor, term)
                continue
            put(source, size, place, mode, weight, factor, term, scale, low)
            if size < columns:
                rest, further = columns - size, place + size * 4
                put(table, rest, further, mode, weight, factor, term, scale, low)

    return move


@njit
def _project_pairs(line: Any, rows: Any, places: Any, n: int) -> None:
    """Set the float32 rows of pairs of ids, times the line's matrix; an odd id is left."""
    table, stride, offset = line[TABLE], line[STEP] * 4, line[OFFSET] * 4
    matrix, inner, columns = line[PROJECTION], line[COLUMNS], line[PROJECTED]
    many, one = zeros(), np.float32(0)
    for b in range(0, n - 1, 2):
        row, other = table + rows[b] * stride, table + rows[b + 1] * stride
        place, place_of_other = places[b] + offset, places[b + 1] + offset
        for byte in range(0, columns * 4, 2 * BYTES):
            x, x1, y, y1 = zeros(), zeros(), zeros(), zeros()
            at = matrix + byte
            for j in range(inner):
                left, right = read(at, many), read(at + BYTES, many)
                number = spread(read(row + 4 * j, one), many)
                number_of_other = spread(read(other + 4 * j, one), many)
                x, x1 = multiply_add(number, left, x), multiply_add(number, right, x1)
                y = multiply_add(number_of_other, left, y)
                y1 = multiply_add(number_of_other, right, y1)
                at += columns * 4
            write(place + byte, x)
            write(place + byte + BYTES, x1)
            write(place_of_other + byte, y)
            write(place_of_other + byte + BYTES, y1)


@njit
def _project(line: Any, row: int, place: int, factor: Any, term: Any) -> None:
    """Multiply the row by the line's matrix."""
    matrix, inner, columns, mode = line[PROJECTION], line[COLUMNS], line[PROJECTED], line[MODE]
    numbers, one = float32s(row, inner), np.float32(0)
    many, k = zeros(), 0
    while k + 64 <= columns:  # four sums at a time, so that none waits for its last addition
        x, x1, x2, x3 = zeros(), zeros(), zeros(), zeros()
        at = matrix + k * 4
        for j in range(inner):
            number = spread(numbers[j], many)
            x = multiply_add(number, read(at, many), x)
            x1 = multiply_add(number, read(at + BYTES, many), x1)
            x2 = multiply_add(number, read(at + 2 * BYTES, many), x2)
            x3 = multiply_add(number, read(at + 3 * BYTES, many), x3)
            at += columns * 4
        _place(x, place + 4 * k, mode, factor, term, many)
        _place(x1, place + 4 * k + BYTES, mode, factor, term, many)
        _place(x2, place + 4 * k + 2 * BYTES, mode, factor, term, many)
        _place(x3, place + 4 * k + 3 * BYTES, mode, factor, term, many)
        k += 64
    while k + 16 <= columns:
        x = zeros()
        for j in range(inner):
            line_of = read(matrix + (j * columns + k) * 4, many)
            x = multiply_add(spread(numbers[j], many), line_of, x)
        _place(x, place + 4 * k, mode, factor, term, many)
        k += 16
    while k < columns:
        z = np.float32(0)
        for j in range(inner):
            z += numbers[j] * read(matrix + (j * columns + k) * 4, one)
        _place(z, place + 4 * k, mode, factor, term, one)
        k += 1


move_single, _move_half = _mover(formats.load_single, False), _mover(formats.load_half, False)
_move_brain = _mover(formats.load_brain, False)
_move_eight, _move_four = _mover(formats.load_byte, True), _mover(formats.loader_of_few(4), True)
_move_three, _move_two = (_mover(formats.loader_of_few(bits), True) for bits in (3, 2))


@njit
def _few_at(codes: int, bits: int, number: int) -> Any:
    """One of the numbers of at most 8 bits that begin at an address: it is in two bytes or one."""
    bit = number * bits
    first, last = formats.octet(codes + (bit >> 3)), formats.octet(codes + ((bit + bits - 1) >> 3))
    return ((first | (last << 8)) >> (bit & 7)) & ((1 << bits) - 1)


@njit
def number_at(line: Any, at: int) -> Any:
    """Read number ``at`` of a table of any format, counted from its first one on."""
    table, kind, one = line[TABLE], line[FORMAT], np.float32(0)
    if kind == SINGLE:
        return formats.single(table, at, one)
    if kind == HALF:
        return formats.half(table, at, one)
    if kind == BRAIN:
        return formats.brain(table, at, one)
    row, bits = at // line[GROUP], kind % IN_ROWS
    if kind < IN_BLOCKS:
        code = _few_at(table + row * _row_bytes(line), bits, at % line[GROUP])
    else:
        code = _few_at(table, bits, at)
    low, scale = formats.half(line[LOWS], row, one), formats.half(line[SCALES], row, one)
    return low + scale * np.float32(code)


@njit
def move_by_number(
    line: Any, rows: Any, places: Any, n: int, numbers: Any, weights: Any, row: Any
) -> None:
    """Carry out a row's line for numbers in blocks."""
    columns, mode, which, one = line[COLUMNS], line[MODE], line[WEIGHT], np.float32(0)
    weight, factor, term = np.float32(1), np.float32(1), np.float32(0)
    for b in range(n):
        place = places[b] + line[OFFSET] * 4
        if which != NONE:
            weight = weights[b, which]
        if line[SIGN] != NONE:
            weight = numbers[_SIGN, b] * (np.float32(1) if which == NONE else weight)
        if line[FINISH]:
            factor, term = numbers[_FACTOR, b], numbers[_TERM, b]
        at = rows[b] * line[STEP]
        for k in range(columns):
            z = number_at(line, at) * weight
            at += 1
            if at == line[NUMBERS]:
                at = 0
            if line[PROJECTION]:
                row[k] = z
                continue
            _place(z, place + 4 * k, mode, factor, term, one)
        if line[PROJECTION]:
            _project(line, address_of(row), place, factor, term)


@njit(inline="always")
def _move(line: Any, rows: Any, places: Any, n: int, numbers: Any, weights: Any, row: Any) -> None:
    """Carry out a row's line."""
    kind = line[FORMAT]
    if kind == SINGLE:
        move_single(line, rows, places, n, numbers, weights, row)
    elif kind == IN_ROWS + 8:
        _move_eight(line, rows, places, n, numbers, weights, row)
    elif kind == IN_ROWS + 4:
        _move_four(line, rows, places, n, numbers, weights, row)
    elif kind == IN_ROWS + 3:
        _move_three(line, rows, places, n, numbers, weights, row)
    elif kind == IN_ROWS + 2:
        _move_two(line, rows, places, n, numbers, weights, row)
    elif kind == HALF:
        _move_half(line, rows, places, n, numbers, weights, row)
    elif kind == BRAIN:
        _move_brain(line, rows, places, n, numbers, weights, row)
    else:
        move_by_number(line, rows, places, n, numbers, weights, row)


@njit
def _fit(line: Any, whole: Any, first: int, n: int) -> bool:
    """True if none of `SIDE` lines has a run that goes round the end of its array."""
    if line[STEP] != 1:
        return True
    last: Any = np.int64(0)
    for j in range(first, first + SIDE):
        for b in range(n):
            last = max(last, whole[j, b])
    return last + line[COLUMNS] <= line[NUMBERS]


@njit
def _move_side_by_side(line: Any, whole: Any, first: int, places: Any, n: int, like: Any) -> None:
    """Carry out `SIDE` lines at once, of rows that are one vector each, of the type of ``like``."""
    table, stride, offset = line[TABLE], line[STEP] * 4, line[OFFSET] * 4
    size, near = line[COLUMNS] * 4, line[NUMBERS] * 4 <= NEAR
    for b in range(0 if near else -AHEAD_TOGETHER, n):
        if not near and b + AHEAD_TOGETHER < n:
            for j in range(SIDE):
                source = table + whole[first + j, b + AHEAD_TOGETHER] * stride
                prefetch(source)
                prefetch(source + size - 4)
        if b >= 0:
            place = places[b] + offset
            for j in range(SIDE):
                write(place + size * j, read(table + whole[first + j, b] * stride, like))


@njit(inline="always")
def _move_together(line: Any, whole: Any, first: int, places: Any, n: int) -> None:
    """Carry out `SIDE` lines at once: an id's numbers go to few cache lines."""
    columns = line[COLUMNS]
    if columns == 8:
        _move_side_by_side(line, whole, first, places, n, eight_zeros())
    elif columns == 4:
        _move_side_by_side(line, whole, first, places, n, four_zeros())
    elif columns == 2:
        _move_side_by_side(line, whole, first, places, n, two_zeros())
    else:
        _move_side_by_side(line, whole, first, places, n, np.float32(0))


_copy_single, _ = _putter(formats.load_single, False)


@njit
def _find_ends(line: Any, keys: Any, starts: Any, ends: Any, n: int) -> bool:
    """Write the first piece of each row, and the one after its last; False if outside the table."""
    codes, size, bits = line[CODES], line[CODES_SIZE], line[BITS]
    pieces, mask = line[NUMBERS] // line[STEP], (np.int64(1) << bits) - 1
    if size > NEAR:
        for b in range(n):
            prefetch(codes + ((keys[b] * bits) >> 3))
    for b in range(n):
        word = _word_from(codes, size, keys[b] * bits)
        starts[b], ends[b] = word & mask, (word >> bits) & mask
        if 2 * bits > WORD_BITS:
            ends[b] = code_at(codes, size, bits, keys[b] + 1)
        if starts[b] > ends[b] or ends[b] > pieces:
            return False
    return True


@njit
def _move_jagged(line: Any, starts: Any, ends: Any, places: Any, n: int, width: int) -> None:
    """Write the pieces of each row, which are its first numbers, and then zeros."""
    table, step, columns, many = line[TABLE], line[STEP], line[COLUMNS], zeros()
    is_single, end = line[FORMAT] == SINGLE, table + line[NUMBERS] * 4
    for b in range(n):
        if is_single and b + AHEAD < n:
            prefetch(table + starts[b + AHEAD] * step * 4)
        first, place, k = starts[b] * step, places[b], 0
        length, source = min((ends[b] - starts[b]) * step, columns), table + first * 4
        if is_single and source + width * 4 <= end:  # a vector may reach into the next row
            while k + 16 <= width:
                x = many
                if k < length:
                    x = first_of(read(source + 4 * k, many), length - k)
                write(place + 4 * k, x)
                k += 16
        while k < width:
            write(place + 4 * k, number_at(line, first + k) if k < length else np.float32(0))
            k += 1


@njit
def _move_listed(line: Any, starts: Any, ends: Any, places: Any, n: int, width: int) -> bool:
    """Write each piece of a row in its place; False if one has its place outside the row.

    Of single numbers the first few take no branch that depends on how many there are: in shorter
    rows the last one is written again, in empty ones a zero.
    """
    table, step, columns, nought = line[TABLE], line[STEP], line[COLUMNS], np.float32(0)
    listed, listed_size, listed_bits = line[PLACES], line[PLACES_SIZE], line[PLACE_BITS]
    of_row, is_single = (columns + step - 1) // step, line[FORMAT] == SINGLE
    mask, highest = (np.int64(1) << listed_bits) - 1, line[NUMBERS] // step - 1
    by_few = is_single and step == 1 and highest >= 0 and FEW * listed_bits <= WORD_BITS
    for b in range(n):
        if b + AHEAD < n:
            ahead = starts[b + AHEAD]
            prefetch(table + ahead * step * 4)
            prefetch(listed + ((ahead * listed_bits) >> 3))
        _blank(places[b], width)
        start, last = starts[b], ends[b] - 1
        if by_few:
            word = _word_from(listed, listed_size, start * listed_bits)
            for j in range(FEW):
                own = max(min(start + j, last), start)
                where = (word >> ((own - start) * listed_bits)) & mask
                if where >= of_row:
                    return False
                number = read(table + min(own, highest) * 4, nought)
                write(places[b] + where * 4, number if own <= last else nought)
            start += FEW
        for piece in range(start, ends[b]):
            where = code_at(listed, listed_size, listed_bits, piece)
            if where >= of_row:
                return False
            begin, first = where * step, piece * step
            size, at = min(step, columns - begin), places[b] + begin * 4
            if not is_single:
                for k in range(size):
                    write(at + 4 * k, number_at(line, first + k))
            else:
                _copy_single(table + first * 4, size, at, np.float32(1), np.float32(0))
    return True


@njit
def _move_ragged(
    line: Any, keys: Any, starts: Any, ends: Any, places: Any, n: int, width: int
) -> bool:
    """Carry out the line of rows of different lengths; False if one is outside the table."""
    if not _find_ends(line, keys, starts, ends, n):
        return False
    if line[PLACES]:
        return _move_listed(line, starts, ends, places, n, width)
    _move_jagged(line, starts, ends, places, n, width)
    return True


@njit
def _blank(place: int, width: int) -> None:
    numbers = float32s(place, width)
    for k in range(width):
        numbers[k] = np.float32(0)


# --- a block of ids -------------------------------------------------------------------------------


@njit
def room_for(code: Any, size: int) -> Any:
    """Working memory of `assemble_block`, for blocks of up to ``size`` ids."""
    head = code[0]
    return (
        # Rows of a power of two would share the places of a cache.
        np.empty((_ROWS + code.shape[0], size + BYTES // 8), np.int64),
        np.empty((3, size), np.float32),
        np.empty((size, max(1, head[MOST_WEIGHTS])), np.float32),
        np.empty(max(1, head[MOST_COLUMNS]), np.float32),
    )


@njit(forceinline=True)
def lend(room: Any) -> Any:
    """Return the arrays of `room_for` as views, which are not counted.

    Whoever has the room keeps it until after the block. Counting the references of a block's arrays
    takes longer than a short row does.
    """
    whole, numbers, weights, row = room
    return (
        int64_array(address_of(whole), whole.shape),
        float32_array(address_of(numbers), numbers.shape),
        float32_array(address_of(weights), weights.shape),
        float32_array(address_of(row), row.shape),
    )


@njit
def _take_up(line: Any, keys: Any, n: int, own: Any, places: Any, out: int, step: int) -> int:
    """Take up the ids of a range: their numbers in it, and where their vectors go."""
    low, high = line[LOW], line[HIGH]
    count: Any = np.int64(0)
    for b in range(n):
        own[count], places[count] = keys[b] - low, out + b * step
        count += np.int64(keys[b] >= low) & np.int64(keys[b] < high)
    return count


@njit(inline="always")
def assemble_block(
    code: Any, ids: int, id_bytes: int, first: int, n: int, spare: Any, out: int
) -> int:
    """Write the vectors of ``n`` ids from number ``first`` on to ``out``, in float32.

    Returns -1, the number of an id that is out of range, or `NOT_STORED`.
    """
    whole, numbers, weights, row = spare
    head, step = code[0], code[0, WIDTH] * 4
    every, keys, own, places = whole[_ALL], whole[_KEYS], whole[_OWN], whole[_PLACES]
    ends = whole[_ENDS]
    bad = load_ids(ids, id_bytes, first, n, head[LIMIT], every)
    if bad >= 0:
        return first + bad
    for b in range(n):
        keys[b] = every[b]
    # int64, not the literal 0, for which numba would compile all that follows once more.
    count: Any = np.int64(0)
    number, lines = 1, code.shape[0]
    while number < lines:
        line, rows = code[number], whole[_ROWS + number]
        number += 1
        op = line[OP]
        if op == PART:
            count = _take_up(line, keys, n, own, places, out, step)
            if count == 0:
                number = line[NEXT]
                continue
            if line[BLANK] and code[number, OP] != RAGGED:
                for b in range(count):
                    _blank(places[b], head[WIDTH])
            # All rows are found, and prefetched, before the first is read.
            for later in range(number, line[NEXT]):
                found, whose = whole[_ROWS + later], code[later]
                if whose[OP] != RAGGED and whose[COLUMNS] != 0:
                    if not find_rows(whose, own, ends, found, count):
                        return NOT_STORED
                    if whose[TOGETHER] == 0:
                        _prefetch_rows(whose, found, count)
        elif op == MAP:
            if not stored_rows(line, every, keys, n):
                return NOT_STORED
        elif op == RAGGED:
            if not _move_ragged(line, own, rows, ends, places, count, head[WIDTH]):
                return NOT_STORED
        elif line[COLUMNS] == 0:
            for b in range(count):
                numbers[_FACTOR, b], numbers[_TERM, b] = np.float32(1), np.float32(0)
        else:
            if op == FACTOR and line[FORMAT] == SINGLE:
                table = line[TABLE]
                for b in range(count):
                    numbers[_FACTOR, b] *= formats.single(table, rows[b], np.float32(0))
            elif op == FACTOR:
                for b in range(count):
                    numbers[_FACTOR, b] *= number_at(line, rows[b])
            elif op == TERM:
                for b in range(count):
                    numbers[_TERM, b] += number_at(line, rows[b])
            elif op == WEIGHTS:
                for b in range(count):
                    for k in range(line[COLUMNS]):
                        weights[b, k] = number_at(line, rows[b] * line[COLUMNS] + k)
            else:
                if line[SIGN] != NONE:
                    seed = np.uint32(seed_of(line, line[SIGN]))
                    for b in range(count):
                        numbers[_SIGN, b] = np.float32(1 - 2 * (murmur3(own[b], seed) & 1))
                first_rows = _ROWS + number - 1
                if line[TOGETHER] == 1 and _fit(line, whole, first_rows, count):
                    _move_together(line, whole, first_rows, places, count)
                    number += SIDE - 1
                    continue
                _move(line, rows, places, count, numbers, weights, row)
    if head[PADDING] != NONE:
        for b in range(n):
            if every[b] == head[PADDING]:
                _blank(out + b * step, head[WIDTH])
    return -1


@njit
def _keep_rows(code: Any, whole: Any, first: int, n: int, total: int) -> None:
    """Copy the rows that a block's ids read, line by line; -1 where a line is not for the id."""
    kept = int64_array(code[0, KEPT], (code.shape[0], total))
    every, keys = whole[_ALL], whole[_KEYS]
    for part in range(1, code.shape[0]):
        line, count = code[part], np.int64(0)
        if line[OP] != PART:
            continue
        low, high = line[LOW], line[HIGH]
        for b in range(n):
            count += np.int64(keys[b] >= low) & np.int64(keys[b] < high)
        for j in range(part, line[NEXT]):
            place = np.int64(0)
            for b in range(n if count == n else 0):
                kept[j, first + b] = whole[_ROWS + j, b]
            for b in range(0 if count == n else n):  # a range has the rows of its own ids only
                is_own = low <= keys[b] < high
                kept[j, first + b] = whole[_ROWS + j, place] if is_own else np.int64(-1)
                place += np.int64(is_own)
    for b in range(n if code[0, PADDING] != NONE else 0):
        if every[b] == code[0, PADDING]:
            for j in range(1, code.shape[0]):
                kept[j, first + b] = -1


def _narrower(write_as: Callable[..., Any]) -> Callable[..., None]:
    """Compile the loop that writes float32 numbers in a narrower format."""

    @njit
    def narrow(vectors: int, out: int, count: int) -> None:
        many, one, k = zeros(), np.float32(0), 0
        while k + 16 <= count:
            write_as(out + 2 * k, read(vectors + 4 * k, many))
            k += 16
        while k < count:
            write_as(out + 2 * k, read(vectors + 4 * k, one))
            k += 1

    return narrow


_to_half, _to_brain = map(_narrower, [formats.write_half, formats.write_brain])


# As `forward_task`'s; or `COUNT` bags, which start at `OFFSETS`, of vectors times `FACTORS`.
THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OUT, OFFSETS, FACTORS = range(10)


@compiled(cfunc, types.void(types.int64))
def assemble_task(address: int) -> None:
    """Write one thread's part of the vectors of a task, or of the bags."""
    task = int64_array(address, (FACTORS + 1,))
    code = int64_array(task[PROGRAM], (task[ENTRIES], LINE))
    pooled, bags = task[OFFSETS] != 0, task[COUNT] if task[OFFSETS] != 0 else 0
    offsets = int64s(task[OFFSETS], bags + 1)
    bag: Any = np.int64(0)
    if pooled:
        bag, end = part_by_length(offsets, bags, task[THREADS])
        start, stop = offsets[bag], offsets[end]
    else:
        start, stop = part_of(task[COUNT], task[THREADS])
    factors = float32s(task[FACTORS], stop if pooled else 0)
    size, width, kind = max(1, min(BLOCK, stop - start)), code[0, WIDTH], code[0, OUT_FORMAT]
    in_place = kind == SINGLE and not pooled
    room = room_for(code, size)
    tile = np.empty(1 if in_place else size * width, np.float32)
    for first in range(start, stop, size):
        n = min(size, stop - first)
        place = task[OUT] + first * width * (4 if kind == SINGLE else 2)
        target = place if in_place else address_of(tile)
        bad = assemble_block(code, task[IDS], task[ID_BYTES], first, n, lend(room), target)
        if bad != -1:
            task[BAD] = bad
            break
        if code[0, KEPT] != 0:
            _keep_rows(code, room[0], first, n, task[COUNT])
        if pooled:
            bag = pool_block(target, width, first, n, factors, offsets, bags, bag, task[OUT])
        elif kind == HALF:
            _to_half(target, place, n * width)
        elif kind == BRAIN:
            _to_brain(target, place, n * width)


_TASK: Any = assemble_task.address
_sweep = sweep_forward


def sweep(code: Any, threads: int, ids: int, count: int, out: Any) -> int:
    """Look up int64 ids at an address, by lines that keep the rows, into a float32 array.

    Returns:
        -1, the position of an id that is out of range, or `NOT_STORED`.
    """
    lines, target = (code.ctypes.data, len(code)), out.ctypes.data
    found: int = _sweep(_TASK, threads, *lines, ids, 8, count, target)
    return found


def assembled(assembly: Assembly, ids: Tensor) -> Tensor | None:
    """Look up ``ids`` by an assembly.

    Args:
        assembly: Bound to memory that is where it was.
        ids: int32 or int64 of any shape.

    Returns:
        Tensor of shape ``(*ids.shape, width)``; None if a stored number points outside a table,
        which torch's own operations say best.

    Raises:
        IndexError: An id is out of range.
    """
    count = ids.numel()
    out, target = allocate_as(assembly.dtype, *ids.shape, assembly.width)
    threads = num_threads() if count * assembly.width >= SERIAL else 1
    ids, keys, id_bytes = pass_ids(ids)
    lines = len(assembly.code)
    bad = _sweep(_TASK, threads, assembly.address, lines, keys, id_bytes, count, target)
    if bad == NOT_STORED:
        return None
    if bad >= 0:
        refuse(ids, bad, int(assembly.code[0, LIMIT]))
    return out


def pooled(assembly: Assembly, ids: Tensor, offsets: Tensor, factors: Tensor) -> Tensor | None:
    """Sum the vectors of each bag times ``factors``, one for each id.

    Returns:
        Tensor of shape ``(bags, width)``; None as for `assembled`.

    Raises:
        IndexError: An id is out of range.
    """
    bags = len(offsets) - 1
    out = torch.zeros((bags, assembly.width), dtype=torch.float32, device=CPU)
    ids, keys, id_bytes = pass_ids(ids)
    task = np.zeros(FACTORS + 1, np.int64)
    task[THREADS] = num_threads() if ids.numel() * assembly.width >= SERIAL else 1
    task[BAD:IDS] = -1, assembly.address, len(assembly.code)
    task[IDS:OFFSETS] = keys, id_bytes, bags, address(out, torch.float32)
    task[OFFSETS:] = address(offsets, torch.int64), address(factors, torch.float32)
    run_task(assemble_task, task)
    if task[BAD] == NOT_STORED:
        return None
    if task[BAD] >= 0:
        refuse(ids, int(task[BAD]), int(assembly.code[0, LIMIT]))
    return out.to(assembly.dtype)
