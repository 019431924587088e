"""Running the compiled kernels on tensors: outputs, threads, errors and autograd."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcom.kernels import _backward as back
from memcom.kernels import _forward as front
from memcom.kernels._lookup import Recipe, plain_lookup
from memcom.kernels._native import num_threads, run
from memcom.kernels._program import LIMIT, NUMBER, PADDING, ROWS, Program

SERIAL = 1 << 16  # numbers in the output below which one thread is quicker
CHUNKS = 4  # chunks of work per thread, so that a slow one does not keep the others waiting


def forward(program: Program, ids: Tensor) -> Tensor:
    """Vectors of ``ids``.

    Args:
        program: The recipe; see `memcom.kernels._program`.
        ids: Contiguous int32 or int64 tensor on the CPU, of any shape.

    Returns:
        float32 tensor of shape ``(*ids.shape, program.width)``.

    Raises:
        IndexError: An id is out of range.
    """
    out = torch.empty((*ids.shape, program.width))
    count = ids.numel()
    entries, size, source = len(program.code), ids.element_size(), ids.data_ptr()
    if count * program.width < SERIAL or (threads := num_threads()) == 1:
        bad = front.forward(program.address, entries, source, size, count, out.data_ptr())
    else:
        task = np.zeros(front.TASK, np.int64)
        chunk = -(-count // (threads * CHUNKS))
        task[: front.OUT + 1] = (
            *(0, -1, program.address, entries, source, size, count, chunk),
            out.data_ptr(),
        )
        run(front.forward_task, task.ctypes.data, threads)
        bad = int(task[front.BAD])
    if bad >= 0:
        refuse(program, ids, bad)
    return out


def refuse(program: Program, ids: Tensor, position: int) -> None:
    """Raise the error that names the id at ``position``."""
    bad, limit = int(ids.flatten()[position]), int(program.code[0, LIMIT])
    raise IndexError(f"id {bad} is out of range: ids must be in [0, {limit})")


def backward(
    program: Program, ids: Tensor, grad: Tensor, needed: tuple[bool, ...], sparse: bool
) -> list[Tensor | None]:
    """Gradients of the program's tables.

    Args:
        program: The recipe.
        ids: As for `forward`.
        grad: float32 gradient of the vectors, contiguous.
        needed: Which of ``program.tables`` want one.
        sparse: Give sparse gradients, coalesced, with only the rows that were read.

    Returns:
        One gradient per table, or None where none is needed.
    """
    count, code = ids.numel(), program.code
    entries, wide = len(code) - 1, int(code[0, ROWS])
    grads: list[Tensor | None] = [None] * len(program.tables)
    lines = np.empty((entries, count), np.int64)
    factors, dots = np.empty((2, wide + 1, count), np.float32)
    task = np.zeros(back.TASK, np.int64)
    threads = num_threads() if count * program.width >= SERIAL else 1

    def launch(function: Any, work: int, **fields: int) -> None:
        task[[back.NEXT, back.BAD]] = (0, -1)
        task[back.CHUNK] = max(1, -(-work // (threads * CHUNKS)))
        for name, value in fields.items():
            task[getattr(back, name)] = value
        run(function, task.ctypes.data, threads)

    launch(
        back.prepare_task,
        count,
        PROGRAM=program.address,
        ENTRIES=entries + 1,
        IDS=ids.data_ptr(),
        ID_BYTES=ids.element_size(),
        COUNT=count,
        GRAD=grad.data_ptr(),
        LINES=lines.ctypes.data,
        FACTORS=factors.ctypes.data,
        DOTS=dots.ctypes.data,
    )
    for which, table in enumerate(program.tables):
        # The first table's sweep also takes the dot products that the scalars' gradients need.
        if not needed[which] and not (which == 0 and any(needed[1:])):
            continue
        reads = int((code[1:, NUMBER] == which).sum())
        use_bits, id_bits = (reads - 1).bit_length(), (count - 1).bit_length()
        keys = np.empty(reads * count, np.int64)
        where = (lines.ctypes.data, count, use_bits, id_bits, keys.ctypes.data)
        kept = back.pack(program.address, entries + 1, which, *where)
        keys = keys[:kept]
        keys.sort()
        bits = use_bits + id_bits
        starts = np.empty(kept + 1, np.int64)
        found = back.segment(keys.ctypes.data, kept, bits, starts.ctypes.data)
        values, target = None, 0
        if needed[which]:
            columns = table.shape[1]
            values = torch.empty(found, columns) if sparse else torch.zeros(table.shape)
            target = values.data_ptr()
        launch(
            back.accumulate_task,
            found,
            SORTED=keys.ctypes.data,
            SEGMENTS=found,
            STARTS=starts.ctypes.data,
            TARGET=target,
            DENSE=int(not sparse),
            WHICH=which,
            BITS=bits,
            ID_BITS=id_bits,
        )
        if values is not None and sparse:
            rows = torch.from_numpy(keys[starts[:found]] >> bits)
            values = torch.sparse_coo_tensor(
                rows.unsqueeze(0), values, table.shape, is_coalesced=True, check_invariants=False
            )
        grads[which] = values
    return grads


class FusedLookup(torch.autograd.Function):
    """`forward` with the gradient of `backward`.

    A second derivative (``create_graph=True``) is taken through the plain lookup, whose every step
    torch can derive again.
    """

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, program: Program, recipe: Recipe, sparse: bool, *tables: Tensor
    ) -> Tensor:
        """Vectors of ``ids``; ``tables`` are ``program.tables``, named for autograd's sake."""
        ctx.save_for_backward(ids, *tables)
        ctx.lookup = program, recipe, sparse
        return forward(program, ids)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tables; None for all else."""
        ids = ctx.saved_tensors[0]
        program, recipe, sparse = ctx.lookup
        needed = ctx.needs_input_grad[4:]
        if torch.is_grad_enabled():
            vectors = plain_lookup(ids.long(), recipe)
            padding = (ids == int(program.code[0, PADDING])).unsqueeze(-1)
            vectors = vectors.masked_fill(padding, 0)
            wanted = list(itertools.compress(program.tables, needed))
            found = iter(torch.autograd.grad(vectors, wanted, grad, create_graph=True))
            return (None,) * 4 + tuple(next(found) if need else None for need in needed)
        return (None,) * 4 + tuple(backward(program, ids, grad.contiguous(), needed, sparse))
