"""A tensor train's vectors, multiplied from the right without a gathered copy of any slice.

The last two slices of an id make its *tail*, R x n2 x n3, which depends on ``id // m1`` alone.
Tails are computed once for each such pair, several pairs of one middle slice in the lanes of two
vectors; then each id multiplies its first slice, n1 x R, into its tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.arithmetic import copy_rows, multiply_rows, multiply_wide_rows
from memcom.kernels.cpu.native import (
    BYTES,
    LANES,
    address_of,
    compiled,
    float32_array,
    int64_array,
    njit,
)
from memcom.kernels.cpu.threads import num_threads, part_of, run_task
from memcom.kernels.gate import CPU, address, allocate

THREADS, COUNT, PLACES, SLICES, LAST, CORE, OTHER, TAILS, OUT = range(9)
DEPTH, HEIGHT, BREADTH, WIDTH, PADDED = range(9, 14)
SERIAL = 64  # ids or tails from which a second thread pays
WIDE = 2 * LANES  # numbers of tails that are computed together
SCRATCH = 1 << 21  # numbers of tails that are kept at once: 8 MiB


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _tails_task(task_address: int) -> None:
    """Compute one thread's part of the tails; pairs of one middle slice follow each other."""
    task = int64_array(task_address, (PADDED + 1,))
    count, depth, height, breadth = task[COUNT], task[DEPTH], task[HEIGHT], task[BREADTH]
    places, slices = int64_array(task[PLACES], (count,)), int64_array(task[SLICES], (count,))
    last, padded = int64_array(task[LAST], (count,)), task[PADDED]
    rows, each, pitch = depth * height, max(1, WIDE // breadth), WIDE * 4
    packed, tile = np.zeros(depth * WIDE, np.float32), np.empty(rows * WIDE, np.float32)
    source, block = address_of(packed), address_of(tile)
    pair, stop = part_of(count, task[THREADS])
    while pair < stop:
        n = 1
        while n < each and pair + n < stop and slices[pair + n] == slices[pair]:
            n += 1
        for column in range(0, breadth, WIDE):
            width = min(WIDE, breadth - column)
            for v in range(n):
                core = float32_array(
                    task[OTHER] + last[pair + v] * depth * breadth * 4, (depth, breadth)
                )
                for k in range(depth):
                    for c in range(width):
                        packed[k * WIDE + v * width + c] = core[k, column + c]
            slice_ = task[CORE] + slices[pair] * rows * depth * 4
            if n * width > LANES:
                multiply_wide_rows(slice_, depth * 4, rows, depth, source, pitch, block, pitch)
            else:
                multiply_rows(slice_, depth * 4, rows, depth, source, pitch, block, pitch)
            for v in range(n):
                tail = task[TAILS] + (places[pair + v] * depth * padded + column) * 4
                for r in range(depth):
                    start, target = (
                        block + r * height * pitch + v * width * 4,
                        tail + r * padded * 4,
                    )
                    copy_rows(start, pitch, target, breadth * 4, height, width)
        pair += n


@compiled(cfunc, types.void(types.int64), error_model="numpy")
def _vectors_task(task_address: int) -> None:
    """Multiply the first slices of one thread's part of the ids into their tails."""
    task = int64_array(task_address, (PADDED + 1,))
    count, depth, height, width = task[COUNT], task[DEPTH], task[HEIGHT], task[WIDTH]
    places, slices = int64_array(task[PLACES], (count,)), int64_array(task[SLICES], (count,))
    padded = task[PADDED]
    whole = width // LANES * LANES
    tile = np.empty(height * LANES, np.float32)
    block = address_of(tile)
    start, stop = part_of(count, task[THREADS])
    for i in range(start, stop):
        first = task[CORE] + slices[i] * height * depth * 4
        tail = task[TAILS] + places[i] * depth * padded * 4
        out = task[OUT] + i * height * width * 4
        size, stride = depth * 4, padded * 4
        for column in range(0, whole, LANES):
            here, there = tail + column * 4, out + column * 4
            multiply_rows(first, size, height, depth, here, stride, there, width * 4)
        if whole < width:
            multiply_rows(first, size, height, depth, tail + whole * 4, stride, block, BYTES)
            copy_rows(block, BYTES, out + whole * 4, width * 4, height, width - whole)


def vectors(ids: Tensor, cores: Sequence[Tensor], dims: Sequence[int], rank: int) -> Tensor:
    """Return the vectors of ``(n,)`` checked ids; see `memcom.kernels.tensor_train`."""
    first, middle, last = cores
    n1, n2, n3 = dims
    padded = -(-n2 * n3 // LANES) * LANES
    most = max(1, SCRATCH // (rank * padded))
    plan = _plan(ids, len(first), len(middle), len(last))
    out, target = allocate(len(ids), n1 * n2 * n3)
    if len(plan.middles) > most:
        part = plan.places // most
        for k in range(int(part.max()) + 1):
            own = (part == k).nonzero().squeeze(1)
            out.index_copy_(0, own, vectors(ids[own], cores, dims, rank))
        return out
    tails, scratch = allocate(len(plan.middles), rank * padded)
    if padded > n2 * n3:
        tails.zero_()
    each = torch.arange(len(plan.middles), dtype=torch.int64, device=CPU)
    sizes = rank, n2, n3, n2 * n3, padded
    _run(_tails_task, (each, plan.middles, plan.lasts), (middle, last), (scratch, 0), sizes)
    sizes = rank, n1, n3, n2 * n3, padded
    indices = plan.places, plan.firsts, plan.firsts
    _run(_vectors_task, indices, (first, last), (scratch, target), sizes)
    return out


class _Plan(NamedTuple):
    """Slices of the ids' first core, each id's tail, and the slices of each tail.

    Tails are sorted by their slice of the middle core.
    """

    firsts: Tensor
    places: Tensor
    middles: Tensor
    lasts: Tensor


def _plan(ids: Tensor, first: int, middle: int, last: int) -> _Plan:
    """Find the distinct tails of ids: in a table of all tails, or by sorting if that is large."""
    count, grid = len(ids), middle * last
    if grid > 8 * count:
        pairs, places = torch.unique(ids // first, return_inverse=True)
        middles = torch.remainder(pairs, middle)
        order = middles.argsort()
        rank = torch.empty_like(order).index_copy_(
            0, order, torch.arange(len(order), dtype=torch.int64, device=CPU)
        )
        lasts = pairs // middle
        return _Plan(torch.remainder(ids, first), rank[places], middles[order], lasts[order])
    firsts, places, middles, lasts = ids.new_empty(2 * count + 2 * grid).split(
        [count, count, grid, grid]
    )
    marks = ids.new_zeros(grid)
    numbers = [address(t, torch.int64) for t in (ids, firsts, places, middles, lasts, marks)]
    tails = _find_tails(*numbers, count, first, middle, last)
    return _Plan(firsts, places, middles[:tails], lasts[:tails])


_word = types.int64


@compiled(njit, _word(*[_word] * 10), nogil=True)
def _find_tails(
    ids: int,
    firsts: int,
    places: int,
    middles: int,
    lasts: int,
    marks: int,
    count: int,
    first: int,
    middle: int,
    last: int,
) -> int:
    """Fill the tensors of a plan at these addresses; return the number of distinct tails."""
    keys, rests, tails = (
        int64_array(ids, (count,)),
        int64_array(firsts, (count,)),
        int64_array(places, (count,)),
    )
    own_middle, own_last = (
        int64_array(middles, (middle * last,)),
        int64_array(lasts, (middle * last,)),
    )
    mark = int64_array(marks, (middle * last,))
    for i in range(count):
        tail = keys[i] // first
        rests[i], tails[i], mark[tail] = keys[i] - tail * first, tail, 1
    found = 0
    for m in range(middle):
        for k in range(last):
            if mark[k * middle + m]:
                mark[k * middle + m], own_middle[found], own_last[found] = found, m, k
                found += 1
    for i in range(count):
        tails[i] = mark[tails[i]]
    return found


def _run(
    function: Any,
    indices: Sequence[Tensor],
    cores: Sequence[Tensor],
    places: tuple[int, int],
    sizes: Sequence[int],
) -> None:
    count = len(indices[0])
    threads = num_threads() if count >= SERIAL else 1
    given = [address(index, torch.int64) for index in indices]
    given += [address(core, torch.float32) for core in cores]
    run_task(function, np.array([threads, count, *given, *places, *sizes], np.int64))
