"""The backward pass on tensors: reads sorted by row, summed to gradients or turned into steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcom.kernels.cpu import backward as back
from memcom.kernels.cpu.threads import launch, num_threads
from memcom.kernels.cpu.update import Step, update
from memcom.kernels.gate import CPU, address, allocate, has_memory, pass_ids, readable
from memcom.kernels.program import (
    FUSION,
    LIMIT,
    MULT,
    ROWS,
    SCALES,
    WEIGHTS,
    Program,
)

SERIAL = 1 << 16  # numbers in the output or its gradient below which one thread is faster


def gradients(
    program: Program, ids: Tensor, grad: Tensor, needed: Sequence[bool], sparse: bool
) -> list[Tensor | None]:
    """Compute the gradients of the program's tables that are ``needed``.

    A sparse gradient is coalesced, and holds only the rows that were read.
    """
    return sweep_gradients(Sweep(program, ids, grad), needed, sparse)


def sweep_gradients(sweep: Sweep, needed: Sequence[bool], sparse: bool) -> list[Tensor | None]:
    """Compute the gradients of sorted reads; see `gradients`."""
    found: list[Tensor | None] = [None] * len(needed)
    for which in _in_turn(needed):
        shape = sweep.program.held.tables[which].shape
        if not needed[which]:
            sweep.accumulate(which)
        elif sparse:
            rows = sweep.rows(which)
            values, place = allocate(len(rows), shape[1])
            sweep.accumulate(which, place)
            found[which] = torch.sparse_coo_tensor(
                rows.unsqueeze(0), values, shape, is_coalesced=True, check_invariants=False
            )
        else:
            found[which] = values = torch.zeros(shape, dtype=torch.float32, device=CPU)
            sweep.accumulate(which, address(values, torch.float32), dense=True)
    return found


def sweep_steps(sweep: Sweep, steps: Sequence[Step | None]) -> None:
    """Take a step on each table that has one, without a gradient in memory."""
    program = sweep.program
    head, needed = program.code[0], [step is not None for step in steps]
    if head[WEIGHTS] or head[SCALES] > 1 or (head[FUSION] == MULT and head[ROWS] > 1):
        # One table's gradient is made of another's rows, which must not have changed by then.
        found = sweep_gradients(sweep, needed, sparse=True)
        for table, gradient, step in zip(program.tables, found, steps, strict=True):
            if gradient is not None and step is not None:
                update(table, gradient, step)
    else:
        for which in _in_turn(needed):
            sweep.accumulate(which, step=steps[which])
    for table in itertools.compress(program.tables, needed):
        torch.autograd.graph.increment_version(table)


def _in_turn(needed: Sequence[bool]) -> list[int]:
    """Tables to sweep: the first one's sweep notes the dot products that others may need."""
    return [k for k, wanted in enumerate(needed) if wanted or (k == 0 and any(needed))]


class Sweep:
    """The reads of every table, sorted by row, and the memory that takes.

    It is one block, as a NumPy array costs more than filling it: the task, the jobs, the row
    numbers of all reads, the keys of each table, and twice the float32 of `back.FACTORS`.
    """

    def __init__(self, program: Program, ids: Tensor, grad: Tensor) -> None:
        program, grad = program.in_place(), readable(grad)
        ids, keys, id_bytes = pass_ids(ids)
        count, tables, reads = ids.numel(), program.held.tables, program.reads
        entries, wide = len(program.code) - 1, int(program.code[0, ROWS])
        id_bits = max(0, count - 1).bit_length()
        first, head = back.TASK, back.TASK + len(tables) * back.JOB
        lists = head + entries * count
        factors = lists + sum(3 * n * count + 1 for n in reads)
        self.space = np.empty(factors + (wide + 1) * count, np.int64)
        self.base = base = self.space.ctypes.data
        numbers, place, halves = [0] * head, base + lists * 8, base + factors * 8
        for n, table in zip(reads, tables, strict=True):
            size, row_bits = n * count * 8, max(1, (table.shape[0] - 1).bit_length())
            numbers[first + back.USES : first + back.SORTED] = (
                *(n, (n - 1).bit_length(), id_bits, row_bits),
                *(place, place + size, place + 2 * size),
            )
            place, first = place + 3 * size + 8, first + back.JOB
        numbers[: back.BAD + 1] = (
            num_threads() if count * program.width >= SERIAL else 1,
            *(0, program.address, entries + 1, keys, id_bytes, count, base + head * 8),
            *(halves, halves + (wide + 1) * count * 4, base + back.TASK * 8, len(tables)),
            *(address(grad, torch.float32), -1),
        )
        self.space[:head] = numbers
        self.task = self.space[: back.TASK]
        self.jobs = self.space[back.TASK : head].reshape(-1, back.JOB)
        self.program, self.grad, self._ids = program, grad, ids
        self._run(back.prepare_task)
        if self.task[back.BAD] >= 0:  # the ids were in range in the forward pass
            refuse(ids, int(self.task[back.BAD]), int(program.code[0, LIMIT]))
        self._run(back.segment_task)

    def _run(self, function: Any) -> None:
        launch(function.address, self.base)

    def find_again(self) -> None:
        """Read the tables and the gradient where they lie now, some time after the backward pass.

        Raises:
            RuntimeError: Their memory is gone.
        """
        self.program = self.program.in_place()
        if not has_memory(self.grad):
            raise RuntimeError("the gradient of the vectors has lost its memory before the step")
        self.task[back.PROGRAM] = self.program.address
        self.task[back.GRAD] = address(self.grad, torch.float32)

    def rows(self, which: int) -> Tensor:
        """The distinct rows that were read, ascending; in memory that torch can enlarge."""
        job = self.jobs[which]
        ordered, starts = (job[[back.SORTED, back.STARTS]] - self.base) // 8
        firsts = self.space[starts : starts + job[back.FOUND]]
        rows = self.space[ordered + firsts] >> (job[back.ID_BITS] + job[back.USE_BITS])
        return torch.from_numpy(rows).clone()

    def accumulate(
        self,
        which: int,
        place: int = 0,
        *,
        dense: bool = False,
        step: Step | None = None,
    ) -> None:
        """Sum the gradients of each row that was read of a table.

        The sums go to ``place``: to the row of the same number if ``dense``, else in the order of
        the rows; nowhere if it is 0. A ``step`` then changes each row by its sum.
        """
        job = self.jobs[which]
        job[back.TARGET], job[back.DENSE] = place, dense
        if step is not None:
            job[back.RULE : back.NUMBERS + 1] = step.code(self.program.held.tables[which])
        self.task[back.WHICH] = which
        self._run(back.accumulate_task)


def refuse(ids: Tensor, position: int, limit: int) -> None:
    """Raise the error that names the id at ``position``."""
    bad = int(ids.flatten()[position])
    raise IndexError(f"id {bad} is out of range: ids must be in [0, {limit})")
