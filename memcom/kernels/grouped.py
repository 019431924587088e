"""Matrix products of rows that are sorted by class: one product a class, without a gathered copy.

``x`` is (n, a), sorted by class; ``sizes`` says how many rows each of C classes has.

    class_product   y_i = x_i W[c_i]                       W: C x a x b
    class_outer     D[c] = sum of x_i^T g_i over class c   D: C x a x b

Each is the other's derivative, so both can be differentiated as often as wanted. Small products are
computed in one compiled sweep over all classes, large ones by torch: a call of it takes as long as
200,000 multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memcom.addresses import is_traced
from memcom.kernels.backend import WORTH_LOADING, is_wanted
from memcom.kernels.gate import flaw
from memcom.kernels.loading import load

LANES = 16  # the compiled products take widths that are a multiple of it
MOST_ROWS = 1024  # of a class, on average, up to which they are quicker


def class_product(rows: Tensor, weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """Multiply rows by the matrix of their class.

    Args:
        rows: ``(n, a)``, those of class 0 first, then those of class 1, ...
        weights: ``(C, a, b)``, a matrix for each class.
        sizes: Rows of each class, C numbers that add up to n.

    Returns:
        Tensor of shape ``(n, b)``.
    """
    if is_batched(rows) or is_batched(weights):
        pieces = zip(rows.split(sizes), weights.unbind(), strict=True)
        return torch.cat([x @ weight for x, weight in pieces])
    product: Tensor = _ClassProduct.apply(rows, weights, sizes)
    return product


def class_outer(rows: Tensor, others: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sum the outer products of ``(n, a)`` and ``(n, b)`` rows over each class: ``(C, a, b)``."""
    if is_batched(rows) or is_batched(others):
        pieces = zip(rows.split(sizes), others.split(sizes), strict=True)
        return torch.stack([x.T @ g for x, g in pieces])
    outer: Tensor = _ClassOuter.apply(rows, others, sizes)
    return outer


def is_batched(tensor: Tensor) -> bool:
    """Return True under ``is_grads_batched=True``, or ``vmap`` of a gradient."""
    functorch = torch._C._functorch
    return bool(
        functorch.is_functorch_wrapped_tensor(tensor) or functorch.is_legacy_batchedtensor(tensor)
    )


def _is_compiled(rows: Tensor, others: Tensor, sizes: Sequence[int], columns: int) -> bool:
    """Return True if the compiled kernels can take a product, and are quicker than torch."""
    count = len(rows)
    if not WORTH_LOADING <= count <= MOST_ROWS * len(sizes) or columns % LANES:
        return False
    if any(flaw(tensor, (torch.float32,)) for tensor in (rows, others)) or is_traced(rows):
        return False
    return sum(sizes) == count and min(sizes) >= 0 and is_wanted("grouped")


class _ClassProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, sizes: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.sizes = sizes
        turned = not weights.is_contiguous()
        stored = weights.transpose(1, 2) if turned else weights
        if len(weights) == len(sizes) and _is_compiled(rows, stored, sizes, weights.shape[2]):
            product: Tensor = load("grouped").class_product(rows, stored, sizes, turned)
            return product
        out = rows.new_empty(len(rows), weights.shape[2])
        groups = zip(rows.split(sizes), weights.unbind(), out.split(sizes), strict=True)
        for x, weight, y in groups:
            if len(x):
                torch.mm(x, weight, out=y)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights = ctx.saved_tensors
        row, weight = ctx.needs_input_grad[:2]
        return (
            class_product(grad, weights.transpose(1, 2), ctx.sizes) if row else None,
            class_outer(rows, grad, ctx.sizes) if weight else None,
            None,
        )


class _ClassOuter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, others: Tensor, sizes: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows, others)
        ctx.sizes = sizes
        if len(rows) == len(others) and _is_compiled(rows, others, sizes, others.shape[1]):
            outer: Tensor = load("grouped").class_outer(rows, others, sizes)
            return outer
        out = rows.new_zeros(len(sizes), rows.shape[1], others.shape[1])
        for x, g, total in zip(rows.split(sizes), others.split(sizes), out.unbind(), strict=True):
            if len(x):
                torch.mm(x.t(), g, out=total)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, others = ctx.saved_tensors
        row, other = ctx.needs_input_grad[:2]
        return (
            class_product(others, grad.transpose(1, 2), ctx.sizes) if row else None,
            class_product(rows, grad, ctx.sizes) if other else None,
            None,
        )
