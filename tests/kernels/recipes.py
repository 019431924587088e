"""Any recipe the kernels take, drawn by Hypothesis."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from memcom import kernels
from memcom.addresses import Clamp, Digit
from memcom.kernels import Read, Recipe


def addresses(draw, rows):
    if draw(st.booleans()) and draw(st.booleans()):
        return Clamp(rows - 1)
    seed = draw(st.sampled_from([None, torch.tensor(0), torch.tensor(2**32 - 1)]))
    if draw(st.booleans()) and rows >= 2:
        width = draw(st.integers(1, rows.bit_length() - 1))
        return Digit(2**width, 2 ** draw(st.integers(0, 5)), draw(st.integers(2, 4)), seed)
    return Digit(rows, draw(st.sampled_from([1, 1, 3, 16, 977, 2**20])), 1, seed)


@st.composite
def recipes(draw):
    fusion = draw(st.sampled_from(kernels.FUSIONS))
    reads, width = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 5, 16, 33]))
    weighted = draw(st.booleans())
    tables: list[torch.Tensor] = []
    chosen = []
    for j in range(reads):
        columns = width
        if fusion == "concat":
            columns = draw(st.integers(1, 9))
        elif j and not weighted and draw(st.booleans()):
            columns = 1
        rows = draw(st.integers(1, 40))
        same = [t for t in tables if t.shape[1] == columns]
        if same and draw(st.booleans()):
            table = same[0]
        else:
            table = torch.randn(rows, columns, requires_grad=draw(st.booleans()) or not tables)
            tables.append(table)
        chosen.append(Read(f"t{j}", table, addresses(draw, table.shape[0])))
    weights = shift = None
    if weighted:
        table = torch.randn(draw(st.integers(1, 20)), reads, requires_grad=True)
        weights = Read("weights", table, addresses(draw, table.shape[0]))
    if draw(st.booleans()):
        table = torch.randn(draw(st.integers(1, 20)), 1, requires_grad=True)
        shift = Read("shift", table, addresses(draw, table.shape[0]))
    return Recipe(tuple(chosen), fusion, shift, weights)


def tables_of(recipe: Recipe) -> list[torch.Tensor]:
    """The different tables that want a gradient."""
    every = [*recipe.reads, recipe.weights, recipe.shift]
    tables = {id(read.table): read.table for read in every if read is not None}
    return [table for table in tables.values() if table.requires_grad]
