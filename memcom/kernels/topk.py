"""Search for the k best items of each query, without a queries x items matrix.

Items are scored a block at a time, and only the k best so far are kept. Within a block, scores are
cut into groups: the k best scores lie in the k groups with the greatest maxima, so one pass drops
all other groups and the result stays exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memcom._annotations import checked
from memcom._check import shown, whole

GROUP = 32


@checked
@torch.no_grad()
def topk(
    queries: Tensor,
    items: Callable[[Tensor], Tensor] | Tensor,
    k: int,
    *,
    num_items: int | None = None,
    exclude: Sequence[Tensor] | None = None,
    block_items: int = 32768,
    block_queries: int = 512,
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` items with the greatest inner product, for each query.

    Peak memory is the result, one block of item vectors and ``block_queries * block_items`` scores,
    64 MB by default, for any number of items.

    Args:
        queries: ``(num_queries, width)``.
        items: An embedding, called with int64 item ids for their ``(count, width)`` vectors, or
            the ``(num_items, width)`` table itself.
        k: Items per query, in ``[1, num_items]``.
        num_items: Number of items; by default the table's rows or ``items.num_embeddings``.
        exclude: Item ids to leave out, such as those seen in training: ``(offsets, ids)``, for
            query q ``ids[offsets[q]:offsets[q + 1]]``. If fewer than k items are left, the rest has
            score -inf.
        block_items: Items scored at a time.
        block_queries: Queries scored at a time.

    Returns:
        Scores and item ids, both ``(num_queries, k)``, best first.

    Raises:
        ValueError: ``k`` is out of range.
    """
    if queries.ndim != 2 or not queries.is_floating_point():
        raise ValueError(
            f"queries must be floats (num_queries, width), got {queries.dtype} "
            f"{tuple(queries.shape)}"
        )
    width = queries.shape[1]
    if isinstance(items, Tensor) and (items.ndim != 2 or items.shape[1] != width):
        raise ValueError(f"items must be (num_items, {width}), got {tuple(items.shape)}")
    rows = len(items) if isinstance(items, Tensor) else getattr(items, "num_embeddings", None)
    if num_items is None:
        num_items = rows
    if num_items is None:
        raise TypeError(f"num_items must be given: items is {shown(items)}")
    whole("num_items", num_items, 1, rows)
    if exclude is not None and [isinstance(part, Tensor) for part in exclude] != [True] * 2:
        raise TypeError(f"exclude must be the tensors (offsets, ids), got {shown(exclude)}")
    if exclude is not None and exclude[0].shape != (len(queries) + 1,):
        raise ValueError(
            f"offsets of exclude must be ({len(queries) + 1},), got {tuple(exclude[0].shape)}"
        )
    if not 1 <= k <= num_items:
        raise ValueError(f"k must be in [1, {num_items}], got {k}")
    whole("block_items", block_items, 1)
    whole("block_queries", block_queries, 1)
    shape = (len(queries), k)
    best = queries.new_full(shape, float("-inf"))
    which = torch.zeros(shape, dtype=torch.int64, device=queries.device)
    filled = 0
    for start in range(0, num_items, block_items):
        stop = min(start + block_items, num_items)
        ids = torch.arange(start, stop, dtype=torch.int64, device=queries.device)
        vectors = items[start:stop] if isinstance(items, Tensor) else items(ids)
        if vectors.shape != (stop - start, width):
            raise ValueError(
                f"items must give ({stop - start}, {width}) vectors, got {tuple(vectors.shape)}"
            )
        here = min(k, stop - start)
        kept = min(k, filled + here)
        for first in range(0, len(queries), block_queries):
            some = slice(first, min(first + block_queries, len(queries)))
            scores = queries[some] @ vectors.T
            if exclude is not None:
                _leave_out(scores, exclude, some, start, stop)
            values, places = _block_topk(scores, here)
            values = torch.cat([best[some, :filled], values], dim=1)
            places = torch.cat([which[some, :filled], places + start], dim=1)
            best[some, :kept], order = values.topk(kept, dim=1)
            which[some, :kept] = places.gather(1, order)
        filled = kept
    return best, which


def _block_topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return `Tensor.topk` along the rows of a wide matrix, by groups."""
    groups = scores.shape[1] // GROUP
    if groups < 2 * k:
        values, places = scores.topk(k, dim=1)
        return values, places
    whole = groups * GROUP
    grouped = scores[:, :whole].unflatten(1, (groups, GROUP))
    chosen = grouped.amax(2).topk(k, dim=1).indices
    inside = torch.arange(GROUP, dtype=torch.int64, device=scores.device)
    places = (chosen.unsqueeze(2) * GROUP + inside).flatten(1)
    tail = torch.arange(whole, scores.shape[1], dtype=torch.int64, device=scores.device)
    places = torch.cat([places, tail.expand(len(scores), -1)], dim=1)
    values, order = scores.gather(1, places).topk(k, dim=1)
    return values, places.gather(1, order)


def _leave_out(
    scores: Tensor, exclude: Sequence[Tensor], some: slice, start: int, stop: int
) -> None:
    """Set the scores of excluded items of this block to -inf."""
    offsets, ids = exclude
    begin, end = int(offsets[some.start]), int(offsets[some.stop])
    lengths = offsets[some.start : some.stop + 1].diff()
    rows = torch.repeat_interleave(
        torch.arange(len(lengths), dtype=torch.int64, device=ids.device), lengths
    )
    columns = ids[begin:end] - start
    inside = (columns >= 0) & (columns < stop - start)
    scores[rows[inside], columns[inside]] = float("-inf")
