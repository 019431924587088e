"""Codewords that are chosen by scores, with a gradient for the choice, compiled where they can be.

A query of e numbers is cut into D groups; each group takes the codeword of its codebook whose
target suits it best. The vector is made of the codewords taken, but queries and targets get the
gradient of the *softmax* of the scores times all codewords. None of the D K scores of an id need
to be kept for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from memcom.addresses import is_traced
from memcom.kernels.backend import WORTH_LOADING, is_wanted
from memcom.kernels.gate import flaw
from memcom.kernels.grouped import is_batched
from memcom.kernels.loading import load


class CodewordChoice(NamedTuple):
    """Everything that decides which codewords are taken.

    Attributes:
        queries: ``(n, e)``.
        targets: ``(D K, e / D)``: with what a query is compared, codebook after codebook.
        values: ``(D K, e / D)``: the codewords.
        limits: int64 ``(n,)``: how many codewords of each book an id may use, 1 to K.
        groups: D.
        nearest: Take the nearest target, and pass the gradient straight to the query; else take
            that of the largest product, with the gradient of the softmax.
        sparse: Give ``values`` a sparse gradient.
    """

    queries: Tensor
    targets: Tensor
    values: Tensor
    limits: Tensor
    groups: int
    nearest: bool
    sparse: bool


def chosen_codes(choice: CodewordChoice) -> Tensor | None:
    """Return the int64 codes ``(n, D)`` of a choice, or None where the kernels cannot take it."""
    if not _is_compiled(choice):
        return None
    codes, _ = load("codebooks").choose(*choice[:6])
    return codes


def chosen_codewords(
    choice: CodewordChoice, plainly: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor | None:
    """Return the codewords of a choice, side by side, with their gradients.

    Args:
        choice: The choice.
        plainly: The same by torch's own operations, from queries, targets and values; for second
            derivatives and gradients in batches.

    Returns:
        ``(n, e)``; None where the kernels cannot take it: a graph or a transform of torch is at
        work, the queries are few, something is not contiguous float32 on the CPU, numba is not
        installed or still compiling, or `memcom.kernels.plain` is active.
    """
    if not _is_compiled(choice):
        return None
    queries, targets, values, *rest = choice
    vectors: Tensor = _Chosen.apply(queries, targets, values, rest, plainly)
    return vectors


def _is_compiled(choice: CodewordChoice) -> bool:
    queries = choice.queries
    if is_traced(queries) or len(queries) < WORTH_LOADING or forward_ad._current_level >= 0:
        return False
    if any(flaw(table, (torch.float32,)) for table in choice[:3]):
        return False
    return not flaw(choice.limits, (torch.int64,)) and is_wanted("codebooks")


class _Chosen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        targets: Tensor,
        values: Tensor,
        rest: tuple[Tensor, int, bool, bool],
        plainly: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        limits, groups, nearest, ctx.sparse = rest
        codes, vectors = load("codebooks").choose(queries, targets, values, limits, groups, nearest)
        ctx.save_for_backward(queries, targets, values, limits, codes)
        ctx.nearest, ctx.plainly = nearest, plainly
        return vectors

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, targets, values, limits, codes = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        again = torch.is_grad_enabled()
        if again or is_batched(grad):
            with torch.enable_grad():
                vectors = ctx.plainly(queries, targets, values)
            inputs = [t for t, need in zip((queries, targets, values), needed, strict=True) if need]
            found = iter(torch.autograd.grad(vectors, inputs, grad, create_graph=again))
            return (*(next(found) if need else None for need in needed), None, None)
        grad, kernels = grad.contiguous(), load("codebooks")
        of_queries, of_targets = grad, None
        if not ctx.nearest and any(needed[:2]):
            of_queries, of_targets = kernels.gradients(
                grad, queries, targets, values, limits, codes
            )
        of_values = None
        if needed[2]:
            of_values, used = kernels.value_gradient(grad, values, codes)
            of_values = _rows_used(of_values, used) if ctx.sparse else of_values
        gradients = of_queries, of_targets, of_values
        wanted = zip(gradients, needed, strict=True)
        return (*(gradient if need else None for gradient, need in wanted), None, None)


def _rows_used(gradient: Tensor, used: Tensor) -> Tensor:
    """Return the gradient of a table as a sparse one, of the rows that were read."""
    rows = used.nonzero()
    return torch.sparse_coo_tensor(
        rows.T,
        gradient.index_select(0, rows.flatten()),
        gradient.shape,
        is_coalesced=True,
        check_invariants=False,
    )
