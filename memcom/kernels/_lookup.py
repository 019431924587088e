"""Address -> look up -> fuse, written plainly.

A `Recipe` says which rows of which tables an id reads and how they become one vector.
`plain_lookup` carries it out with nothing but `read_rows` and arithmetic, on any device, in any
dtype and in any graph. It is the reference for the compiled kernels, and what runs without them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memcom.addresses import Address

FUSIONS = ("sum", "mult", "concat")


class Read(NamedTuple):
    """One row of one table: ``table[address(i)]``, with the table's name in the layer's state.

    Instead of a tensor, the table may be a module that unpacks rows: see `read_rows`.
    """

    name: str
    table: Tensor
    address: Address


class Recipe(NamedTuple):
    """How an id becomes a vector.

    Attributes:
        reads: The rows to fetch. A table of width 1 broadcasts over the others.
        fusion: ``"sum"``, ``"mult"`` (elementwise) or ``"concat"``.
        shift: One more row of width 1, added to every coordinate after fusing.
        weights: One more row, as wide as there are reads: number j multiplies read j before fusing.
    """

    reads: tuple[Read, ...]
    fusion: str = "sum"
    shift: Read | None = None
    weights: Read | None = None


def read_rows(table: Tensor | nn.Module, rows: Tensor, *, sparse: bool = False) -> Tensor:
    """``table[rows]``, of a plain table or of one that is stored packed.

    Args:
        table: ``(num_rows, width)``, or a module that gives the rows it is called with.
        rows: int64 tensor of any shape.
        sparse: Give sparse gradients to a plain table.

    Returns:
        Tensor of shape ``(*rows.shape, width)``.
    """
    if isinstance(table, Tensor):
        return F.embedding(rows, table, sparse=sparse)
    unpacked: Tensor = table(rows)
    return unpacked


def plain_lookup(ids: Tensor, recipe: Recipe, *, sparse: bool = False) -> Tensor:
    """Vectors of ``ids``.

    Args:
        ids: int64 tensor of any shape, already checked to be in range.
        recipe: What to read and how to fuse it.
        sparse: Give sparse gradients to every table.

    Returns:
        Tensor of shape ``(*ids.shape, width)`` in the tables' dtype.
    """

    def fetch(read: Read) -> Tensor:
        return read_rows(read.table, read.address(ids), sparse=sparse)

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


def derivable_gradients(
    ids: Tensor, recipe: Recipe, padding_idx: int, tables: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor, ...]:
    """Gradients that can be derived again: those of the plain lookup, whose every step torch knows.

    Args:
        ids: int32 or int64 tensor of any shape, already checked to be in range.
        recipe: What was read, and how it was fused.
        padding_idx: The id whose vector is zero; -1 for none.
        tables: What to differentiate by.
        grad: Gradient of the vectors.

    Returns:
        One gradient per table.
    """
    padding = (ids == padding_idx).unsqueeze(-1)
    vectors = plain_lookup(ids.long(), recipe).masked_fill(padding, 0)
    return torch.autograd.grad(vectors, tables, grad, create_graph=True)
