"""Compiled choice of codewords, and the gradient of the softmax that stands behind it.

Sixteen ids are scored at once, group by group: an id in each lane of a vector, and a vector for
each codeword. Such a panel of scores never leaves the cache. Largest scores, softmax and gradients
of queries need no sum over the lanes; gradients of targets do, so panels are summed first. The
backward pass computes the scores again: that is quicker than reading them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import (
    add_row,
    copy_rows,
    exp_of_lanes,
    larger,
    multiply_add,
    multiply_rows,
    multiply_short_rows,
    totals_of,
    transpose,
    where_larger,
    where_unordered,
)
from memcom.kernels.cpu.native import (
    BYTES,
    LANES,
    address_of,
    compiled,
    float32_array,
    float32s,
    four_zeros,
    int64_array,
    njit,
    read,
    row_address,
    spread,
    write,
    zeros,
)
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import CPU, address, allocate

THREADS, COUNT, GROUPS, BOOK, WIDTH, QUERIES, LIMITS, TARGETS, VALUES, CODES = range(10)
BIASES, OUT = 10, 11
GRAD, TURNED, QUERY_GRAD, TARGET_GRAD = range(10, 14)
VALUE_GRAD, USED = 11, 12  # of a task with a gradient for the codewords
PANELS = 8  # whose gradients of targets are summed together
SCORES = 1 << 15  # in that many panels at most, if there are several
SERIAL = 512  # codes from which a second thread pays
_NONE = np.float32(-np.inf)


@njit
def _to_lanes(rows: int, stride: int, count: int, columns: int, panel: int) -> None:
    """Write up to `LANES` rows to the lanes of a vector for each column; 0 to all other lanes."""
    if count < LANES:
        numbers = float32s(panel, columns * LANES)
        for k in range(columns * LANES):
            numbers[k] = np.float32(0)
    transpose(rows, stride, count, columns, panel, BYTES)


@njit
def _limits_of_lanes(limits: Any, first: int, count: int, book: int, lanes: Any) -> Any:
    """Write the limits of ids; return the least and the most. Lanes without an id have the most."""
    least, most = np.int64(book), np.int64(0)
    for r in range(count):
        limit = max(np.int64(0), min(limits[first + r], book))
        least, most = min(least, limit), max(most, limit)
        lanes[r] = np.float32(limit)
    lanes[count:] = np.float32(most)
    return least, most


@njit(forceinline=True)
def _score(
    queries: int, targets: int, width: int, lanes: int, least: int, most: int, scores: int
) -> None:
    """Write a panel's products with the first ``most`` targets; -inf from each lane's limit on."""
    multiply_short_rows(targets, width * 4, most, width, queries, scores)
    limit = read(lanes, zeros())
    for k in range(least, most):
        place, number = scores + k * BYTES, spread(np.float32(k), limit)
        write(place, where_larger(limit, number, read(place, limit), spread(_NONE, limit)))


@njit(forceinline=True)
def _best(scores: int, count: int, codes: Any) -> None:
    """Write the first place of each lane's largest score, as a number.

    It is -1 if their softmax is not a number.
    """
    best, place, bad = spread(_NONE, zeros()), zeros(), zeros()
    for k in range(count):
        score = read(scores + k * BYTES, best)
        bad = where_unordered(score, score, score, bad)
        place = where_larger(score, best, spread(np.float32(k), best), place)
        best = larger(score, best)
    minus = spread(np.float32(-1), best)
    infinite = multiply_add(best, minus, best)  # inf - inf is no number
    write(codes, where_unordered(bad, infinite, minus, place))


@njit(forceinline=True, error_model="numpy")
def _slope_of_softmax(scores: int, slopes: int, count: int) -> None:
    """Turn a panel's scores into their gradients; ``slopes`` are those of the softmax."""
    most = read(scores, zeros())
    for byte in range(BYTES, count * BYTES, BYTES):
        most = larger(read(scores + byte, most), most)
    total = mean = zeros()
    minus = spread(np.float32(-1), total)
    less = most * minus
    for byte in range(0, count * BYTES, BYTES):
        weight = exp_of_lanes(read(scores + byte, total) + less)
        write(scores + byte, weight)
        total = total + weight
        mean = multiply_add(weight, read(slopes + byte, total), mean)
    share = spread(np.float32(1), total) / total
    less = mean * share * minus
    for byte in range(0, count * BYTES, BYTES):
        weight = read(scores + byte, total) * share
        write(scores + byte, weight * (read(slopes + byte, total) + less))


@njit(forceinline=True)
def _add_products(
    slopes: int,
    slope_size: int,
    queries: int,
    query_size: int,
    panels: int,
    count: int,
    width: int,
    totals: int,
    row: int,
) -> None:
    """Add the products of the slopes of ``count`` codewords with all ids' queries.

    Sizes are the bytes from one panel to the next; the totals are a row for each number of a query.
    """
    for k in range(0, count, 4):
        for w in range(width):
            a = b = c = d = zeros()
            for p in range(panels):
                query = read(queries + p * query_size + w * BYTES, a)
                place = slopes + p * slope_size + k * BYTES
                a = multiply_add(read(place, a), query, a)
                b = multiply_add(read(place + BYTES, a), query, b)
                c = multiply_add(read(place + 2 * BYTES, a), query, c)
                d = multiply_add(read(place + 3 * BYTES, a), query, d)
            place = totals + w * row + k * 4
            write(place, read(place, four_zeros()) + totals_of(a, b, c, d))


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _choose_task(task_address: int) -> None:
    """Choose the codewords of one thread's groups, and write them side by side."""
    task = int64_array(task_address, (OUT + 1,))
    count, groups, book, width = task[COUNT], task[GROUPS], task[BOOK], task[WIDTH]
    size, row = groups * width * 4, width * 4
    limits = int64_array(task[LIMITS], (count,))
    biases = float32_array(task[BIASES], (groups, book))
    codes = int64_array(task[CODES], (count, groups))
    start, stop = part_of(groups, task[THREADS])
    columns = (stop - start) * width
    queries = np.empty((columns, LANES), np.float32)
    scores, chosen = np.empty((book, LANES), np.float32), np.empty(LANES, np.float32)
    lanes, none = np.empty(LANES, np.float32), np.full(width, np.nan, np.float32)
    for first in range(0, count, LANES):
        n, place = min(LANES, count - first), first * size + start * row
        _to_lanes(task[QUERIES] + place, size, n, columns, address_of(queries))
        least, most = _limits_of_lanes(limits, first, n, book, lanes)
        limit, score = address_of(lanes), address_of(scores)
        for g in range(start, stop):
            query = address_of(queries[(g - start) * width :])
            targets = task[TARGETS] + g * book * row
            _score(query, targets, width, limit, least, most, score)
            for k in range(most if task[BIASES] else 0):
                bias, target = spread(biases[g, k], zeros()), score + k * BYTES
                write(target, read(target, bias) + bias)
            _best(score, most, address_of(chosen))
            for r in range(n):
                i, code = first + r, np.int64(max(chosen[r], np.float32(0)))
                codes[i, g] = code
                source = task[VALUES] + (g * book + code) * row
                if chosen[r] < 0:
                    source = address_of(none)
                copy_rows(source, row, task[OUT] + i * size + g * row, row, 1, width)


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _gradient_task(task_address: int) -> None:
    """Add up the gradients of one thread's groups."""
    task = int64_array(task_address, (TARGET_GRAD + 1,))
    count, groups, book, width = task[COUNT], task[GROUPS], task[BOOK], task[WIDTH]
    size, row, padded = groups * width * 4, width * 4, -(-book // 4) * 4
    limits = int64_array(task[LIMITS], (count,))
    start, stop = part_of(groups, task[THREADS])
    columns = (stop - start) * width
    panels = max(1, min(PANELS, SCORES // (padded * LANES)))
    queries = np.empty((panels, columns, LANES), np.float32)
    grads, turned = np.empty_like(queries), np.empty_like(queries)
    weights = np.empty((panels, padded, LANES), np.float32)
    slopes, lanes = np.empty((book, LANES), np.float32), np.empty(panels * LANES, np.float32)
    for block in range(0, count, panels * LANES):
        together = min(panels * LANES, count - block)
        used = -(-together // LANES)
        least, most = _limits_of_lanes(limits, block, together, book, lanes)
        for p in range(used):
            first = block + p * LANES
            n, place = min(LANES, count - first), first * size + start * row
            _to_lanes(task[QUERIES] + place, size, n, columns, address_of(queries[p]))
            _to_lanes(task[GRAD] + place, size, n, columns, address_of(grads[p]))
        for g in range(start, stop):
            targets, values = task[TARGETS] + g * book * row, task[VALUES] + g * book * row
            turned_targets = task[TURNED] + g * width * padded * 4
            at = (g - start) * width
            for p in range(used):
                query, grad = address_of(queries[p, at:]), address_of(grads[p, at:])
                weight, slope = address_of(weights[p]), address_of(slopes)
                limit, own = address_of(lanes) + p * BYTES, address_of(turned[p, at:])
                _score(query, targets, width, limit, least, most, weight)
                multiply_short_rows(values, row, most, width, grad, slope)
                _slope_of_softmax(weight, slope, most)
                multiply_rows(turned_targets, padded * 4, width, most, weight, BYTES, own, BYTES)
                for k in range(most, -(-most // 4) * 4):
                    write(weight + k * BYTES, zeros())
            _add_products(
                address_of(weights),
                padded * BYTES,
                address_of(queries[0, at:]),
                columns * BYTES,
                used,
                most,
                width,
                task[TARGET_GRAD] + g * width * padded * 4,
                padded * 4,
            )
        for p in range(used):
            first = block + p * LANES
            n, place = min(LANES, count - first), first * size + start * row
            transpose(address_of(turned[p]), BYTES, columns, n, task[QUERY_GRAD] + place, size)


@compiled(cfunc, types.void(types.int64))
def _value_task(task_address: int) -> None:
    """Add the gradients of one thread's groups to the codewords taken, and mark those."""
    task = int64_array(task_address, (USED + 1,))
    count, groups, book, row = task[COUNT], task[GROUPS], task[BOOK], task[WIDTH] * 4
    codes = int64_array(task[CODES], (count, groups))
    used = int64_array(task[USED], (groups, book))
    start, stop = part_of(groups, task[THREADS])
    for i in range(count):
        for g in range(start, stop):
            code = codes[i, g]
            used[g, code] = 1
            total = row_address(
                task[VALUE_GRAD], g * book + code, row, task[VALUE_GRAD] + groups * book * row
            )
            add_row(task[GRAD] + (i * groups + g) * row, total, task[WIDTH])


def _turned(books: Tensor, groups: int) -> Tensor:
    """Codebooks with the codewords in columns: ``(groups, width, K)``, K padded by zeros."""
    turned = books.detach().view(groups, -1, books.shape[1]).transpose(1, 2)
    padding = -turned.shape[2] % 4
    return torch.nn.functional.pad(turned, (0, padding)).contiguous()


def choose(
    queries: Tensor, targets: Tensor, values: Tensor, limits: Tensor, groups: int, nearest: bool
) -> tuple[Tensor, Tensor]:
    """Return int64 codes ``(n, D)`` and vectors ``(n, e)``; see `memcom.kernels.codebooks`."""
    biases = targets.detach().square().sum(1).div_(-2) if nearest else None
    codes = torch.empty(len(queries), groups, dtype=torch.int64, device=CPU)
    out, place = allocate(*queries.shape)
    bias = 0 if biases is None else address(biases, torch.float32)
    task = *_head(queries, targets, values, limits, codes), bias, place
    run_task(_choose_task, np.array(task, np.int64))
    return codes, out


def gradients(
    grad: Tensor,
    queries: Tensor,
    targets: Tensor,
    values: Tensor,
    limits: Tensor,
    codes: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of queries and targets, of the softmax in `choose`."""
    turned = _turned(targets, codes.shape[1])
    query_grad, place = allocate(*queries.shape)
    target_grad = torch.zeros_like(turned)
    given = address(grad, torch.float32), address(turned, torch.float32)
    task = *_head(queries, targets, values, limits, codes), *given, place
    run_task(_gradient_task, np.array([*task, address(target_grad, torch.float32)], np.int64))
    book = len(values) // codes.shape[1]
    return query_grad, target_grad[:, :, :book].transpose(1, 2).reshape(values.shape)


def value_gradient(grad: Tensor, values: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of the codewords, and a 1 for each that was taken, int64 ``(D K,)``."""
    total, used = torch.zeros_like(values), torch.zeros(len(values), dtype=torch.int64, device=CPU)
    sums = address(total, torch.float32), address(used, torch.int64)
    task = *_sizes(values, codes), 0, 0, 0, 0, address(codes, torch.int64)
    run_task(_value_task, np.array([*task, address(grad, torch.float32), *sums], np.int64))
    return total, used


def _head(
    queries: Tensor, targets: Tensor, values: Tensor, limits: Tensor, codes: Tensor
) -> tuple[int, ...]:
    query, target, value = (address(t, torch.float32) for t in (queries, targets, values))
    limit, code = (address(t, torch.int64) for t in (limits, codes))
    return *_sizes(values, codes), query, limit, target, value, code


def _sizes(values: Tensor, codes: Tensor) -> tuple[int, int, int, int, int]:
    count, groups = codes.shape
    threads = min(groups, num_threads()) if count * groups >= SERIAL else 1
    return threads, count, groups, len(values) // groups, values.shape[1]
