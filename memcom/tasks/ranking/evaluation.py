"""Evaluation over all items that are not in the history, a batch of users at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memcom._annotations import checked
from memcom.data import Interactions
from memcom.tasks._model import evaluating
from memcom.tasks.histories import Histories
from memcom.tasks.metrics import ndcg_and_recall_at_k
from memcom.tasks.ranking.model import Ranker

# Scores held at once: 16 MiB in fp32. From 32 MiB on, glibc returns memory to the system after
# every batch, and the page faults of the next one cost more than the scores.
MAX_SCORES = 2**22


@dataclass(frozen=True)
class Evaluation:
    """Per-user metrics of one model on one split.

    Attributes:
        users: ``(m,)`` int64, the users with held-out items.
        ndcg: ``(m,)`` float32 nDCG@k of each.
        recall: ``(m,)`` float32 Recall@k of each.
        k: Number of positions that count.
    """

    users: Tensor
    ndcg: Tensor
    recall: Tensor
    k: int

    def __str__(self) -> str:
        return (
            f"nDCG@{self.k} {self.ndcg.mean():.4f}, Recall@{self.k} {self.recall.mean():.4f} "
            f"over {len(self.users):,} users"
        )


@dataclass(frozen=True)
class HeldOut:
    """Histories and held-out items of one split, prepared once for every evaluation.

    Attributes:
        known: Histories that the model sees; these items are no candidates.
        wanted: Held-out items, of the same users.
        users: ``(m,)`` int64 ids of these users.
    """

    known: Histories
    wanted: Histories
    users: Tensor

    @classmethod
    def of(cls, data: Interactions, split: str = "valid") -> HeldOut:
        """Return the held-out items of a split, with everything before it as history.

        Args:
            data: Interactions with a split.
            split: ``"valid"``: the history is the training part; or ``"test"``: the history is
                training and validation.

        Returns:
            The users that have held-out items.

        Raises:
            ValueError: The split has another name, or is empty.
        """
        before = {"valid": ("train",), "test": ("train", "valid")}
        if split not in before:
            raise ValueError(f"split must be 'valid' or 'test', got {split!r}")
        wanted = Histories.of(data, split)
        users = (wanted.lengths > 0).nonzero()[:, 0]
        if not len(users):
            raise ValueError(f"{data.name}: the {split} split is empty; nothing can be ranked")
        known = Histories.of(data, *before[split])
        return cls(known.take(users), wanted.take(users), users)

    def to(self, device: torch.device | str) -> HeldOut:
        """Copy to a device."""
        return HeldOut(self.known.to(device), self.wanted.to(device), self.users.to(device))


@checked
def evaluate(model: Ranker, held_out: HeldOut, *, k: int = 10) -> Evaluation:
    """Return nDCG@k and Recall@k of every user, over all items not in the history.

    The scores of all users are never held at once. The model is put into evaluation mode and back.

    Args:
        model: Ranker, on the device of ``held_out``.
        held_out: From `HeldOut.of`.
        k: Number of positions that count.

    Returns:
        Per-user values on the CPU.

    Raises:
        ValueError: A score is NaN, as after training has diverged.
    """
    values = []
    batch = max(1, min(512, MAX_SCORES // model.num_items))
    everyone = torch.arange(len(held_out.users), device=held_out.users.device)
    with evaluating(model):
        for users in everyone.split(batch):
            known, wanted = held_out.known.take(users), held_out.wanted.take(users)
            scores = model.rank(held_out.users[users], known)
            scores[known.rows, known.items] = -torch.inf
            found = ndcg_and_recall_at_k(scores, (wanted.offsets, wanted.items), k)
            values.append(torch.stack(found))
    ndcg, recall = torch.cat(values, dim=1).cpu()
    return Evaluation(held_out.users.cpu(), ndcg, recall, k)
