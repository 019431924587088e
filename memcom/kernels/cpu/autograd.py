"""The compiled lookup on tensors, and its place in autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memcom.kernels.cpu import forward as front
from memcom.kernels.cpu.deferred import DeferredGradient, DeferredLookup
from memcom.kernels.cpu.sweeps import SERIAL, gradients, refuse
from memcom.kernels.cpu.threads import num_threads
from memcom.kernels.gate import allocate, pass_ids
from memcom.kernels.plain import differentiable_gradients
from memcom.kernels.program import LIMIT, PADDING, Program
from memcom.kernels.recipe import Recipe

_TASK: Any = front.forward_task.address
# Bound here because each attribute lookup is felt in a lookup of one id.
_sweep, _is_grad_enabled = front.sweep_forward, torch.is_grad_enabled


def lookup_on_cpu(
    program: Program, recipe: Recipe, sparse: bool, deferred: bool, ids: Tensor
) -> Tensor:
    """Look up int32 or int64 ``ids`` of any shape, with gradients if they are wanted.

    The recipe is for second derivatives, ``deferred`` as for `memcom.kernels.defer_gradients`.
    """
    if _is_grad_enabled() and True in [table.requires_grad for table in program.tables]:
        arguments = ids, program, recipe, sparse, deferred, *program.tables
        vectors: Tensor = FusedLookup.apply(*arguments)
        return vectors
    return forward(program, ids)


def forward(program: Program, ids: Tensor) -> Tensor:
    """Look up ``ids``: float32 of shape ``(*ids.shape, program.width)``."""
    width, count = program.width, ids.numel()
    out, target = allocate(*ids.shape, width)
    threads = num_threads() if count * width >= SERIAL else 1
    ids, keys, id_bytes = pass_ids(ids)
    code, entries = program.address, len(program.code)
    bad = _sweep(_TASK, threads, code, entries, keys, id_bytes, count, target)
    if bad >= 0:
        refuse(ids, bad, int(program.code[0, LIMIT]))
    return out


class FusedLookup(torch.autograd.Function):
    """`forward`, with `gradients`; second derivatives are those of the plain lookup."""

    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        program: Program,
        recipe: Recipe,
        sparse: bool,
        deferred: bool,
        *tables: Tensor,
    ) -> Tensor:
        """Look up ``ids``; ``tables`` are ``program.tables``, listed for autograd."""
        ctx.save_for_backward(ids, *tables)
        ctx.lookup = program, recipe, sparse, deferred
        return forward(program, ids)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Compute gradients of the tables, or defer them: not where a hook may return others."""
        ids = ctx.saved_tensors[0]
        program, recipe, sparse, deferred = ctx.lookup
        found = table_gradients(
            program, recipe, ids, grad, ctx.needs_input_grad[5:], sparse, deferred
        )
        return (None, None, None, None, None, *found)


def table_gradients(
    program: Program,
    recipe: Recipe,
    ids: Tensor,
    grad: Tensor,
    needed: Sequence[bool],
    sparse: bool,
    deferred: bool,
) -> Sequence[Tensor | None]:
    """Compute the gradients of the tables that are needed from that of the vectors.

    They are deferred if that is wanted and no hook may return others, and such that torch can
    differentiate them if it will.
    """
    several = _are_several(grad)
    if torch.is_grad_enabled() or several:
        padding, tables = int(program.code[0, PADDING]), program.tables
        sparse = sparse and not several  # torch has no batches of sparse gradients
        return differentiable_gradients(ids, recipe, padding, tables, needed, grad, sparse=sparse)
    if deferred and not any(table._backward_hooks for table in program.tables):
        lookup = DeferredLookup(program, ids, grad, needed, sparse)
        return [DeferredGradient(lookup, k) if need else None for k, need in enumerate(needed)]
    return gradients(program, ids, grad, needed, sparse)


def _are_several(grad: Tensor) -> bool:
    """Return True for gradients in a batch: ``is_grads_batched=True``, or ``vmap`` of them."""
    transformed = torch._C._functorch.is_functorch_wrapped_tensor(grad)
    return bool(transformed or torch._C._functorch.is_legacy_batchedtensor(grad))
