"""The compiled lookup as one operator, which ``torch.compile`` keeps whole in its graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memcom.kernels import loading
from memcom.kernels.program import FIELDS, WIDTH, Layout, Program, bind, layout
from memcom.kernels.recipe import Recipe


def lookup_in_graph(recipe: Recipe, ids: Tensor) -> Tensor:
    """Look up checked ``ids`` by the operator."""
    plan = layout(recipe)
    return lookup(ids, plan.tables, plan.seeds, [field for entry in plan.code for field in entry])


def _program(tables: list[Tensor], seeds: list[Tensor], code: list[int]) -> Program:
    entries = [code[k : k + FIELDS] for k in range(0, len(code), FIELDS)]
    return bind(Layout(entries, [t.detach() for t in tables], seeds))


@torch.library.custom_op("memcom::lookup", mutates_args=())
def lookup(ids: Tensor, tables: list[Tensor], seeds: list[Tensor], code: list[int]) -> Tensor:
    """Look up ``ids``; the other arguments are a flat `memcom.kernels.program.Layout`."""
    vectors: Tensor = loading.load("autograd").forward(_program(tables, seeds, code), ids)
    return vectors


@lookup.register_fake
def _(ids: Tensor, tables: list[Tensor], seeds: list[Tensor], code: list[int]) -> Tensor:
    loading.pending("autograd")  # they are compiled while the graph is: its first call needs them
    return tables[0].new_empty((*ids.shape, code[WIDTH]))


@torch.library.custom_op("memcom::lookup_backward", mutates_args=())
def lookup_backward(
    grad: Tensor, ids: Tensor, tables: list[Tensor], seeds: list[Tensor], code: list[int]
) -> list[Tensor]:
    """Compute dense gradients of all tables."""
    from memcom.kernels.cpu import sweeps

    program, needed = _program(tables, seeds, code), (True,) * len(tables)
    found = sweeps.gradients(program, ids, grad, needed, sparse=False)
    return [tensor for tensor in found if tensor is not None]


@lookup_backward.register_fake
def _(
    grad: Tensor, ids: Tensor, tables: list[Tensor], seeds: list[Tensor], code: list[int]
) -> list[Tensor]:
    return [torch.empty_like(table) for table in tables]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ids, tables, seeds, code = inputs
    ctx.save_for_backward(ids, *tables, *seeds)
    ctx.split, ctx.code = len(tables), code


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    ids, *tensors = ctx.saved_tensors
    tables, seeds = tensors[: ctx.split], tensors[ctx.split :]
    return None, lookup_backward(grad, ids, tables, seeds, ctx.code), [None] * len(seeds), None


lookup.register_autograd(_differentiate, setup_context=_remember)
