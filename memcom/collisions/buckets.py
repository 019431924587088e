"""Buckets: the ids that read one row of one table, counted for every row.

An id that reads a row twice (two hashes that agree) is one member of it. Whether a table's reads
lose their order is seen from the addresses: layers give them ascending exactly when it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memcom.collisions.sharing import Layer, addresses_of, id_chunks, table_rows
from memcom.collisions.theory import CodeClass, code_classes, combine_classes


@dataclass(frozen=True, eq=False)
class TableUse:
    """How the ids spread over the rows of one table.

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
        """Whether no row is shared."""
        return self.largest <= 1


def table_uses(
    emb: Layer, weights: np.ndarray | None, chunk_size: int
) -> tuple[tuple[TableUse, ...], list[CodeClass]]:
    """Count the ids in every row of every table.

    Args:
        emb: The layer.
        weights: Popularity of each id, float64 `(num_embeddings,)`, or None.
        chunk_size: Ids per chunk.

    Returns:
        The use of each table, and the code classes of all of them together.
    """
    rows = table_rows(emb, chunk_size)
    members = {t: np.zeros(r, np.int64) for t, r in rows.items()}
    mass = {t: np.zeros(r if weights is not None else 0) for t, r in rows.items()}
    top = {t: np.zeros(r if weights is not None else 0) for t, r in rows.items()}
    reads = dict.fromkeys(rows, 1)
    ascending = dict.fromkeys(rows, True)
    for ids in id_chunks(emb, chunk_size):
        for table, read in addresses_of(emb, ids).items():
            reads[table] = read.shape[1]
            ascending[table] &= bool((read[:, 1:] >= read[:, :-1]).all())
            read = np.sort(read, axis=1)
            first = np.ones(read.shape, bool)
            first[:, 1:] = read[:, 1:] != read[:, :-1]
            row, (owner, _) = read[first], np.nonzero(first)
            members[table] += np.bincount(row, minlength=rows[table])
            if weights is not None:
                weight = weights[ids.cpu().numpy()][owner]
                mass[table] += np.bincount(row, weight, minlength=rows[table])
                np.maximum.at(top[table], row, weight)
    uses, classes = [], []
    for table, size in rows.items():
        blind = ascending[table] and reads[table] > 1
        total = mass[table].sum() or 1.0
        sizes, size_counts = np.unique(members[table], return_counts=True)
        use = TableUse(
            name=table,
            rows=size,
            rows_used=int((members[table] > 0).sum()),
            reads=reads[table],
            order_blind=blind,
            largest=int(sizes[-1]),
            sizes=sizes,
            size_counts=size_counts,
            overshadowed_mass=(
                None if weights is None else float((mass[table] - top[table]).sum() / total)
            ),
        )
        uses.append(use)
        classes.append(code_classes(size, reads[table], ordered=not blind))
    return tuple(uses), combine_classes(classes)
