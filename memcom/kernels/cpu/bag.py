"""Bags, composed and pooled in one compiled sweep: the composed rows never leave the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.autograd import table_gradients
from memcom.kernels.cpu.forward import BLOCK, compose_block, scratch
from memcom.kernels.cpu.native import (
    address_of,
    compiled,
    float32s,
    int64_array,
    int64s,
    row_address,
)
from memcom.kernels.cpu.sweeps import SERIAL, refuse
from memcom.kernels.cpu.threads import num_threads, part_by_length, run_task
from memcom.kernels.gate import CPU, address, pass_ids, readable
from memcom.kernels.program import FIELDS, LIMIT, PADDING, WIDTH, Program
from memcom.kernels.recipe import Recipe

THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OFFSETS, WEIGHTS, OUT = range(10)


def pooled(
    program: Program,
    recipe: Recipe,
    sparse: bool,
    ids: Tensor,
    offsets: Tensor,
    mode: str,
    per_sample_weights: Tensor | None,
) -> Tensor:
    """Pool the composed rows of bags; see `memcom.kernels.fused_bag` for the arguments."""
    if per_sample_weights is not None:
        factors = readable(per_sample_weights)
        padding = int(program.code[0, PADDING])
        if padding >= 0:  # a zero vector times an infinite weight is not zero
            factors = factors.masked_fill(ids == padding, 0)
    elif mode == "sum":
        factors = torch.ones(len(ids), dtype=torch.float32, device=CPU)
    else:
        factors = _mean_factors(program, ids, offsets)
    arguments = ids, offsets, factors, program, recipe, sparse, *program.tables
    pooled: Tensor = FusedBag.apply(*arguments)
    return pooled


def _mean_factors(program: Program, ids: Tensor, offsets: Tensor) -> Tensor:
    """1 / the number of ids in each id's bag, padding not counted."""
    counted = ids != int(program.code[0, PADDING])
    none = torch.zeros(1, dtype=torch.int64, device=CPU)
    before = torch.cat([none, counted.cumsum(0)])
    sizes = before[offsets].diff().clamp(min=1)
    weights = sizes.float().reciprocal()
    return torch.repeat_interleave(weights, offsets.diff(), output_size=len(ids))


class FusedBag(torch.autograd.Function):
    """Sum over each bag of ``factors`` times the composed rows, with gradients of the tables."""

    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        offsets: Tensor,
        factors: Tensor,
        program: Program,
        recipe: Recipe,
        sparse: bool,
        *tables: Tensor,
    ) -> Tensor:
        """Pool; ``tables`` are ``program.tables``, listed for autograd."""
        ctx.save_for_backward(ids, offsets, factors, *tables)
        ctx.lookup = program, recipe, sparse
        return _pool(program, ids, offsets, factors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute gradients of the tables."""
        ids, offsets, factors = ctx.saved_tensors[:3]
        program, recipe, sparse = ctx.lookup
        bag = torch.repeat_interleave(offsets.diff(), output_size=len(ids))
        rows = grad[bag] * factors.unsqueeze(1)
        needed = ctx.needs_input_grad[6:]
        found = table_gradients(program, recipe, ids, rows, needed, sparse, deferred=False)
        return (None,) * 6 + tuple(found)


def _pool(program: Program, ids: Tensor, offsets: Tensor, factors: Tensor) -> Tensor:
    bags = len(offsets) - 1
    out = torch.zeros((bags, program.width), dtype=torch.float32, device=CPU)
    threads = num_threads() if ids.numel() * program.width >= SERIAL else 1
    ids, keys, id_bytes = pass_ids(ids)
    bounds, scales = address(offsets, torch.int64), address(factors, torch.float32)
    task = np.zeros(OUT + 1, np.int64)
    task[:IDS] = threads, -1, program.address, len(program.code)
    task[IDS:] = keys, id_bytes, bags, bounds, scales, address(out, torch.float32)
    run_task(_pool_task, task)
    if task[BAD] >= 0:
        refuse(ids, int(task[BAD]), int(program.code[0, LIMIT]))
    return out


@compiled(cfunc, types.void(types.int64))
def _pool_task(task_address: int) -> None:
    """Pool one thread's part of the bags."""
    task = int64_array(task_address, (OUT + 1,))
    program = int64_array(task[PROGRAM], (task[ENTRIES], FIELDS))
    offsets = int64s(task[OFFSETS], task[COUNT] + 1)
    factors = float32s(task[WEIGHTS], offsets[task[COUNT]])
    width, spare = program[0, WIDTH], scratch(program, BLOCK)
    vectors = np.empty(BLOCK * width, np.float32)
    source, size = address_of(vectors), width * 4
    out, out_end = task[OUT], task[OUT] + task[COUNT] * size
    bag, end = part_by_length(offsets, task[COUNT], task[THREADS])
    for first in range(offsets[bag], offsets[end], BLOCK):
        n = min(BLOCK, offsets[end] - first)
        bad = compose_block(program, task[IDS], task[ID_BYTES], first, n, spare, source)
        if bad >= 0:
            task[BAD] = bad
            break
        for b in range(n):
            while first + b >= offsets[bag + 1]:
                bag += 1
            total = float32s(row_address(out, bag, size, out_end), width)
            row, factor = float32s(source + b * size, width), factors[first + b]
            for k in range(width):
                total[k] += row[k] * factor
