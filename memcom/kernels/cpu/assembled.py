"""The compiled lookup of any reading, with its place in autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcom.kernels.assembly import COLUMNS, LIMIT, NONE, PROJECTED, PROJECTION, VECTORS, Assembly
from memcom.kernels.cpu import assemble_backward as back
from memcom.kernels.cpu.assemble import assembled
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
    """`assembled`, with `gradients`; second derivatives are those of the plain lookup."""

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
        ctx.lookup = assembly, sparse, plainly
        vectors = assembled(assembly, ids)
        return plainly(ids) if vectors is None else vectors

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of the tables."""
        ids, *sources = ctx.saved_tensors
        assembly, sparse, plainly = ctx.lookup
        needed = ctx.needs_input_grad[4:]
        again = torch.is_grad_enabled()
        if again or is_batched(grad):
            with torch.enable_grad():
                vectors = plainly(ids)
            wanted = [source for source, need in zip(sources, needed, strict=True) if need]
            found = iter(torch.autograd.grad(vectors, wanted, grad, create_graph=again))
            gradients_ = [next(found) if need else None for need in needed]
        else:
            gradients_ = gradients(assembly, ids, grad, needed, sparse)
        return (None, None, None, None, *gradients_)


def gradients(
    assembly: Assembly, ids: Tensor, grad: Tensor, needed: Sequence[bool], sparse: bool
) -> list[Tensor | None]:
    """Compute the gradients of the assembly's sources that are ``needed``.

    A sparse gradient is coalesced, and holds only the rows that were read; matrices that multiply
    rows have dense ones.

    Raises:
        IndexError: An id has left the range since the forward pass.
        RuntimeError: A stored number has since come to point outside a table, or memory is gone.
    """
    assembly, grad = assembly.in_place(), readable(grad)
    ids, keys, id_bytes = pass_ids(ids)
    count, lines, width = ids.numel(), len(assembly.code), assembly.width
    task, space = np.zeros(back.TASK, np.int64), np.empty(3 * count + 1, np.int64)
    base = space.ctypes.data
    task[: back.KEYS] = (
        *(1, -1, assembly.address, assembly.lines.ctypes.data, assembly.ties.ctypes.data, lines),
        *(keys, id_bytes, count, address(grad, torch.float32)),
    )
    task[back.KEYS : back.ORDERED] = (
        *(base, base + count * 8, base + count * 16, max(0, count - 1).bit_length()),
    )
    run_task(back.collect_task, task)
    _require_good(task, ids, assembly)
    found = int(task[back.FOUND])
    kept = np.empty(((1 + lines) * found), np.int64)
    numbers = np.empty((width + 2 * lines + _products(assembly)) * found, np.float32)
    place, own = numbers.ctypes.data, kept.ctypes.data
    sums, scales = place, place + width * found * 4
    task[back.OWN : back.JOBS] = (
        *(own, sums, own + found * 8, scales, scales + lines * found * 4),
        scales + 2 * lines * found * 4,
    )
    task[back.THREADS] = num_threads() if count * width >= SERIAL else 1
    run_task(back.prepare_task, task)
    _require_good(task, ids, assembly)
    jobs = _Jobs(assembly, needed, sparse)
    task[back.JOBS : back.TASK] = jobs.address, len(needed)
    if jobs.are_sparse:
        run_task(back.mark_task, task)
        run_task(back.count_task, task)
    found_gradients = jobs.allocate()
    run_task(back.accumulate_task, task)
    _require_good(task, ids, assembly)
    return found_gradients


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


def _require_good(task: Any, ids: Tensor, assembly: Assembly) -> None:
    if task[back.BAD] == back.NOT_STORED:
        raise RuntimeError(
            "a stored map was changed between the forward and the backward pass, and points "
            "outside a table now"
        )
    if task[back.BAD] >= 0:  # the ids were in range in the forward pass
        refuse(ids, int(task[back.BAD]), int(assembly.code[0, LIMIT]))
