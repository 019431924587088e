"""What a method learns from the data before its training begins.

    known = Occurrences(ids, groups, num_embeddings)     # of the training part
    emb = memcom.build("lma", n, e, ratio=16, **learned_options("lma", known))
    prepare(emb, known, pretrain)

- LMA: signatures, from the groups (users, sessions, texts) that an id occurs in
- learned hashing: the map, from a narrow table that was trained before and from frequencies
- AMTL: frequencies

Every other method begins with nothing, and both functions leave it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings.amtl import AMTLEmbedding
from memcom.embeddings.head import HeadEmbedding
from memcom.embeddings.learned_hash import LearnedHashEmbedding, MappedEmbedding
from memcom.embeddings.learned_map import learn_map
from memcom.embeddings.minhash import minhash_signatures

PRE_DIM = 4  # columns of the narrow table; the paper finds that 2 to 8 do


@dataclass(frozen=True)
class Occurrences:
    """Which ids occur where, in the training part.

    Attributes:
        ids: ``(n,)`` int64.
        groups: ``(n,)`` int64 >= 0: the user, session or text that the id occurs in.
        num_embeddings: Number of ids.
    """

    ids: Tensor
    groups: Tensor
    num_embeddings: int

    @property
    def counts(self) -> Tensor:
        """How often each id occurs: int64 ``(num_embeddings,)``."""
        return torch.bincount(self.ids, minlength=self.num_embeddings)


def learned_options(name: str, known: Occurrences, *, head: int = 0) -> dict[str, Any]:
    """Options of a method that have to be learned before it can be built.

    Args:
        name: Registry name.
        known: The training part.
        head: The first so many ids have private rows, and the method stands for the rest.

    Returns:
        ``signatures`` for LMA; nothing for any other method.
    """
    if name != "lma":
        return {}
    signatures = minhash_signatures(known.ids, known.groups, known.num_embeddings)
    return {"signatures": signatures[head:]}


@torch.no_grad()
def prepare(
    emb: CompressedEmbedding,
    known: Occurrences,
    pretrain: Callable[[int], Tensor],
    *,
    seed: int = 0,
) -> None:
    """Tell a layer, and those inside it, what they have to know before they are trained.

    Args:
        emb: A layer for the ids of ``known``. One inside it, behind private rows or a map, is told
            about the ids that reach it; those that are one row there count together, and their
            vectors are averaged by frequency.
        known: The training part.
        pretrain: ``pretrain(width)`` trains a full table of that width at the same task and
            returns it, ``(num_embeddings, width)``. Only called if it is needed.
        seed: Of the clustering.
    """
    counts = known.counts.to(emb.device)
    layer = emb
    rows = ids = torch.arange(known.num_embeddings, device=emb.device)
    # ids are those that reach the layer, and rows which of its rows they are
    while isinstance(layer, HeadEmbedding | MappedEmbedding):
        if isinstance(layer, HeadEmbedding):
            behind = rows >= layer.head
            ids, rows = ids[behind], rows[behind] - layer.head
            layer = layer.tail
        else:
            rows = layer.rows(rows)
            layer = layer.inner
    seen = _total(counts[ids], rows, layer)
    if isinstance(layer, AMTLEmbedding):
        layer.set_counts(seen)
    elif isinstance(layer, LearnedHashEmbedding):
        with torch.enable_grad():
            table = pretrain(PRE_DIM).detach()
        weights = counts[ids].clamp(min=1).to(table)  # an id that never occurs has a vector too
        weights /= _total(weights, rows, layer)[rows]
        means = _total(weights.unsqueeze(1) * table[ids], rows, layer)
        generator = torch.Generator().manual_seed(seed)
        layer.set_map(learn_map(means, seen, layer.num_buckets, generator=generator))


def _total(of_each_id: Tensor, rows: Tensor, layer: CompressedEmbedding) -> Tensor:
    """Sums over the ids that are the same row of a layer."""
    total = of_each_id.new_zeros(layer.num_embeddings, *of_each_id.shape[1:])
    return total.index_add_(0, rows, of_each_id)
