"""Recipes: which rows of which tables an id reads, and how they become one vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from memcom.addresses import Address

FUSIONS = ("sum", "mult", "concat")


class Read(NamedTuple):
    """One row of one table: ``table[address(i)]``.

    Attributes:
        name: The table's name in the layer's state.
        table: ``(rows, width)``; or a module that unpacks rows, see `memcom.kernels.gather_rows`.
        address: From ids to rows.
    """

    name: str
    table: Tensor
    address: Address


class Recipe(NamedTuple):
    """Reads, and their fusion into one vector.

    Attributes:
        reads: The rows to fetch. A table of width 1 broadcasts over the others.
        fusion: ``"sum"``, ``"mult"`` (elementwise) or ``"concat"``.
        shift: A row of width 1, added to every coordinate after fusing.
        weights: A row of as many numbers as there are reads: number j multiplies read j before
            fusing.
    """

    reads: tuple[Read, ...]
    fusion: str = "sum"
    shift: Read | None = None
    weights: Read | None = None

    def every_read(self) -> list[Read]:
        """List rows, then weights, then shift."""
        return [r for r in (*self.reads, self.weights, self.shift) if r is not None]


class TableLayer(Protocol):
    """A layer whose vectors are a recipe; `memcom.embeddings` calls it a table embedding."""

    num_embeddings: int
    padding_idx: int | None
    sparse: bool

    def recipe(self) -> Recipe:
        """Return the recipe for the tables the layer holds now."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Iterate over the layer and the modules in it, which hold its tables."""
        ...
