"""Recipes: which rows of which tables an id reads, and how they become one vector.

A `Recipe` fuses rows. The other kinds of `Reading` are for layers that read more than that: rows of
different lengths (`Ragged`), ids of several ranges (`Ranges`), ids that a stored map sends
elsewhere (`Mapped`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from memcom.addresses import Address, Clamp, Digit, Signature
from memcom.kernels.bits import MAX_BITS, Stored

FUSIONS = ("sum", "mult", "concat")


def address_flaw(address: Address) -> str:
    """Return why the rows of an address may lie outside those it names, or ``""``.

    Kernels compute rows without a look at them, so this is asked before a program is made.
    """
    if isinstance(address, Clamp):
        return "" if address.last >= 0 else f"clamps to row {address.last}"
    if isinstance(address, Stored):
        fits = 0 <= address.which < address.per_id and 1 <= address.bits <= MAX_BITS
        return "" if fits else f"reads number {address.which} of {address.per_id}"
    if isinstance(address, Signature):
        keys = address.keys.shape[-1]
        inside = all(0 <= pick < keys for pick in address.picks)
        return "" if inside and address.modulus >= 1 else f"picks {address.picks} of {keys} keys"
    if isinstance(address, Digit):
        sizes = address.modulus, address.divisor, address.stride
        powers = all(size & (size - 1) == 0 for size in sizes[:2])
        if min(sizes) < 1 or (address.stride > 1 and not powers):
            return f"is a digit of modulus, divisor and stride {sizes}"
    return ""


class PackedRows(NamedTuple):
    """The stored numbers of a module that unpacks rows.

    Attributes:
        codes: uint8, numbers of few bits, least significant bit first: rows of whole bytes, or one
            string of all numbers; or float16 rows.
        scale: float16, one for each row or block; None beside float16 rows.
        offset: As ``scale``: a number is ``offset + scale * code``.
        bits: 2, 3, 4, 8 or 16.
        group: Numbers that share a scale; in rows, the width.
        shape: Rows and width of the table that was packed.
        dtype: Of the rows that come out.
    """

    codes: Tensor
    scale: Tensor | None
    offset: Tensor | None
    bits: int
    group: int
    shape: tuple[int, int]
    dtype: torch.dtype


class Read(NamedTuple):
    """One row of one table: ``table[first + address(i)]``.

    Attributes:
        name: The table's name in the layer's state.
        table: ``(rows, width)``; or a module that unpacks rows, see `memcom.kernels.gather_rows`.
        address: From ids to rows.
        first: The first row of the part of the table that is addressed.
        projection: None, or a ``(width, columns)`` matrix that multiplies the row.
    """

    name: str
    table: Tensor
    address: Address
    first: int = 0
    projection: Tensor | None = None

    def rows(self, ids: Tensor) -> Tensor:
        """Return the rows that int64 ``ids`` of any shape read."""
        rows = self.address(ids)
        return rows + self.first if self.first else rows


class Run(NamedTuple):
    """Consecutive numbers of one array: ``table[start(i)]``, the next, ..., round its end.

    Attributes:
        name: The array's name in the layer's state.
        table: ``(numbers, 1)``; or a module that unpacks them.
        start: From ids to the first number.
        columns: How many numbers.
        sign: None, or a digit that is 1 where the numbers are to be negated, and 0 elsewhere.
    """

    name: str
    table: Tensor
    start: Address
    columns: int
    sign: Digit | None = None


class Recipe(NamedTuple):
    """Reads, and their fusion into one vector.

    Attributes:
        reads: The rows to fetch. A table of width 1 broadcasts over the others. Recipes of rows
            may stand for rows that are put side by side.
        fusion: ``"sum"``, ``"mult"`` (elementwise) or ``"concat"``.
        shift: A row of width 1, added to every coordinate after fusing.
        weights: A row of as many numbers as there are reads: number j multiplies read j before
            fusing.
    """

    reads: tuple[Any, ...]
    fusion: str = "sum"
    shift: Read | None = None
    weights: Read | None = None

    def every_read(self) -> list[Read]:
        """List rows, then weights, then shift."""
        return [r for r in (*self.reads, self.weights, self.shift) if r is not None]


class Ragged(NamedTuple):
    """Rows of different lengths; what a row does not store is 0.

    Attributes:
        values: ``(pieces, width)``, the pieces of all rows end to end; or a module that unpacks.
        starts: The first piece of row i is number ``starts(i)``, its end ``starts(i + 1)``.
        places: None if the pieces of a row are its first ones; else the place of piece p in its
            row is ``places(p)``.
        columns: Coordinates of a row; the last piece is cut off if it does not fit.
    """

    values: Tensor
    starts: Stored
    places: Stored | None
    columns: int


class Ranges(NamedTuple):
    """A reading for each range of ids; each counts its ids from 0.

    Attributes:
        parts: Pairs (number of ids, reading), from id 0 on.
    """

    parts: tuple[tuple[int, Reading], ...]


class Mapped(NamedTuple):
    """A reading for what a stored map makes of the ids.

    Attributes:
        address: From ids to the ids of ``reading``.
        reading: What these read.
        num_rows: How many of them there are.
    """

    address: Stored
    reading: Reading
    num_rows: int


Reading = Recipe | Ragged | Ranges | Mapped


class TableLayer(Protocol):
    """A layer whose vectors are rows of tables, put together."""

    num_embeddings: int
    padding_idx: int | None
    sparse: bool

    def reading(self) -> Reading | None:
        """Say what is read of the tables the layer holds now; None if no words here do."""
        ...

    def compose_plainly(self, ids: Tensor) -> Tensor:
        """Return the vectors of checked int64 ``ids`` by torch's own operations."""
        ...

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the vectors of ``ids``."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Iterate over the layer and the modules in it, which hold its tables."""
        ...
