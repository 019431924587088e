"""Running the compiled backward pass on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcom.kernels import _segments as seg
from memcom.kernels._backward import accumulate_task
from memcom.kernels._program import FUSION, MULT, ROWS, SCALES, WEIGHTS, Program
from memcom.kernels._threads import num_threads, run
from memcom.kernels._update import Change, update

SERIAL = 1 << 16  # numbers in the gradient below which one thread is quicker
_NO_MORE = (0,) * (seg.JOB - seg.SORTED)


def gradients(
    program: Program, ids: Tensor, grad: Tensor, needed: Sequence[bool], sparse: bool
) -> list[Tensor | None]:
    """Gradients of the program's tables.

    Args:
        program: The recipe.
        ids: The ids of the forward pass, contiguous.
        grad: float32 gradient of the vectors, contiguous.
        needed: Which of ``program.tables`` want one.
        sparse: Give sparse gradients, coalesced, with only the rows that were read.

    Returns:
        One gradient per table, or None where none is needed.
    """
    sweep = _Sweep(program, ids, grad)
    found: list[Tensor | None] = [None] * len(needed)
    for which in _in_turn(needed):
        table = program.tables[which]
        if not needed[which]:
            sweep.accumulate(which)
        elif sparse:
            rows = torch.from_numpy(sweep.rows(which))
            values = torch.empty(len(rows), table.shape[1])
            sweep.accumulate(which, values)
            found[which] = torch.sparse_coo_tensor(
                rows.unsqueeze(0), values, table.shape, is_coalesced=True, check_invariants=False
            )
        else:
            found[which] = values = torch.zeros(table.shape)
            sweep.accumulate(which, values, dense=True)
    return found


def change_tables(
    program: Program, ids: Tensor, grad: Tensor, changes: Sequence[Change | None]
) -> None:
    """Change the program's tables by an optimizer's rule, without a gradient in memory.

    Args:
        program: The recipe.
        ids: The ids of the forward pass, contiguous.
        grad: float32 gradient of the vectors, contiguous.
        changes: How to change each table; None for one that stays.
    """
    head = program.code[0]
    if head[WEIGHTS] or head[SCALES] > 1 or (head[FUSION] == MULT and head[ROWS] > 1):
        # One table's gradient is made of another's rows, which must not have changed by then.
        needed = [change is not None for change in changes]
        found = gradients(program, ids, grad, needed, sparse=True)
        for table, gradient, change in zip(program.tables, found, changes, strict=True):
            if gradient is not None and change is not None:
                update(table, gradient, change)
    else:
        sweep = _Sweep(program, ids, grad)
        for which in _in_turn([change is not None for change in changes]):
            sweep.accumulate(which, change=changes[which])
    for table, change in zip(program.tables, changes, strict=True):
        if change is not None:
            torch.autograd.graph.increment_version(table)


def _in_turn(needed: Sequence[bool]) -> list[int]:
    """Tables to be swept: the first one's sweep takes the dot products the others may need."""
    return [k for k, wanted in enumerate(needed) if wanted or (k == 0 and any(needed))]


class _Sweep:
    """The reads of every table, sorted by row, and the memory that takes."""

    def __init__(self, program: Program, ids: Tensor, grad: Tensor) -> None:
        count, tables, reads = ids.numel(), program.tables, program.reads
        entries, wide = len(program.code) - 1, int(program.code[0, ROWS])
        lines = entries * count  # the row numbers of all reads come first
        self.space = np.empty(lines + sum(3 * n * count + 1 for n in reads), np.int64)
        factors = np.empty((2, wide + 1, count), np.float32)
        self.base, id_bits, jobs = self.space.ctypes.data, max(0, count - 1).bit_length(), []
        place = self.base + lines * 8
        for n, table in zip(reads, tables, strict=True):
            size, row_bits = n * count * 8, max(1, (table.shape[0] - 1).bit_length())
            buffers = place, place + size, place + 2 * size
            jobs.append([n, (n - 1).bit_length(), id_bits, row_bits, *buffers, *_NO_MORE])
            place += 3 * size + 8
        self.jobs = np.array(jobs, np.int64)
        first = factors.ctypes.data
        threads = num_threads() if count * program.width >= SERIAL else 1
        fields = [
            threads,
            0,
            program.address,
            entries + 1,
            ids.data_ptr(),
            ids.element_size(),
            count,
        ]
        fields += [self.base, first, first + factors.nbytes // 2]
        fields += [self.jobs.ctypes.data, len(tables), grad.data_ptr()]
        self.task = np.array(fields, np.int64)
        self.alive = program, ids, grad, factors
        run(seg.prepare_task, self.task)
        run(seg.segment_task, self.task)

    def rows(self, which: int) -> Any:
        """The different rows that were read, ascending."""
        job = self.jobs[which]
        ordered, starts = (job[[seg.SORTED, seg.STARTS]] - self.base) // 8
        firsts = self.space[starts : starts + job[seg.FOUND]]
        return self.space[ordered + firsts] >> (job[seg.ID_BITS] + job[seg.USE_BITS])

    def accumulate(
        self,
        which: int,
        values: Tensor | None = None,
        *,
        dense: bool = False,
        change: Change | None = None,
    ) -> None:
        """Sum the gradients of each row that was read of one table.

        Args:
            which: The table.
            values: Where to write the sums; nowhere if None.
            dense: Write a row's sum to the row of that number, else to the row of its rank.
            change: What to do with each sum.
        """
        job = self.jobs[which]
        if values is not None:
            job[seg.TARGET], job[seg.DENSE] = values.data_ptr(), dense
        if change is not None:
            job[seg.RULE : seg.NUMBERS + 1] = (change.rule, *change.addresses())
        self.task[seg.WHICH] = which
        run(accumulate_task, self.task)
