"""Running the Triton kernels on tensors: outputs, gradients and autograd.

A forward pass is one launch, where the plain lookup takes about ten; a dense backward pass is one
and the filling with zeros. Not known before it is timed: what a launch costs beside a small batch,
and how far atomic sums hold each other up where most ids read few rows.

Checked in Triton's interpreter, and compiled for sm_80 and sm_90; never timed on a GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from memcom.kernels import _triton_kernels as kernels
from memcom.kernels._lookup import Recipe, derivable_gradients
from memcom.kernels._program import COLUMNS, NUMBER, PADDING, ROWS, SEED, TABLE, WIDTH, Layout

TILE = 2048  # numbers of a row that the 128 threads of a program hold: 16 each
MOST_COLUMNS, MOST_IDS = 1024, 256
# Assertions are on, but not those that would take the wrapping products of a hash for overflows.
OPTIONS = {"num_warps": 4, "debug": True, "sanitize_overflow": False, "enable_fp_fusion": True}


class GpuProgram(NamedTuple):
    """A recipe made ready for the kernels.

    Attributes:
        head: The head of a `Layout`.
        entries: Its entries, with the fields that `memcom.kernels._triton_reads` tells.
        tables: The different tables.
        sources: The tables, then the seeds.
        reads: How often each table is read for an id.
        block: Ids of a program.
        columns: Coordinates it takes at a time.
    """

    head: tuple[int, ...]
    entries: tuple[tuple[int, ...], ...]
    tables: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]
    reads: tuple[int, ...]
    block: int
    columns: int


def prepare(plan: Layout) -> GpuProgram:
    """The program of a layout whose tensors are on one GPU."""
    reads, entries = [0] * len(plan.tables), []
    for entry in plan.code[1:]:
        entry = entry.copy()
        entry[TABLE] = reads[entry[NUMBER]]
        reads[entry[NUMBER]] += 1
        if entry[SEED]:
            entry[SEED] += len(plan.tables) - 1
        entries.append(tuple(entry))
    widest = max(entry[COLUMNS] for entry in entries[: plan.code[0][ROWS]])
    columns = min(MOST_COLUMNS, triton.next_power_of_2(widest))
    tables = tuple(plan.tables)
    return GpuProgram(
        *(tuple(plan.code[0]), tuple(entries), tables, (*tables, *plan.seeds), tuple(reads)),
        *(min(MOST_IDS, TILE // columns), columns),
    )


def run(ids: Tensor, program: GpuProgram, recipe: Recipe, sparse: bool) -> Tensor:
    """Vectors of ``ids``, with gradients if they are wanted.

    Args:
        ids: int32 or int64 tensor on the tables' device, of any shape.
        program: What `prepare` made of the recipe.
        recipe: For second derivatives.
        sparse: Give sparse gradients, coalesced.

    Returns:
        Tensor of shape ``(*ids.shape, width)`` in the tables' dtype.
    """
    ids = ids.contiguous()
    if torch.is_grad_enabled() and any(table.requires_grad for table in program.tables):
        vectors: Tensor = GpuLookup.apply(ids, program, recipe, sparse, *program.tables)
        return vectors
    return forward(ids, program)


def forward(ids: Tensor, program: GpuProgram) -> Tensor:
    """Vectors of contiguous ``ids``; their number does not matter, nor whether it is 0."""
    out = program.tables[0].new_empty((*ids.shape, program.head[WIDTH]), requires_grad=False)
    _launch(kernels.forward, program, ids, out)
    return out


def gradients(
    ids: Tensor, program: GpuProgram, grad: Tensor, needed: Sequence[bool], sparse: bool
) -> list[Tensor | None]:
    """Gradients of the program's tables, in their dtype; summed in float32.

    A dense gradient is added up by atomic operations, so its last bits depend on the order in
    which they happen to come; a sparse one is sorted and added up by torch, always alike.

    Args:
        ids: The ids of the forward pass, contiguous.
        program: The recipe.
        grad: Gradient of the vectors.
        needed: Which of ``program.tables`` want one.
        sparse: Give sparse gradients, coalesced.

    Returns:
        One gradient per table, or None where none is needed.
    """
    count, grad = ids.numel(), grad.contiguous()
    targets, lines = [], []
    for table, reads, need in zip(program.tables, program.reads, needed, strict=True):
        shape = (reads * count, table.shape[1]) if sparse else table.shape
        kind = torch.empty if sparse else torch.zeros
        target = kind(shape if need else (1, 1), dtype=torch.float32, device=table.device)
        targets.append(target)
        size = reads * count if sparse and need else 1
        lines.append(torch.empty(size, dtype=torch.int64, device=table.device))
    flags = tuple(bool(need) for need in needed), bool(sparse)
    _launch(kernels.backward, program, ids, grad, tuple(targets), tuple(lines), flags=flags)
    found: list[Tensor | None] = []
    for table, target, line, need in zip(program.tables, targets, lines, needed, strict=True):
        if need and sparse:
            shape = table.shape
            listed = torch.sparse_coo_tensor(line[None], target, shape, check_invariants=False)
            found.append(listed.coalesce().to(table.dtype))
        else:
            found.append(target.to(table.dtype) if need else None)
    return found


def _launch(
    kernel: Any, program: GpuProgram, ids: Tensor, *arguments: Any, flags: Any = ()
) -> None:
    """Run a kernel on blocks of ids, on the ids' device."""
    count = ids.numel()
    if count == 0:
        return
    grid = (triton.cdiv(count, program.block),)
    constants = program.head, program.entries, *flags, program.block, program.columns
    with torch.cuda.device_of(ids):
        kernel[grid](ids, program.sources, *arguments, count, *constants, **OPTIONS)


class GpuLookup(torch.autograd.Function):
    """`forward`, with `gradients`; second derivatives are those of the plain lookup."""

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, program: GpuProgram, recipe: Recipe, sparse: bool, *tables: Tensor
    ) -> Tensor:
        """Vectors of ``ids``; ``tables`` are ``program.tables``, named for autograd's sake."""
        ctx.save_for_backward(ids, *tables)
        ctx.lookup = program, recipe, sparse
        return forward(ids, program)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tables; None for all else."""
        ids = ctx.saved_tensors[0]
        program, recipe, sparse = ctx.lookup
        needed = ctx.needs_input_grad[4:]
        if torch.is_grad_enabled():
            wanted = list(itertools.compress(program.tables, needed))
            some = iter(derivable_gradients(ids, recipe, program.head[PADDING], wanted, grad))
            found = [next(some) if need else None for need in needed]
        else:
            found = gradients(ids, program, grad, needed, sparse)
        return (None, None, None, None, *found)
