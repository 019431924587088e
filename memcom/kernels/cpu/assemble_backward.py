"""The compiled backward pass of any reading: the lines of an assembly once more, then sums by row.

Equal ids come first: their gradients are summed, so that what follows is done once per distinct id.

    collect     sort the ids, each with its position; the lookup of the distinct ones keeps the rows
    spread      copy each vector to all positions of its id
    prepare     sum the gradients of equal ids; find what multiplies the gradient of each row, and
                the dot products that gradients of numbers are made of
    mark        note which rows of a table were read: a bit each, and how many come before
    accumulate  add up the gradients of the rows

A thread of the last two has a part of each table to itself, and looks at all reads for those in its
part: no locks, and the same sums for any number of threads. A sparse gradient is coalesced and
sorted: the place of a row is the number of marks before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, types

from memcom.kernels.assembly import (
    BEGIN,
    BITS,
    CODES,
    CODES_SIZE,
    COLUMNS,
    DOTTED,
    FACTOR,
    FINISH,
    FORMAT,
    HIGH,
    LAST,
    LIMIT,
    LINE,
    LOW,
    MAP,
    MODE,
    MOST_WEIGHTS,
    NEXT,
    NONE,
    NUMBERS,
    OFFSET,
    OP,
    PADDING,
    PART,
    PLACE_BITS,
    PLACES,
    PLACES_SIZE,
    PROJECTED,
    PROJECTION,
    RAGGED,
    ROW,
    SCALARS,
    SCALARS_END,
    SCALED,
    SET,
    SIGN,
    SINGLE,
    STEP,
    TABLE,
    TERM,
    TIES,
    VECTORS,
    WEIGHT,
    WEIGHTS,
    WIDTH,
)
from memcom.kernels.cpu.assemble import (
    code_at,
    move_by_number,
    move_single,
    number_at,
    seed_of,
    stored_rows,
)
from memcom.kernels.cpu.backward import dot, row_sum, segment
from memcom.kernels.cpu.forward import load_ids, murmur3
from memcom.kernels.cpu.native import (
    address_of,
    compiled,
    float32_array,
    float32s,
    four_zeros,
    int64_array,
    int64s,
    intrinsic,
    njit,
    prefetch,
    read,
    row_address,
    spread,
    write,
    zeros,
)
from memcom.kernels.cpu.sorting import sort_keys
from memcom.kernels.cpu.threads import member, part_by_length

BLOCK = 64  # ids of a block: the gradients of their vectors stay in the cache from line to line
AHEAD = 12  # positions between prefetching a gradient and reading it
WORD, PAGE = 6, 12  # bits of a row's number: 64 rows share a word of marks, 64 words a page

# A task. `ROWS`, `SCALES` and `DOTS` hold a number per line and distinct id: the row that is read,
# or its complement if the line is not for the id; what multiplies the id's gradient there; and the
# gradient of a scalar or of a weight. `OWN` is where each distinct id's gradient is.
THREADS, BAD, CODE, PLAN, LINKS, LINES, IDS, ID_BYTES, COUNT, GRAD = range(10)
KEYS, SPARE, STARTS, DISTINCT, ID_BITS, ORDERED, FOUND = range(10, 17)
OWN, SUMS, ROWS, SCALES, DOTS, PRODUCTS, JOBS, NUM_JOBS = range(17, 25)
DISTINCT_VECTORS, OUT = SUMS, GRAD  # in the forward pass
TASK = 25

# A job is one of the assembly's sources: `SIZE` rows of `ACROSS` numbers. `MARKS` has two numbers
# for 64 rows: a bit for each, and how many marks come before; `PAGES` says that of 4,096 rows.
NEEDED, TARGET, INDICES, SIZE, ACROSS, MARKS, PAGES, MARKED = range(8)
JOB = 8
DENSE, SPARSE = 1, 2  # of NEEDED
NOT_STORED = -2


def _counter(name: str) -> Any:
    """An intrinsic that counts bits of an int64."""

    @intrinsic
    def count(context: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if name == "ctpop":
                return builder.ctpop(args[0])
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

        return types.int64(types.int64), generate

    return count


_ones, _zeros_below = _counter("ctpop"), _counter("cttz")


# --- equal ids ------------------------------------------------------------------------------------


@compiled(cfunc, types.void(types.int64))
def collect_task(address: int) -> None:
    """Sort the ids, and note where each distinct one begins.

    `BAD` becomes the position of an id that is out of range.
    """
    task = int64_array(address, (TASK,))
    head = int64_array(task[CODE], (task[LINES], LINE))[0]
    count, bits = task[COUNT], task[ID_BITS]
    keys, some = int64s(task[KEYS], count), np.empty(BLOCK, np.int64)
    for first in range(0, count, BLOCK):
        n = min(BLOCK, count - first)
        bad = load_ids(task[IDS], task[ID_BYTES], first, n, head[LIMIT], some)
        if bad >= 0:
            task[BAD] = first + bad
            return
        for b in range(n):
            keys[first + b] = (some[b] << bits) | (first + b)
    largest: Any = np.int64(1)
    while head[LIMIT] > np.int64(1) << largest:
        largest += 1
    task[ORDERED] = sort_keys(task[KEYS], task[SPARE], count, bits, bits + largest)
    task[FOUND] = segment(task[ORDERED], count, bits, task[STARTS])
    starts, distinct = int64s(task[STARTS], task[FOUND]), int64s(task[DISTINCT], task[FOUND])
    ordered = int64s(task[ORDERED], count)
    for k in range(task[FOUND]):
        distinct[k] = ordered[starts[k]] >> bits


@njit
def _copy(place: int, source: int, columns: int) -> None:
    many, one, k = zeros(), np.float32(0), np.int64(0)
    while k + 16 <= columns:
        write(place + 4 * k, read(source + 4 * k, many))
        k += 16
    while k < columns:
        write(place + 4 * k, read(source + 4 * k, one))
        k += 1


@compiled(cfunc, types.void(types.int64))
def spread_task(address: int) -> None:
    """Copy one thread's part of the distinct ids' vectors to all their positions."""
    task = int64_array(address, (TASK,))
    width, found = int64_array(task[CODE], (task[LINES], LINE))[0, WIDTH], task[FOUND]
    starts, mask = int64s(task[STARTS], found + 1), (np.int64(1) << task[ID_BITS]) - 1
    ordered, size = int64s(task[ORDERED], task[COUNT]), width * 4
    end = task[OUT] + task[COUNT] * size
    start, stop = part_by_length(starts, found, task[THREADS])
    for k in range(start, stop):
        source = task[DISTINCT_VECTORS] + k * size
        for p in range(starts[k], starts[k + 1]):
            _copy(row_address(task[OUT], ordered[p] & mask, size, end), source, width)


@njit
def _clear(place: int, columns: int) -> None:
    numbers = float32s(place, columns)
    for k in range(columns):
        numbers[k] = np.float32(0)


@njit
def _add(place: int, source: int, scale: Any, columns: int) -> None:
    """Add ``scale`` times a row."""
    many, four, one, k = zeros(), four_zeros(), np.float32(0), np.int64(0)
    while k + 16 <= columns:
        at = place + 4 * k
        write(at, read(at, many) + read(source + 4 * k, many) * spread(scale, many))
        k += 16
    while k + 4 <= columns:
        at = place + 4 * k
        write(at, read(at, four) + read(source + 4 * k, four) * spread(scale, four))
        k += 4
    while k < columns:
        at = place + 4 * k
        write(at, read(at, one) + read(source + 4 * k, one) * scale)
        k += 1


@njit
def _sum_equal(task: Any, width: int, first: int, n: int, keys: Any) -> None:
    """Sum the gradients of each of ``n`` distinct ids from number ``first`` on; write the ids."""
    size, bits, count = width * 4, task[ID_BITS], task[COUNT]
    starts, own = int64s(task[STARTS], task[FOUND] + 1), int64s(task[OWN], task[FOUND])
    total = starts[task[FOUND]]
    ordered, mask = int64s(task[ORDERED], total), (np.int64(1) << bits) - 1
    end, unit = task[GRAD] + count * size, np.float32(1)
    for b in range(n):
        begin, stop = starts[first + b], starts[first + b + 1]
        keys[b] = ordered[begin] >> bits
        place = row_address(task[GRAD], ordered[begin] & mask, size, end)
        if stop - begin > 1:
            place = task[SUMS] + (first + b) * size
            _clear(place, width)
        for p in range(begin, stop if stop - begin > 1 else begin):
            after = task[GRAD] + (ordered[min(p + AHEAD, total - 1)] & mask) * size
            for byte in range(0, size, 64):
                prefetch(after + byte)
            _add(place, row_address(task[GRAD], ordered[p] & mask, size, end), unit, width)
        own[first + b] = place


# --- the lines once more --------------------------------------------------------------------------


@njit(forceinline=True)
def _valid(row: int) -> int:
    """Return a row that can be read, the complement of one that is not for the id."""
    return row ^ (row >> 63)


@njit
def _values(line: Any, rows: Any, target: int, columns: int, n: int, projected: bool) -> None:
    """Write the numbers that a line reads for ``n`` ids, ``columns`` each, without their scale."""
    bare, valid, places = line.copy(), np.empty(n, np.int64), np.empty(n, np.int64)
    bare[MODE], bare[WEIGHT], bare[SIGN], bare[FINISH], bare[OFFSET] = SET, NONE, NONE, 0, 0
    if not projected:
        bare[PROJECTION] = 0
    for b in range(n):
        valid[b], places[b] = _valid(rows[b]), target + b * columns * 4
    numbers, weights = np.empty((3, n), np.float32), np.empty((1, 1), np.float32)
    row = np.empty(line[COLUMNS], np.float32)
    if line[FORMAT] == SINGLE:
        move_single(bare, valid, places, n, numbers, weights, row)
    else:
        move_by_number(bare, valid, places, n, numbers, weights, row)


@njit
def _columns(line: Any) -> int:
    """Numbers that a row's line puts into the vector."""
    return line[PROJECTED] if line[PROJECTION] != 0 else line[COLUMNS]


@njit
def _others(code: Any, ties: Any, rows: Any, last: int, factor: int, at: int) -> Any:
    """Product of the factors of an id but for the one that line ``factor`` reads."""
    product = np.float32(1)
    for j in range(ties[last, SCALARS], ties[last, SCALARS_END]):
        if code[j, OP] == FACTOR and j != factor:
            row = rows[j, at]
            product *= number_at(code[j], _valid(row))
    return product


@njit
def _close_group(
    task: Any, code: Any, ties: Any, arrays: Any, last: int, first: int, n: int, room: Any
) -> None:
    """Note what the rows of a group get: rows that are multiplied, line ``last`` the last of them.

    Before, ``scales`` and ``dots`` of its lines hold weight times sign, and the sign. Then

        scales    what multiplies the gradient of the vector, for the only row of a group
        products  the gradient of a row, for one of several
        dots      the gradient of the line's weight
    """
    rows, scales, dots = arrays
    factors, _weights, tile, product = room
    begin, own, columns = ties[last, BEGIN], int64s(task[OWN], task[FOUND]), _columns(code[last])
    several, dotted, line = last > begin, ties[last, DOTTED] != 0, code[last]
    tiles, size = address_of(tile), n * columns * 4
    if several or dotted:
        for j in range(begin, last + 1):
            target = tiles + (j - begin) * size
            _values(code[j], rows[j, first : first + n], target, columns, n, True)
    for b in range(n):
        at, gradient = first + b, own[first + b] + line[OFFSET] * 4
        factor = factors[b] if line[FINISH] != 0 else np.float32(1)
        scale = np.float32(1)
        for j in range(begin, last + 1):
            scale *= scales[j, at]
        together = tiles + b * columns * 4
        if several and dotted:
            for k in range(columns):
                product[k] = float32s(together, columns)[k]
                for j in range(1, last - begin + 1):
                    product[k] *= float32s(together + j * size, columns)[k]
            together = address_of(product)
        whole = dot(gradient, together, columns) if dotted else np.float32(0)
        for j in range(begin, last + 1 if dotted else begin):
            rest = whole * factor
            for i in range(begin, last + 1):
                if i != j:
                    rest *= scales[i, at]
            dots[j, at] *= rest
        for j in range(ties[last, SCALARS], ties[last, SCALARS_END]):
            if code[j, OP] == TERM:
                dots[j, at] += row_sum(gradient, columns)
            else:
                dots[j, at] += whole * scale * _others(code, ties, rows, last, j, at)
        scale *= factor
        if not several:
            scales[last, at] = scale
        for j in range(begin, last + 1 if several else begin):
            total = float32s(_product(task, code, ties, j, at), columns)
            g = float32s(gradient, columns)
            for k in range(columns):
                value = g[k] * scale
                for i in range(last - begin + 1):
                    if i != j - begin:
                        value *= float32s(tiles + i * size + b * columns * 4, columns)[k]
                total[k] = value


@njit
def _product(task: Any, code: Any, ties: Any, number: int, at: int) -> int:
    """Address of the gradient that a row gets of an id, for one of several that are multiplied."""
    columns = _columns(code[number])
    return task[PRODUCTS] + (task[FOUND] * ties[number, VECTORS] + at * columns) * 4


@njit
def _read_block(
    task: Any, code: Any, ties: Any, arrays: Any, first: int, n: int, keys: Any, room: Any
) -> bool:
    """Carry out the lines for a block of distinct ids; False if a stored number points outside."""
    rows, scales, dots = arrays
    factors, weights, _tile, _product = room
    every, own, inside = keys.copy(), np.empty(n, np.int64), np.empty(n, np.int64)
    padding = code[0, PADDING]
    number: Any = np.int64(0)
    while number < code.shape[0] - 1:
        number += 1
        line, op = code[number], code[number, OP]
        if op == PART:
            count = np.int64(0)
            for b in range(n):
                inside[b] = np.int64(keys[b] >= line[LOW]) & np.int64(keys[b] < line[HIGH])
                inside[b] &= np.int64(every[b] != padding)
                own[b] = (keys[b] - line[LOW]) * inside[b]
                inside[b] -= 1  # 0, and -1 for other ids: x ^ -1 is the complement
                count += inside[b]
            if count == -n:
                number = line[NEXT] - 1
        elif op == MAP:
            if not stored_rows(line, every, keys, n):
                return False
        elif op == RAGGED:
            for b in range(n):
                start = code_at(line[CODES], line[CODES_SIZE], line[BITS], own[b])
                end = code_at(line[CODES], line[CODES_SIZE], line[BITS], own[b] + 1)
                if start > end or end > line[NUMBERS] // line[STEP]:
                    return False
                rows[number, first + b], rows[number - 1, first + b] = start ^ inside[b], end
        elif line[COLUMNS] == 0:
            factors[:n] = np.float32(1)
        else:
            found = rows[number, first : first + n]
            if op in (FACTOR, TERM):
                dots[number, first : first + n] = np.float32(0)
            if op == FACTOR:
                for b in range(n):
                    factors[b] *= number_at(line, _valid(found[b]))
            elif op == WEIGHTS:
                for b in range(n):
                    for k in range(line[COLUMNS]):
                        weights[b, k] = number_at(line, _valid(found[b]) * line[COLUMNS] + k)
            elif op == ROW and ties[number, SCALED] != 0:
                seed = np.uint32(seed_of(line, line[SIGN]) if line[SIGN] != NONE else 0)
                for b in range(n):
                    sign, weight = np.float32(1), np.float32(1)
                    if line[SIGN] != NONE:
                        sign = np.float32(1 - 2 * (murmur3(own[b], seed) & 1))
                    if line[WEIGHT] != NONE:
                        weight = weights[b, line[WEIGHT]]
                    scales[number, first + b], dots[number, first + b] = weight * sign, sign
                if ties[number, LAST] != 0:
                    _close_group(task, code, ties, arrays, number, first, n, room)
    return True


@njit
def _views(task: Any) -> Any:
    """The lines, their ties, and the arrays of a number per line and distinct id."""
    lines, found = task[LINES], task[FOUND]
    code, ties = int64_array(task[CODE], (lines, LINE)), int64_array(task[LINKS], (lines, TIES))
    rows = int64_array(task[ROWS], (lines, found))
    scales = float32_array(task[SCALES], (lines, found))
    return code, ties, (rows, scales, float32_array(task[DOTS], (lines, found)))


@compiled(cfunc, types.void(types.int64))
def prepare_task(address: int) -> None:
    """Prepare one thread's part of the distinct ids."""
    task = int64_array(address, (TASK,))
    code, ties, arrays = _views(task)
    head, found = code[0], task[FOUND]
    group = np.int64(1)
    for j in range(1, code.shape[0]):
        if ties[j, SCALED] != 0:
            group = max(group, j - ties[j, BEGIN] + 1)
    room = (
        np.empty(BLOCK, np.float32),
        np.empty((BLOCK, max(1, head[MOST_WEIGHTS])), np.float32),
        np.empty(group * BLOCK * head[WIDTH], np.float32),
        np.empty(head[WIDTH], np.float32),
    )
    keys = np.empty(BLOCK, np.int64)
    start, stop = part_by_length(int64s(task[STARTS], found + 1), found, task[THREADS])
    for first in range(start, stop, BLOCK):
        n = min(BLOCK, stop - first)
        _sum_equal(task, head[WIDTH], first, n, keys)
        if not _read_block(task, code, ties, arrays, first, n, keys[:n], room):
            task[BAD] = NOT_STORED
            break


# --- which rows were read -------------------------------------------------------------------------


@njit
def _extent(line: Any, rows: Any, ends: Any, b: int) -> Any:
    """First row that a line reads for an id, and the one after the last: it may be too far."""
    begin = rows[b]
    if begin < 0:
        return begin, begin
    if line[OP] == RAGGED:
        step = line[STEP]
        return begin, min(ends[b], begin + (line[COLUMNS] + step - 1) // step)
    return begin, begin + (line[COLUMNS] if line[STEP] == 1 else 1)


@njit(forceinline=True)
def _mark(marks: Any, pages: Any, begin: int, end: int, low: int, high: int) -> None:
    """Mark the rows from ``begin`` to ``end`` that are in ``[low, high)``."""
    row, stop = max(begin, low), min(end, high)
    while row < stop:
        word = row >> WORD
        until = min(stop, (word + 1) << WORD)
        ones = np.int64(-1) if until - row == 64 else (np.int64(1) << (until - row)) - 1
        marks[word, 0] |= ones << (row & 63)
        pages[row >> PAGE] = 1
        row = until


@njit
def _size(job: Any) -> Any:
    """Number of words and of pages of a table's marks, and one more."""
    return (job[SIZE] >> WORD) + 1, (job[SIZE] >> PAGE) + 2


@compiled(cfunc, types.void(types.int64))
def mark_task(address: int) -> None:
    """Mark the rows of one thread's part of each table with a sparse gradient."""
    task = int64_array(address, (TASK,))
    code, _ties, (rows, _scales, _dots) = _views(task)
    jobs = int64_array(task[JOBS], (task[NUM_JOBS], JOB))
    plan = int64_array(task[PLAN], (task[LINES], LINE))
    number, team = member(task[THREADS])
    for which in range(task[NUM_JOBS]):
        job = jobs[which]
        if job[NEEDED] != SPARSE:
            continue
        words, count = _size(job)
        marks, pages = int64_array(job[MARKS], (words, 2)), int64s(job[PAGES], count)
        low = (words * number // team) << WORD
        high = min(job[SIZE], (words * (number + 1) // team) << WORD)
        for j in range(1, code.shape[0]):
            if plan[j, TABLE] != which + 1:
                continue
            line, some, ends = code[j], rows[j], rows[j - 1]
            if line[OP] != RAGGED and (line[COLUMNS] == 1 or line[STEP] != 1):
                for b in range(task[FOUND]):
                    row = some[b]
                    if low <= row < high:
                        marks[row >> WORD, 0] |= np.int64(1) << (row & 63)
                        pages[row >> PAGE] = 1
                continue
            for b in range(task[FOUND]):
                begin, end = _extent(line, some, ends, b)
                _mark(marks, pages, begin, end, low, high)
                if end > job[SIZE]:
                    _mark(marks, pages, 0, end - job[SIZE], low, high)


@compiled(cfunc, types.void(types.int64))
def count_task(address: int) -> None:
    """Count the marks before each word and each page of 64 words; a table is one thread's."""
    task = int64_array(address, (TASK,))
    jobs = int64_array(task[JOBS], (task[NUM_JOBS], JOB))
    number, team = member(task[THREADS])
    for which in range(number, task[NUM_JOBS], team):
        job = jobs[which]
        if job[NEEDED] != SPARSE:
            continue
        words, count = _size(job)
        marks, pages = int64_array(job[MARKS], (words, 2)), int64s(job[PAGES], count)
        total: Any = np.int64(0)
        for page in range(count):
            is_marked = pages[page]
            pages[page] = total
            for word in range(page << WORD, min(words, (page + 1) << WORD) if is_marked else 0):
                marks[word, 1] = total
                total += _ones(marks[word, 0])
        job[MARKED] = total


@njit(forceinline=True)
def _place(marks: int, row: int) -> int:
    """Place of a row in the gradient: that of a sparse one holds the rows that are marked."""
    if marks == 0:
        return row
    pair = int64s(marks + (row >> WORD) * 16, 2)
    return pair[1] + _ones(pair[0] & ((np.int64(1) << (row & 63)) - 1))


@njit
def _reached(job: Any, wanted: int) -> int:
    """First row of a word with at least ``wanted`` marks before it; no word of unmarked pages."""
    words, count = _size(job)
    pages, low, high = int64s(job[PAGES], count), np.int64(0), np.int64(count - 1)
    while low < high:  # the last page with fewer marks before it
        middle = (low + high + 1) // 2
        if pages[middle] < wanted:
            low = middle
        else:
            high = middle - 1
    marks = int64_array(job[MARKS], (words, 2))
    for word in range(low << WORD, min(words, (low + 1) << WORD)):
        if marks[word, 0] != 0 and marks[word, 1] >= wanted:
            return word << WORD
    return min(job[SIZE], (low + 1) << PAGE)


@njit
def _part(job: Any, threads: int) -> Any:
    """First row of this thread's part of a table, and the one after the last."""
    number, team = member(threads)
    if job[NEEDED] == DENSE:
        return job[SIZE] * number // team, job[SIZE] * (number + 1) // team
    low: Any = np.int64(0)
    high = job[SIZE]
    if number > 0:
        low = _reached(job, job[MARKED] * number // team)
    if number + 1 < team:
        high = _reached(job, job[MARKED] * (number + 1) // team)
    return low, high


@njit
def _open(job: Any, low: int, high: int) -> None:
    """Write the numbers of the marked rows in ``[low, high)``, and zeros to their places."""
    words, count = _size(job)
    marks, pages = int64_array(job[MARKS], (words, 2)), int64s(job[PAGES], count)
    indices, size = int64s(job[INDICES], job[MARKED]), job[ACROSS] * 4
    for page in range(low >> PAGE, (high + (1 << PAGE) - 1) >> PAGE if low < high else 0):
        if pages[page] == pages[page + 1]:
            continue
        last = min(words, (page + 1) << WORD, (high + 63) >> WORD)
        for word in range(max(page << WORD, low >> WORD), last):
            ones, place = marks[word, 0], marks[word, 1]
            if ones != 0:
                _clear(job[TARGET] + place * size, _ones(ones) * job[ACROSS])
            while ones != 0:
                indices[place] = (word << WORD) + _zeros_below(ones)
                ones &= ones - 1
                place += 1


# --- sums by row ----------------------------------------------------------------------------------


@njit
def _add_run(job: Any, low: int, high: int, begin: int, end: int, source: int, scale: Any) -> None:
    """Add to the numbers from ``begin`` to ``end`` of an array what is in ``[low, high)`` of it."""
    first, last = max(begin, low), min(end, high)
    if first < last:
        across = job[ACROSS]
        row = first // across
        place = job[TARGET] + (_place(job[MARKS], row) * across + first - row * across) * 4
        _add(place, source + (first - begin) * 4, scale, last - first)


@njit
def _add_ragged(
    job: Any, line: Any, some: Any, ends: Any, own: Any, low: int, high: int, n: int
) -> bool:
    """Add the gradients of rows of different lengths; False if a place is outside the vector."""
    step, columns, unit = line[STEP], line[COLUMNS], np.float32(1)
    of_row = (columns + step - 1) // step
    for b in range(n):
        begin, end = _extent(line, some, ends, b)
        if line[PLACES] == 0:
            until = begin * step + min((end - begin) * step, columns)
            _add_run(job, low * step, high * step, begin * step, until, own[b], unit)
            continue
        for piece in range(max(begin, low), min(end, high)):
            place = code_at(line[PLACES], line[PLACES_SIZE], line[PLACE_BITS], piece)
            if place >= of_row:
                return False
            first = place * step
            until = piece * step + min(step, columns - first)
            source = own[b] + first * 4
            _add_run(job, low * step, high * step, piece * step, until, source, unit)
    return True


@njit
def _sources(task: Any, code: Any, ties: Any, number: int, first: int, n: int, into: Any) -> None:
    """Write where the gradients are that a row's line gets of a block's ids, before its scale."""
    own = int64s(task[OWN], task[FOUND])
    for b in range(n):
        if ties[number, VECTORS] != NONE:
            into[b] = _product(task, code, ties, number, first + b)
        else:
            into[b] = own[first + b] + code[number, OFFSET] * 4


@njit
def _add_rows(
    job: Any,
    line: Any,
    some: Any,
    scales: Any,
    sources: Any,
    places: Any,
    low: int,
    high: int,
    n: int,
) -> None:
    """Add the gradients of rows, or of runs of an array."""
    columns, step, size = line[COLUMNS], line[STEP], job[SIZE]
    # Fields are read once: numba cannot know that the gradients do not overlap them.
    width, target, marks = line[PROJECTED], job[TARGET], job[MARKS]
    if columns == 1 and width == 0:
        if low >= high:
            return
        for b in range(n):  # many at once: the sums below wait for each other
            places[b] = target + _place(marks, min(max(some[b], low), high - 1)) * 4
        for b in range(n):
            if low <= some[b] < high:
                place = float32s(places[b], 1)
                place[0] += float32s(sources[b], 1)[0] * scales[b]
        return
    for b in range(n):
        row = some[b]
        if row >= 0 and step == 1 and width == 0:
            end = min(row + columns, size)
            _add_run(job, low, high, row, end, sources[b], scales[b])
            if row + columns > size:
                rest = sources[b] + (end - row) * 4
                _add_run(job, low, high, 0, row + columns - size, rest, scales[b])
        elif low <= row < high and width == 0:
            place = target + _place(marks, row) * columns * 4
            _add(place, sources[b], scales[b], columns)
        elif low <= row < high:
            total = float32s(target + _place(marks, row) * columns * 4, columns)
            for j in range(columns):
                matrix = line[PROJECTION] + j * width * 4
                total[j] += dot(matrix, sources[b], width) * scales[b]


@njit
def _add_outer(
    job: Any, line: Any, some: Any, scales: Any, sources: Any, low: int, high: int, n: int
) -> None:
    """Add what the rows' matrix gets: the outer products of the rows and the gradients."""
    columns, width = line[COLUMNS], line[PROJECTED]
    values = np.empty((n, columns), np.float32)
    _values(line, some, address_of(values), columns, n, False)
    for b in range(n):
        if some[b] >= 0:
            for j in range(low, high):
                place = job[TARGET] + j * width * 4
                _add(place, sources[b], values[b, j] * scales[b], width)


@compiled(cfunc, types.void(types.int64))
def accumulate_task(address: int) -> None:
    """Sum the gradients of one thread's part of the rows of each table."""
    task = int64_array(address, (TASK,))
    code, ties, (rows, scales, dots) = _views(task)
    jobs = int64_array(task[JOBS], (task[NUM_JOBS], JOB))
    plan, found = int64_array(task[PLAN], (task[LINES], LINE)), task[FOUND]
    sources, places = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    ones = np.ones(BLOCK, np.float32)
    for which in range(task[NUM_JOBS]):
        job = jobs[which]
        if job[NEEDED] == 0:
            continue
        low, high = _part(job, task[THREADS])
        if job[NEEDED] == SPARSE:
            _open(job, low, high)
        for first in range(0, found, BLOCK):
            n = min(BLOCK, found - first)
            for j in range(1, code.shape[0]):
                reads, multiplies = plan[j, TABLE] == which + 1, plan[j, PROJECTION] == which + 1
                if not (reads or multiplies):
                    continue
                line, op = code[j], code[j, OP]
                some, scale = rows[j, first : first + n], ones
                if op == RAGGED:
                    own = int64_array(task[OWN] + first * 8, (n,))
                    ends = rows[j - 1, first : first + n]
                    if not _add_ragged(job, line, some, ends, own, low, high, n):
                        task[BAD] = NOT_STORED
                elif op == WEIGHTS:
                    for b in range(n):
                        if low <= some[b] < high:
                            place = job[TARGET] + _place(job[MARKS], some[b]) * line[COLUMNS] * 4
                            for k in range(line[COLUMNS]):
                                float32s(place, line[COLUMNS])[k] += dots[j + 1 + k, first + b]
                elif op != ROW:
                    for b in range(n):
                        if low <= some[b] < high:
                            place = float32s(job[TARGET] + _place(job[MARKS], some[b]) * 4, 1)
                            place[0] += dots[j, first + b]
                else:
                    if ties[j, SCALED] != 0 and ties[j, VECTORS] == NONE:
                        scale = scales[j, first : first + n]
                    _sources(task, code, ties, j, first, n, sources)
                    if reads:
                        _add_rows(job, line, some, scale, sources, places, low, high, n)
                    if multiplies:
                        _add_outer(job, line, some, scale, sources, low, high, n)
