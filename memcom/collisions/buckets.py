"""Buckets: the ids that read one row of one table, counted for every row.

An id that reads a row twice (two hashes that agree) is one member of it. Addresses show whether a
table's reads lose their order: where it is lost, layers give them ascending.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memcom.collisions.sharing import Layer, address_chunks, state_of, table_rows
from memcom.collisions.theory import CodeClass, code_classes, combine_classes


@dataclass(frozen=True, eq=False)
class TableUse:
    """Spread of the ids over the rows of one table.

    Attributes:
        name: State name of the table.
        rows: Rows of the table.
        rows_used: Rows that at least one id reads.
        reads: Rows each id reads (repeats counted).
        order_blind: Whether several rows are read and their order is lost (a sum).
        largest: Ids in the fullest row.
        sizes: Distinct bucket sizes that occur, ascending, 0 included where a row is unused.
        size_counts: Rows with each of `sizes`.
        overshadowed_mass: Share of the interactions (by `counts`) that go to an id which is not
            the most popular of its row; None without counts. Averaged over reads.
    """

    name: str
    rows: int
    rows_used: int
    reads: int
    order_blind: bool
    largest: int
    sizes: np.ndarray
    size_counts: np.ndarray
    overshadowed_mass: float | None

    @property
    def one_row_per_id(self) -> bool:
        """True if no row is shared."""
        return self.largest <= 1


def table_uses(
    emb: Layer, weights: np.ndarray | None, chunk_size: int
) -> tuple[tuple[TableUse, ...], list[CodeClass]]:
    """Count the ids in every row of every table; `weights` is the popularity of each id, or None.

    Returns the use of each table, and the code classes of all of them together. Addresses that name
    no saved tensor (the hash codes that a network reads) have no rows: they count for the codes.
    """
    stored = state_of(emb)
    tallies = {
        table: _Tally(table, rows, not stored or table in stored, weights)
        for table, rows in table_rows(emb, chunk_size).items()
    }
    for ids, addresses in address_chunks(emb, chunk_size):
        for table, read in addresses.items():
            tallies[table].add(ids.cpu().numpy(), read)
    uses = tuple(tally.use() for tally in tallies.values() if tally.stored)
    return uses, combine_classes(tally.classes() for tally in tallies.values())


class _Tally:
    """Members, popularity and order of one table's rows, gathered chunk by chunk."""

    def __init__(self, name: str, rows: int, stored: bool, weights: np.ndarray | None) -> None:
        self.name, self.rows, self.stored, self.weights = name, rows, stored, weights
        self.members = np.zeros(rows if stored else 0, np.int64)
        weighed = rows if stored and weights is not None else 0
        self.mass, self.top = np.zeros(weighed), np.zeros(weighed)
        self.low: np.ndarray | None = None  # lowest and highest row of each read
        self.high: np.ndarray | None = None
        self.ascending = True

    def add(self, ids: np.ndarray, read: np.ndarray) -> None:
        """Count the rows `read`, `(len(ids), reads)`."""
        self.ascending &= bool((read[:, 1:] >= read[:, :-1]).all())
        low, high = read.min(axis=0), read.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        if not self.stored:
            return
        read = np.sort(read, axis=1)
        first = np.ones(read.shape, bool)
        first[:, 1:] = read[:, 1:] != read[:, :-1]
        row = read[first]
        np.add.at(self.members, row, 1)
        if self.weights is not None:
            weight = self.weights[ids][np.nonzero(first)[0]]
            np.add.at(self.mass, row, weight)
            np.maximum.at(self.top, row, weight)

    @property
    def order_blind(self) -> bool:
        """Ascending reads lost their order, unless their ranges of rows do not overlap."""
        if self.low is None or self.high is None:
            return False
        return self.ascending and bool((self.low[1:] <= self.high[:-1]).any())

    def classes(self) -> list[CodeClass]:
        """Codes of this table; reads with ranges that do not overlap count as separate tables."""
        reads = 1 if self.low is None else len(self.low)
        if self.low is None or self.high is None or self.order_blind or not self.ascending:
            return code_classes(self.rows, reads, ordered=not self.order_blind)
        if reads == 1:
            return code_classes(self.rows)
        return combine_classes(
            code_classes(int(high - low) + 1) for low, high in zip(self.low, self.high, strict=True)
        )

    def use(self) -> TableUse:
        """The statistics."""
        sizes, size_counts = np.unique(self.members, return_counts=True)
        hidden = float((self.mass - self.top).sum() / (self.mass.sum() or 1.0))
        return TableUse(
            name=self.name,
            rows=self.rows,
            rows_used=int((self.members > 0).sum()),
            reads=1 if self.low is None else len(self.low),
            order_blind=self.order_blind,
            largest=int(sizes[-1]),
            sizes=sizes,
            size_counts=size_counts,
            overshadowed_mass=None if self.weights is None else hidden,
        )
