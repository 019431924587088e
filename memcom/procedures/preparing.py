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
from torch import Tensor, nn

from memcom.embeddings import (
    AMTLEmbedding,
    CompressedEmbedding,
    LearnedHashEmbedding,
    learn_map,
    minhash_signatures,
)

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
        emb: A layer for the ids of ``known``. One inside it that has fewer ids, behind private
            rows, is taken to hold the last ones.
        known: The training part.
        pretrain: ``pretrain(width)`` trains a full table of that width at the same task and
            returns it, ``(num_embeddings, width)``. Only called if it is needed.
        seed: Of the clustering.
    """
    counts = known.counts.to(emb.device)
    for layer in emb.modules():
        if isinstance(layer, AMTLEmbedding):
            layer.set_counts(_last(counts, layer))
        elif isinstance(layer, LearnedHashEmbedding):
            with torch.enable_grad():
                table = pretrain(PRE_DIM)
            generator = torch.Generator().manual_seed(seed)
            rows = _last(table.detach(), layer), _last(counts, layer)
            layer.set_map(learn_map(*rows, layer.num_buckets, generator=generator))


def _last(of_each_id: Tensor, layer: nn.Module) -> Tensor:
    count: int = layer.num_embeddings  # type: ignore[assignment]
    return of_each_id[len(of_each_id) - count :]
