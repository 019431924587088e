"""Rankers: from the items a user had to scores over all items.

`HistoryRanker` looks up, averages over the history, and scores all items after a dense tail, which
is empty by default. (The tail of the MEmCom paper's model is not known to us; what may resemble it
is in experiments/paper-like.toml.) The compressor under test is the *input* embedding; the output
side is an ordinary layer whose bytes are reported apart.

    history  [3 1 7 | 4 | 9 9 2]  ->  rows composed  ->  one mean per user  ->  tail  ->  (users, n)

The two controls have no embedding. They are the scores to beat: `MostPopular` ranks by training
frequency, `ItemBias` learns one number per item with the same loss as the rankers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memcom.tasks._model import TaskModel, dense_layers, stored_nbytes
from memcom.tasks.histories import Histories


class Ranker(TaskModel):
    """Base of rankers: a state per user, and scores for that state.

    A subclass defines `encode`, and `score` for all or for some items.

    Args:
        num_items: Number of items that are ranked.
    """

    def __init__(self, num_items: int) -> None:
        super().__init__()
        if num_items < 1:
            raise ValueError(f"num_items must be at least 1, got {num_items}")
        self.num_items = num_items

    def forward(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Score all items.

        Args:
            items: int64 ``(n,)``, the histories one after another.
            offsets: int64 ``(users + 1,)``; user u had ``items[offsets[u]:offsets[u + 1]]``.

        Returns:
            ``(users, num_items)`` floating point, higher is better.
        """
        return self.score(self.encode(items, offsets))

    def rank(self, users: Tensor, known: Histories) -> Tensor:
        """Score all items for users, whom a model may know by id.

        Args:
            users: int64 ``(m,)`` ids.
            known: Their histories, in that order.

        Returns:
            ``(m, num_items)``, newly allocated. Here of the histories alone, as `forward`.
        """
        return self(known.items, known.offsets)

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return a vector per user, ``(users, width)``, from histories as in `forward`."""
        raise NotImplementedError

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Score items for states.

        Args:
            state: ``(users, width)``, from `encode`.
            items: int64 ``(m,)``, the items to score; all of them if None.

        Returns:
            ``(users, m)``, newly allocated, so that a caller may mask in place.
        """
        raise NotImplementedError


class HistoryRanker(Ranker):
    """Mean-pooled history embedding, dense tail, scores over all items.

    ``score_j(u) = b_j + <w_j, tail(mean over i in history(u) of E[i])>``. Rows are composed first,
    then pooled. A user without history gets the mean vector 0.

    Args:
        embedding: The input embedding: a compressor, or `torch.nn.Embedding`.
        num_items: Number of items that are ranked; the number of the embedding's ids if None.
        hidden: Widths of the tail's ReLU layers; none is a linear model.
        batch_norm: Normalise the output of each hidden layer over the batch, after its ReLU.
        dropout: Probability of dropping an entry of the pooled vector and of each hidden layer.
        tied: Take the composed input rows as output vectors, so that the output side stores only a
            bias per item and a projection to the embedding's width.
        item_counts: Training frequency ``(num_items,)``; the output bias starts at its logarithm,
            so that training starts at popularity and not below it.

    Initialisation (the kit's choice): linear layers as in torch, output bias 0 or log(count + 1).
    """

    def __init__(
        self,
        embedding: nn.Module,
        num_items: int | None = None,
        *,
        hidden: Sequence[int] = (),
        batch_norm: bool = False,
        dropout: float = 0.0,
        tied: bool = False,
        item_counts: Any = None,
    ) -> None:
        num_embeddings: int = embedding.num_embeddings  # type: ignore[assignment]
        width: int = embedding.embedding_dim  # type: ignore[assignment]
        super().__init__(num_embeddings if num_items is None else num_items)
        if tied and self.num_items > num_embeddings:
            raise ValueError(
                f"a tied output needs an input row per item: {self.num_items} items, "
                f"{num_embeddings} rows"
            )
        self.embedding = embedding
        self.tied = tied
        if tied:
            self.tail = dense_layers(width, (*hidden, width), dropout, batch_norm=batch_norm)
            self.output = None
        else:
            self.tail = dense_layers(
                width, hidden, dropout, batch_norm=batch_norm, activate_last=True
            )
            self.output = nn.Linear([width, *hidden][-1], self.num_items, bias=False)
        self.output_bias = nn.Parameter(_log_counts(item_counts, self.num_items))

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return the mean of the composed history rows after the tail: ``(users, width)``."""
        rows = self.embedding(items)
        positions = torch.arange(items.shape[0], device=items.device)  # len() is fixed by export
        pooled = F.embedding_bag(positions, rows, offsets, mode="mean", include_last_offset=True)
        return self.tail(pooled)

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return inner products with the output vectors plus bias; see `Ranker.score`."""
        if self.output is not None:
            vectors = self.output.weight if items is None else self.output.weight[items]
        else:
            every = torch.arange(self.num_items, device=state.device)
            vectors = self.embedding(every if items is None else items)
        bias = self.output_bias if items is None else self.output_bias[items]
        return F.linear(state, vectors, bias)

    @property
    def input_nbytes(self) -> int:
        """Stored bytes of the input embedding, buffers included."""
        return stored_nbytes(self.embedding)


class ItemBias(Ranker):
    """Control: one learned score per item, the same for every user.

    Args:
        num_items: Number of items.
        item_counts: Training frequency ``(num_items,)`` to start from, as in `HistoryRanker`.
    """

    def __init__(self, num_items: int, *, item_counts: Any = None) -> None:
        super().__init__(num_items)
        self.bias = nn.Parameter(_log_counts(item_counts, num_items))

    def encode(self, items: Tensor, offsets: Tensor) -> Tensor:
        """Return an empty state, ``(users, 0)``."""
        return self.bias.new_empty(len(offsets) - 1, 0)

    def score(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """Return the biases, once per user; see `Ranker.score`."""
        bias = self.bias if items is None else self.bias[items]
        return bias + state.new_zeros(len(state), 1)


class MostPopular(ItemBias):
    """Control: items by training frequency; nothing is learned.

    Args:
        item_counts: Training frequency ``(num_items,)``.
    """

    def __init__(self, item_counts: Any) -> None:
        counts = torch.as_tensor(item_counts)
        super().__init__(len(counts))
        self.bias = nn.Parameter(counts.to(torch.float32), requires_grad=False)


def _log_counts(item_counts: Any, num_items: int) -> Tensor:
    """Logarithm of counts plus one as a float32 tensor; zeros where there are no counts."""
    if item_counts is None:
        return torch.zeros(num_items)
    counts = torch.as_tensor(item_counts)
    if counts.shape != (num_items,):
        raise ValueError(f"item_counts must be ({num_items},), got {tuple(counts.shape)}")
    return torch.log1p(counts.to(torch.float32))
