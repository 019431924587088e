"""Running the compiled kernels on tensors: outputs, threads, errors and autograd."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from memcom.kernels import _forward as front
from memcom.kernels._gradients import change_tables, gradients
from memcom.kernels._lookup import Recipe, derivable_gradients
from memcom.kernels._program import LIMIT, PADDING, Program
from memcom.kernels._threads import num_threads
from memcom.kernels._update import Change

Stepper = Callable[[Tensor], tuple[str, tuple[Tensor, ...], list[float]]]

SERIAL = 1 << 16  # numbers in the output below which one thread is quicker
_TASK: Any = front.forward_task.address
_empty, _sweep = torch.empty, front.forward  # found at once: see `memcom.kernels._dispatch`


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
    width, count = program.width, ids.numel()
    out = _empty((*ids.shape, width))
    threads = num_threads() if count * width >= SERIAL else 1
    address, entries, place = program.address, len(program.code), ids.data_ptr()
    size, target = ids.element_size(), out.data_ptr()
    bad = _sweep(_TASK, threads, address, entries, place, size, count, target)
    if bad >= 0:
        refuse(program, ids, bad)
    return out


def refuse(program: Program, ids: Tensor, position: int) -> None:
    """Raise the error that names the id at ``position``."""
    bad, limit = int(ids.flatten()[position]), int(program.code[0, LIMIT])
    raise IndexError(f"id {bad} is out of range: ids must be in [0, {limit})")


class FusedLookup(torch.autograd.Function):
    """`forward`, with the gradients of `memcom.kernels._gradients`.

    A second derivative (``create_graph=True``) is taken through the plain lookup, whose every step
    torch can derive again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        program: Program,
        recipe: Recipe,
        sparse: bool,
        stepper: Stepper | None,
        *tables: Tensor,
    ) -> Tensor:
        """Vectors of ``ids``; ``tables`` are ``program.tables``, named for autograd's sake."""
        ctx.save_for_backward(ids, *tables)
        ctx.lookup = program, recipe, sparse, stepper
        return forward(program, ids)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the tables, unless a stepper changes them on the spot; None for all else."""
        ids = ctx.saved_tensors[0]
        program, recipe, sparse, stepper = ctx.lookup
        needed = ctx.needs_input_grad[5:]
        found: Iterable[Tensor | None] = (None,) * len(needed)
        if torch.is_grad_enabled():
            wanted = list(itertools.compress(program.tables, needed))
            padding = int(program.code[0, PADDING])
            some = iter(derivable_gradients(ids, recipe, padding, wanted, grad))
            found = (next(some) if need else None for need in needed)
        elif stepper is not None:
            pairs = zip(program.tables, needed, strict=True)
            changes = [Change(*stepper(table)) if need else None for table, need in pairs]
            change_tables(program, ids, grad.contiguous(), changes)
        else:
            found = gradients(program, ids, grad.contiguous(), needed, sparse)
        return (None, None, None, None, None, *found)
