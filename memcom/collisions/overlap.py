"""Share of the numbers that one id reads which every other id reads too.

Sharing every address makes two ids one. Short of that ids share *parts*: one of two rows, all but
one number, a few cells. A part counts by the numbers in it: a MEmCom vector of width 64 is made of
64 shared numbers and one that is the id's alone.
"""

from __future__ import annotations

import numpy as np
import torch

from memcom.collisions.sharing import (
    CHUNK,
    Layer,
    address_chunks,
    addresses_of,
    check_id,
    state_of,
)


def shared_reads(emb: Layer, id: int, chunk_size: int = CHUNK) -> np.ndarray:
    """Compute the share of the numbers that one id reads which each id reads too.

    Numbers that all ids read alike (projections, networks) are no address and do not count.

    Args:
        emb: The layer.
        id: The id to compare with.
        chunk_size: Addresses per chunk.

    Returns:
        ``(num_embeddings,)`` float64 in [0, 1]; 1 for `id` itself and for ids that read all of its
        rows, in any order.

    Raises:
        IndexError: If `id` is not in 0 … num_embeddings - 1.
    """
    own, state = addresses_of(emb, check_id(emb, id)), state_of(emb)
    widths = {table: _row_width(state.get(table)) for table in own}
    total = sum(widths[table] * rows.shape[1] for table, rows in own.items())
    found = np.zeros(emb.num_embeddings)
    for ids, theirs in address_chunks(emb, chunk_size):
        place = slice(int(ids[0]), int(ids[0]) + len(ids))
        for table, rows in own.items():
            common = np.zeros(len(ids))
            for row, times in zip(*np.unique(rows, return_counts=True), strict=True):
                common += times * (theirs[table] == row).any(axis=1)
            found[place] += widths[table] * common
    return found / total


def _row_width(table: torch.Tensor | None) -> int:
    """Numbers of one row; 1 for addresses that name no saved table."""
    return 1 if table is None or table.dim() < 2 else table.shape[1]
