"""The compiled lookup of any reading, with its place in autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcom.kernels.assembly import (
    COLUMNS,
    KEPT,
    LIMIT,
    NONE,
    PROJECTED,
    PROJECTION,
    VECTORS,
    Assembly,
)
from memcom.kernels.cpu import assemble_backward as back
from memcom.kernels.cpu.assemble import sweep
from memcom.kernels.cpu.sweeps import SERIAL, refuse
from memcom.kernels.cpu.threads import num_threads, run_task
from memcom.kernels.gate import CPU, address, allocate, pass_ids, readable
from memcom.kernels.grouped import is_batched


def lookup(
    assembly: Assembly, sparse: bool, plainly: Callable[[Tensor], Tensor], ids: Tensor
) -> Tensor:
    """Look up int32 or int64 ``ids`` of any shape, with gradients.

    Args:
        assembly: Bound to memory that is where it was; it has gradients.
        sparse: Make the gradients of what is read by rows sparse.
        plainly: The same by torch's own operations, from ids: for second derivatives, gradients in
            batches, and for its words where a stored number points outside a table.
        ids: The ids.
    """
    vectors: Tensor = AssembledLookup.apply(ids, assembly, sparse, plainly, *assembly.sources)
    return vectors


class AssembledLookup(torch.autograd.Function):
    """The vectors and gradients of `Reads`; second derivatives are those of the plain lookup."""

    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        assembly: Assembly,
        sparse: bool,
        plainly: Callable[[Tensor], Tensor],
        *sources: Tensor,
    ) -> Tensor:
        """Look up ``ids``; ``sources`` are ``assembly.sources``, listed for autograd."""
        ctx.save_for_backward(ids, *sources)
        reads = Reads(assembly, ids)
        ctx.lookup = reads, sparse, plainly
        vectors = reads.vectors()
        return plainly(ids) if vectors is None else vectors

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the tables."""
        ids, *sources = ctx.saved_tensors
        reads, sparse, plainly = ctx.lookup
        needed = ctx.needs_input_grad[4:]
        again = torch.is_grad_enabled()
        if not again and not is_batched(grad):
            return (None, None, None, None, *reads.gradients(grad, needed, sparse))
        with torch.enable_grad():
            vectors = plainly(ids)
        wanted = list(itertools.compress(sources, needed))
        found = iter(torch.autograd.grad(vectors, wanted, grad, create_graph=again))
        return (None, None, None, None, *(next(found) if need else None for need in needed))


class Reads:
    """The distinct ids of a lookup, sorted, and the rows that each line of the assembly reads.

    Args:
        assembly: Bound to memory that is where it was.
        ids: int32 or int64 of any shape.

    Raises:
        IndexError: An id is out of range.
    """

    def __init__(self, assembly: Assembly, ids: Tensor) -> None:
        self._assembly, self._shape = assembly, ids.shape
        ids, keys, id_bytes = pass_ids(ids)
        count, lines = ids.numel(), len(assembly.code)
        self._space = np.empty(4 * count + 1, np.int64)
        base, task = self._space.ctypes.data, np.zeros(back.TASK, np.int64)
        task[: back.GRAD] = (
            *(1, -1, assembly.address, assembly.lines.ctypes.data, assembly.ties.ctypes.data),
            *(lines, keys, id_bytes, count),
        )
        task[back.KEYS : back.ORDERED] = (
            *(base, base + count * 8, base + count * 16, base + count * 24 + 8),
            max(0, count - 1).bit_length(),
        )
        run_task(back.collect_task, task)
        if task[back.BAD] >= 0:
            refuse(ids, int(task[back.BAD]), int(assembly.code[0, LIMIT]))
        self._found = int(task[back.FOUND])
        self._rows = np.empty((lines, self._found), np.int64)
        task[back.ROWS] = self._rows.ctypes.data
        task[back.THREADS] = num_threads() if count * assembly.width >= SERIAL else 1
        self._task = task

    def vectors(self) -> Tensor | None:
        """Look up the vectors, and keep the rows: to be called before `gradients`.

        Returns:
            float32 of shape ``(*ids.shape, width)``; None if a stored number points outside a
            table.
        """
        task, width = self._task.copy(), self._assembly.width
        code = self._assembly.code.copy()
        code[0, KEPT] = task[back.ROWS]
        distinct = np.empty((self._found, width), np.float32)
        out, task[back.OUT] = allocate(*self._shape, width)
        task[back.DISTINCT_VECTORS] = distinct.ctypes.data
        if sweep(code, task[back.THREADS], task[back.DISTINCT], self._found, distinct) != -1:
            return None
        run_task(back.spread_task, task)
        return out

    def gradients(self, grad: Tensor, needed: Sequence[bool], sparse: bool) -> list[Tensor | None]:
        """Compute the gradients of the assembly's sources that are ``needed``.

        A sparse gradient is coalesced, and holds only the rows that were read; matrices that
        multiply rows have dense ones.

        Raises:
            RuntimeError: A stored number has since come to point outside a table, or memory that
                was read is gone.
        """
        assembly, grad, task = self._assembly.in_place(), readable(grad), self._task.copy()
        found, lines, width = self._found, len(assembly.code), assembly.width
        own = np.empty(found, np.int64)
        numbers = np.empty((width + 2 * lines + _products(assembly)) * found, np.float32)
        sums = numbers.ctypes.data
        scales, size = sums + width * found * 4, lines * found * 4
        task[back.CODE], task[back.GRAD] = assembly.address, address(grad, torch.float32)
        task[back.OWN], task[back.SUMS] = own.ctypes.data, sums
        task[back.SCALES : back.JOBS] = scales, scales + size, scales + 2 * size
        run_task(back.prepare_task, task)
        _require_good(task)
        jobs = _Jobs(assembly, needed, sparse)
        task[back.JOBS : back.TASK] = jobs.address, len(needed)
        if jobs.are_sparse:
            run_task(back.mark_task, task)
            run_task(back.count_task, task)
        gradients = jobs.allocate()
        run_task(back.accumulate_task, task)
        _require_good(task)
        return gradients


class _Jobs:
    """The sources that want a gradient, as the kernels see them."""

    def __init__(self, assembly: Assembly, needed: Sequence[bool], sparse: bool) -> None:
        matrices = set(assembly.lines[1:, PROJECTION].tolist())
        self.lines = np.zeros((len(needed), back.JOB), np.int64)
        self.address = self.lines.ctypes.data
        self.shapes = [source.shape for source in assembly.held]
        self.are_sparse = False
        self._alive: list[Any] = []
        for which, need in enumerate(needed):
            if not need:
                continue
            rows, across = self.shapes[which]
            job = self.lines[which]
            job[back.SIZE], job[back.ACROSS], job[back.NEEDED] = rows, across, back.DENSE
            if sparse and which + 1 not in matrices:
                marks = np.zeros(((rows >> back.WORD) + 1, 2), np.int64)
                pages = np.zeros((rows >> back.PAGE) + 2, np.int64)
                job[back.NEEDED] = back.SPARSE
                job[back.MARKS], job[back.PAGES] = marks.ctypes.data, pages.ctypes.data
                self._alive += [marks, pages]
                self.are_sparse = True

    def allocate(self) -> list[Tensor | None]:
        """Return the gradients, which the kernels fill afterwards."""
        found: list[Tensor | None] = [None] * len(self.lines)
        for which, job in enumerate(self.lines):
            shape = self.shapes[which]
            if job[back.NEEDED] == back.DENSE:
                dense = torch.zeros(shape, dtype=torch.float32, device=CPU)
                found[which], job[back.TARGET] = dense, address(dense, torch.float32)
            elif job[back.NEEDED] == back.SPARSE:
                values, job[back.TARGET] = allocate(int(job[back.MARKED]), shape[1])
                rows = torch.empty((1, len(values)), dtype=torch.int64, device=CPU)
                job[back.INDICES] = address(rows, torch.int64)
                found[which] = torch.sparse_coo_tensor(
                    rows, values, shape, is_coalesced=True, check_invariants=False
                )
        return found


def _products(assembly: Assembly) -> int:
    """Columns of the gradients of rows that others multiply, all lines together."""
    kept = assembly.ties[:, VECTORS]
    last = int(kept.argmax())
    if kept[last] == NONE:
        return 0
    line = assembly.lines[last]
    return int(kept[last] + (line[PROJECTED] or line[COLUMNS]))


def _require_good(task: Any) -> None:
    if task[back.BAD] == back.NOT_STORED:
        raise RuntimeError(
            "a stored map was changed between the forward and the backward pass, and points "
            "outside a table now"
        )
