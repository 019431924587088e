"""Learning from data before training.

    known = Occurrences(ids, groups, num_embeddings)     # of the training part
    emb = memcom.build("lma", n, e, ratio=16, **learned_options("lma", known))
    prepare(emb, known, pretrain)

A class learns in `learned_options`, before it is built, and in `learn`, after; most learn nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memcom._annotations import checked
from memcom._check import whole
from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings.registry import get


@dataclass(frozen=True)
class Occurrences:
    """Ids and the groups they occur in, in the training part.

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
        """Occurrences of each id: int64 ``(num_embeddings,)``."""
        return torch.bincount(self.ids, minlength=self.num_embeddings)


@checked
def learned_options(name: str, known: Occurrences, *, head: int = 0) -> dict[str, Any]:
    """Return the options of a method that are learned before it is built.

    Args:
        name: Registry name.
        known: The training part.
        head: Number of private rows: the method stands for the ids from ``head`` on.

    Returns:
        ``signatures`` for LMA; nothing for most methods.
    """
    whole("head", head, 0, known.num_embeddings)
    return get(name).learned_options(known, head=head)


@checked
@torch.no_grad()
def prepare(
    emb: CompressedEmbedding,
    known: Occurrences,
    pretrain: Callable[[int], Tensor],
    *,
    seed: int = 0,
) -> None:
    """Let a layer, and those inside it, learn what they need before they are trained.

    Args:
        emb: A layer for the ids of ``known``. One inside it learns from the ids that reach it.
        known: The training part.
        pretrain: ``pretrain(width)`` trains a full table of that width at the same task and
            returns it, ``(num_embeddings, width)``. Called only if it is needed.
        seed: Seed of the clustering.
    """

    def pretrained(width: int) -> Tensor:
        with torch.enable_grad():
            return pretrain(width).detach()

    emb.learn(known.counts.to(emb.device), pretrained, seed=seed)
