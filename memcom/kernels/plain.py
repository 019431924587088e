"""The reference lookup: address, look up, fuse, with nothing but `gather_rows` and arithmetic.

It runs on any device, in any dtype and in any graph. The compiled kernels are compared with it, and
it takes over where they cannot run or, in the context `plain`, are not wanted.
"""

from __future__ import annotations

import functools
import itertools
import operator
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memcom.kernels.recipe import Read, Recipe


class _Switch(threading.local):
    plain = 0  # contexts of `plain` that this thread is in


switch = _Switch()  # `switch.plain`: every lookup of this thread is to be plain


@contextmanager
def plain() -> Iterator[None]:
    """Make every lookup of this thread plain: to compare, or to export for any machine."""
    switch.plain += 1
    try:
        yield
    finally:
        switch.plain -= 1


def gather_rows(table: Tensor | nn.Module, rows: Tensor, *, sparse: bool = False) -> Tensor:
    """Return ``table[rows]`` of a plain or a packed table.

    Args:
        table: ``(num_rows, width)``, or a module that returns the rows it is called with.
        rows: int64 tensor of any shape.
        sparse: Give sparse gradients to a plain table.

    Returns:
        Tensor of shape ``(*rows.shape, width)``.
    """
    if isinstance(table, Tensor):
        return F.embedding(rows, table, sparse=sparse)
    unpacked: Tensor = table(rows)
    return unpacked


def all_rows(table: Tensor | nn.Module) -> Tensor:
    """Return all rows of a plain or a packed table, which knows its ``num_rows``."""
    if isinstance(table, Tensor):
        return table
    packed: Any = table
    return gather_rows(
        packed, torch.arange(packed.num_rows, dtype=torch.int64, device=packed.codes.device)
    )


def plain_lookup(ids: Tensor, recipe: Recipe, *, sparse: bool = False) -> Tensor:
    """Look up ``ids`` with torch's own operations.

    Args:
        ids: int64 tensor of any shape, already checked to be in range.
        recipe: What to read and how to fuse it.
        sparse: Give sparse gradients to every table.

    Returns:
        Tensor of shape ``(*ids.shape, width)`` in the tables' dtype.
    """

    def fetch(read: Read) -> Tensor:
        return gather_rows(read.table, read.rows(ids), sparse=sparse)

    rows = [fetch(read) for read in recipe.reads]
    if recipe.weights is not None:
        weights = fetch(recipe.weights).unsqueeze(-1).unbind(-2)
        rows = [row * weight for row, weight in zip(rows, weights, strict=True)]
    if recipe.fusion == "concat":
        fused = torch.cat(rows, dim=-1)
    else:
        combine = operator.mul if recipe.fusion == "mult" else operator.add
        fused = functools.reduce(combine, rows)
    if recipe.shift is not None:
        fused = fused + fetch(recipe.shift)
    return fused


def differentiable_gradients(
    ids: Tensor,
    recipe: Recipe,
    padding_idx: int,
    tables: Sequence[Tensor],
    needed: Sequence[bool],
    grad: Tensor,
    *,
    sparse: bool = False,
) -> list[Tensor | None]:
    """Compute gradients that torch can differentiate again, through the plain lookup.

    Args:
        ids: int32 or int64 tensor of any shape, already checked to be in range.
        recipe: What was read, and how it was fused.
        padding_idx: The id whose vector is zero; -1 for none.
        tables: The recipe's tables.
        needed: Which of them want a gradient.
        grad: Gradient of the vectors.
        sparse: Make the gradients sparse.

    Returns:
        One gradient per table, or None where none is needed.
    """
    padding = (ids == padding_idx).unsqueeze(-1)
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        vectors = plain_lookup(ids.long(), recipe, sparse=sparse).masked_fill(padding, 0)
    wanted = list(itertools.compress(tables, needed))
    found = iter(torch.autograd.grad(vectors, wanted, grad, create_graph=again))
    return [next(found) if need else None for need in needed]
