"""Bags, composed and pooled in one compiled sweep: the composed rows never leave the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import carray, cfunc, types
from torch import Tensor

from memcom.kernels._forward import compose_block, scratch
from memcom.kernels._fused import refuse
from memcom.kernels._gradients import gradients
from memcom.kernels._native import entry_point, float32s, int64s
from memcom.kernels._program import FIELDS, PADDING, WIDTH, Program
from memcom.kernels._rows import BLOCK
from memcom.kernels._threads import num_threads, part_by_length, run

SERIAL = 1 << 16  # numbers to compose below which one thread is quicker

THREADS, BAD, PROGRAM, ENTRIES, IDS, ID_BYTES, COUNT, OFFSETS, WEIGHTS, OUT = range(10)


class FusedBag(torch.autograd.Function):
    """Pooled vectors of bags; see `memcom.kernels.fused_bag` for the arguments."""

    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        offsets: Tensor,
        factors: Tensor,
        program: Program,
        sparse: bool,
        *tables: Tensor,
    ) -> Tensor:
        """Sum over each bag of ``factors`` times the composed rows."""
        ctx.save_for_backward(ids, offsets, factors, *tables)
        ctx.lookup = program, sparse
        return pool(program, ids, offsets, factors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tables; None for all else."""
        ids, offsets, factors = ctx.saved_tensors[:3]
        program, sparse = ctx.lookup
        bag = torch.repeat_interleave(offsets.diff(), output_size=len(ids))
        rows = grad[bag] * factors.unsqueeze(1)
        found = gradients(program, ids, rows, ctx.needs_input_grad[5:], sparse)
        return (None,) * 5 + tuple(found)


def pool(program: Program, ids: Tensor, offsets: Tensor, factors: Tensor) -> Tensor:
    """Sum over each bag of ``factors`` times the composed rows.

    Args:
        program: The recipe.
        ids: Contiguous int32 or int64 tensor ``(total,)``.
        offsets: int64 ``(bags + 1,)``, from 0 to ``total``.
        factors: float32 ``(total,)``.

    Returns:
        float32 tensor ``(bags, program.width)``.

    Raises:
        IndexError: An id is out of range.
    """
    bags = len(offsets) - 1
    out = torch.zeros(bags, program.width)
    places = ids.data_ptr(), ids.element_size(), bags, offsets.data_ptr(), factors.data_ptr()
    threads, code = num_threads() if ids.numel() * program.width >= SERIAL else 1, len(program.code)
    task = np.array([threads, -1, program.address, code, *places, out.data_ptr()], np.int64)
    run(pool_task, task)
    if task[BAD] >= 0:
        refuse(program, ids, int(task[BAD]))
    return out


def factors_of(
    program: Program, ids: Tensor, offsets: Tensor, mode: str, weights: Tensor | None
) -> Tensor:
    """What each composed row is multiplied with before its bag is summed."""
    if weights is not None:
        return weights.contiguous()
    if mode == "sum":
        return torch.ones(len(ids))
    counted = ids != int(program.code[0, PADDING])
    before = torch.cat([torch.zeros(1, dtype=torch.int64), counted.cumsum(0)])
    sizes = before[offsets].diff().clamp(min=1)
    return torch.repeat_interleave(1 / sizes, offsets.diff(), output_size=len(ids)).float()


@cfunc(types.void(types.int64), cache=True)
@entry_point
def pool_task(address: int) -> None:
    """Pool one thread's part of the bags."""
    task = carray(int64s(address), (10,))
    program = carray(int64s(task[PROGRAM]), (task[ENTRIES], FIELDS))
    offsets, factors = int64s(task[OFFSETS]), float32s(task[WEIGHTS])
    width, spare = program[0, WIDTH], scratch(program, BLOCK)
    vectors = np.empty(BLOCK * width, np.float32)
    source = vectors.ctypes.data
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
            total = float32s(task[OUT] + bag * width * 4)
            row, factor = float32s(source + b * width * 4), factors[first + b]
            for k in range(width):
                total[k] += row[k] * factor
