"""Bags, composed and pooled in one compiled sweep: the composed rows never leave the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import cfunc, types
from torch import Tensor

from memcom.kernels.cpu.autograd import table_gradients
from memcom.kernels.cpu.forward import BLOCK, compose_block, pool_block, scratch
from memcom.kernels.cpu.native import (
    address_of,
    compiled,
    float32s,
    int64_array,
    int64s,
)
from memcom.kernels.cpu.sweeps import SERIAL, refuse
from memcom.kernels.cpu.threads import num_threads, part_by_length, run_task
from memcom.kernels.gate import CPU, address, pass_ids
from memcom.kernels.program import FIELDS, LIMIT, WIDTH, Program
from memcom.kernels.recipe import Recipe

THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OFFSETS, WEIGHTS, OUT = range(10)


def pooled(
    program: Program,
    recipe: Recipe,
    sparse: bool,
    ids: Tensor,
    offsets: Tensor,
    factors: Tensor,
) -> Tensor:
    """Sum the composed rows of each bag times ``factors``, one for each id."""
    arguments = ids, offsets, factors, program, recipe, sparse, *program.tables
    pooled: Tensor = FusedBag.apply(*arguments)
    return pooled


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
    source = address_of(vectors)
    bag, end = part_by_length(offsets, task[COUNT], task[THREADS])
    for first in range(offsets[bag], offsets[end], BLOCK):
        n = min(BLOCK, offsets[end] - first)
        bad = compose_block(program, task[IDS], task[ID_BYTES], first, n, spare, source)
        if bad >= 0:
            task[BAD] = bad
            break
        bag = pool_block(source, width, first, n, factors, offsets, task[COUNT], bag, task[OUT])
