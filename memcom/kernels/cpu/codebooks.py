"""Compiled choice of codewords, and the gradient of the softmax that stands behind it.

Ids are taken four at a time, group by group, so that a group's codebooks stay in the cache and the
scores of an id never leave it. The backward pass computes the scores again: that is quicker than
reading them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, njit, types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import (
    equal_lanes,
    exp_of_lanes,
    larger,
    largest,
    lowest_bit,
    multiply_add,
    multiply_rows,
    total_of,
    unordered_lanes,
)
from memcom.kernels.cpu.native import (
    BYTES,
    LANES,
    address_of,
    compiled,
    float32_array,
    float32s,
    int64_array,
    read,
    spread,
    write,
    zeros,
)
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import CPU, address, allocate

THREADS, COUNT, GROUPS, BOOK, WIDTH, QUERIES, LIMITS, TARGETS, BIASES, VALUES, CODES, OUT = range(
    12
)
GRAD, TURNED, QUERY_GRAD, TARGET_GRAD, VALUE_GRAD = range(12, 17)
ROWS = 4  # ids that are scored together
SERIAL = 512  # codes from which a second thread pays


@njit(forceinline=True)
def _best(numbers: int, count: int) -> Any:
    """Return the first place of the largest of ``count`` numbers.

    It is -1 if their softmax is not a number. Numbers beyond them, to a whole vector, become -inf.
    """
    whole = -(-count // LANES) * LANES
    for k in range(count, whole):
        float32s(numbers, whole)[k] = np.float32(-np.inf)
    most = read(numbers, zeros())
    bad = unordered_lanes(most, most)
    for k in range(LANES, whole, LANES):
        more = read(numbers + k * 4, most)
        bad |= unordered_lanes(more, more)
        most = larger(more, most)
    if bad:
        return -1
    number, place = largest(most), np.int64(0)
    like = spread(number, most)
    for k in range(whole - LANES, -1, -LANES):  # no branch depends on the place: it is at random
        lanes = equal_lanes(read(numbers + k * 4, most), like)
        place = k + lowest_bit(lanes) if lanes else place
    return -1 if np.isinf(number) else place


@njit
def _add(numbers: int, others: int, count: int) -> None:
    total, given = float32s(numbers, count), float32s(others, count)
    for k in range(count):
        total[k] += given[k]


@njit(forceinline=True, error_model="numpy")
def _slope_of_softmax(scores: int, slopes: int, count: int, padded: int, most: Any) -> None:
    """Turn ``count`` scores, the largest is ``most``, into their gradients; the rest into 0.

    ``slopes`` are the gradients of the softmax.
    """
    score = float32s(scores, padded)
    for k in range(count, -(-count // LANES) * LANES):
        score[k] = np.float32(-np.inf)
    total = mean = zeros()
    less = spread(-most, total)
    for byte in range(0, count * 4, BYTES):
        weight = exp_of_lanes(read(scores + byte, total) + less)
        write(scores + byte, weight)
        total = total + weight
        mean = multiply_add(weight, read(slopes + byte, total), mean)
    share = np.float32(1) / total_of(total)
    factor, less = spread(share, total), spread(-total_of(mean) * share, total)
    for byte in range(0, count * 4, BYTES):
        weight = read(scores + byte, total) * factor
        write(scores + byte, weight * (read(slopes + byte, total) + less))
    for k in range(count, padded):
        score[k] = np.float32(0)


@njit(forceinline=True)
def _dot(one: int, other: int, count: int) -> Any:
    """Return the product of two rows, which are 0 from ``count`` on to a whole vector."""
    total = zeros()
    for byte in range(0, count * 4, BYTES):
        total = multiply_add(read(one + byte, total), read(other + byte, total), total)
    return total_of(total)


@njit(forceinline=True)
def _add_products(total: int, weights: Any, rows: int, padded: int) -> None:
    """Add four rows, each times its weight."""
    size, like = padded * 4, zeros()
    a, b = spread(weights[0], like), spread(weights[1], like)
    c, d = spread(weights[2], like), spread(weights[3], like)
    for byte in range(0, size, BYTES):
        row, place = rows + byte, total + byte
        more = multiply_add(a, read(row, like), read(place, like))
        more = multiply_add(b, read(row + size, like), more)
        more = multiply_add(c, read(row + 2 * size, like), more)
        write(place, multiply_add(d, read(row + 3 * size, like), more))


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _choose_task(task_address: int) -> None:
    """Choose the codewords of one thread's groups, and write them side by side."""
    task = int64_array(task_address, (OUT + 1,))
    count, groups, book, width = task[COUNT], task[GROUPS], task[BOOK], task[WIDTH]
    padded, size = -(-book // LANES) * LANES, groups * width * 4
    limits = int64_array(task[LIMITS], (count,))
    nearest = task[BIASES] != 0
    values = float32_array(task[VALUES], (groups, book, width))
    codes, out = (
        int64_array(task[CODES], (count, groups)),
        float32_array(task[OUT], (count, groups, width)),
    )
    scores = np.zeros((ROWS, padded), np.float32)
    block = address_of(scores)
    start, stop = part_of(groups, task[THREADS])
    for g in range(start, stop):
        targets = task[TARGETS] + g * width * padded * 4
        for first in range(0, count, ROWS):
            n = min(ROWS, count - first)
            place = task[QUERIES] + first * size + g * width * 4
            for k in range(0, padded, LANES):
                multiply_rows(
                    place, size, n, width, targets + k * 4, padded * 4, block + k * 4, padded * 4
                )
            for r in range(n):
                i, score = first + r, block + r * padded * 4
                if nearest:
                    _add(score, task[BIASES] + g * padded * 4, padded)
                code = _best(score, limits[i])
                codes[i, g] = max(code, 0)
                for w in range(width):
                    chosen = values[g, codes[i, g], w]
                    out[i, g, w] = np.float32(np.nan) if code < 0 else chosen


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _gradient_task(task_address: int) -> None:
    """Add up the gradients of one thread's groups."""
    task = int64_array(task_address, (VALUE_GRAD + 1,))
    count, groups, book, width = task[COUNT], task[GROUPS], task[BOOK], task[WIDTH]
    padded, size = -(-book // LANES) * LANES, groups * width * 4
    limits, codes = int64_array(task[LIMITS], (count,)), int64_array(task[CODES], (count, groups))
    queries = float32_array(task[QUERIES], (count, groups, width))
    grads = float32_array(task[GRAD], (count, groups, width))
    query_grad = float32_array(task[QUERY_GRAD], (count, groups, width))
    value_grad = float32_array(task[VALUE_GRAD], (groups, book, width))
    weights = np.zeros((ROWS, padded), np.float32)
    slopes = np.empty((ROWS, padded), np.float32)
    factors = np.zeros(ROWS, np.float32)
    block, other = address_of(weights), address_of(slopes)
    start, stop = part_of(groups, task[THREADS])
    for g in range(start, stop):
        targets = task[TARGETS] + g * width * padded * 4
        values = task[TURNED] + g * width * padded * 4
        for first in range(0, count, ROWS):
            n, place = min(ROWS, count - first), first * size + g * width * 4
            for k in range(0, padded, LANES):
                byte, stride = k * 4, padded * 4
                multiply_rows(
                    task[QUERIES] + place,
                    size,
                    n,
                    width,
                    targets + byte,
                    stride,
                    block + byte,
                    stride,
                )
                multiply_rows(
                    task[GRAD] + place, size, n, width, values + byte, stride, other + byte, stride
                )
            for r in range(n):
                i, weight = first + r, block + r * padded * 4
                limit, code = limits[i], codes[i, g]
                _slope_of_softmax(weight, other + r * padded * 4, limit, padded, weights[r, code])
                for w in range(width):
                    query_grad[i, g, w] = _dot(weight, targets + w * padded * 4, limit)
                    value_grad[g, code, w] += grads[i, g, w]
            for r in range(n, ROWS):
                for k in range(padded):
                    weights[r, k] = np.float32(0)
            total = task[TARGET_GRAD] + g * width * padded * 4
            for w in range(width):
                for r in range(n):
                    factors[r] = queries[first + r, g, w]
                _add_products(total + w * padded * 4, factors, block, padded)


def _turned(books: Tensor, groups: int) -> Tensor:
    """Codebooks with the codewords in columns: ``(groups, width, K)``, K padded by zeros."""
    turned = books.detach().view(groups, -1, books.shape[1]).transpose(1, 2)
    padding = -turned.shape[2] % LANES
    return torch.nn.functional.pad(turned, (0, padding)).contiguous()


def choose(
    queries: Tensor, targets: Tensor, values: Tensor, limits: Tensor, groups: int, nearest: bool
) -> tuple[Tensor, Tensor]:
    """Return int64 codes ``(n, D)`` and vectors ``(n, e)``; see `memcom.kernels.codebooks`."""
    turned = _turned(targets, groups)
    biases = turned.square().sum(1).div_(-2) if nearest else None
    codes = torch.empty(len(queries), groups, dtype=torch.int64, device=CPU)
    out, target = allocate(*queries.shape)
    given = [0 if t is None else address(t, torch.float32) for t in (turned, biases, values)]
    task = *_head(queries, values, limits, groups), *given, address(codes, torch.int64), target
    run_task(_choose_task, np.array(task, np.int64))
    return codes, out


def gradients(
    grad: Tensor,
    queries: Tensor,
    targets: Tensor,
    values: Tensor,
    limits: Tensor,
    codes: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, targets and values, of the softmax in `choose`."""
    groups = codes.shape[1]
    turned, turned_values = _turned(targets, groups), _turned(values, groups)
    query_grad, place = allocate(*queries.shape)
    target_grad, value_grad = torch.zeros_like(turned), torch.zeros_like(values)
    task = np.zeros(VALUE_GRAD + 1, np.int64)
    task[: LIMITS + 1] = _head(queries, values, limits, groups)
    task[TARGETS], task[CODES] = address(turned, torch.float32), address(codes, torch.int64)
    task[GRAD], task[TURNED] = (address(t, torch.float32) for t in (grad, turned_values))
    task[QUERY_GRAD] = place
    task[TARGET_GRAD:] = [address(t, torch.float32) for t in (target_grad, value_grad)]
    run_task(_gradient_task, task)
    book = len(values) // groups
    return query_grad, target_grad[:, :, :book].transpose(1, 2).reshape(values.shape), value_grad


def _head(queries: Tensor, values: Tensor, limits: Tensor, groups: int) -> tuple[int, ...]:
    count = len(queries)
    threads = min(groups, num_threads()) if count * groups >= SERIAL else 1
    sizes = threads, count, groups, len(values) // groups, values.shape[1]
    return *sizes, address(queries, torch.float32), address(limits, torch.int64)
