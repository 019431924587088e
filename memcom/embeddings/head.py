"""Private rows for the most frequent ids, over any compressor for the rest.

After Zhang et al., "Model Size Reduction Using Frequency Based Double Hashing for Recommender
Systems", RecSys 2020, https://arxiv.org/abs/2007.14523, with any compressor in the place of the
two hashes.

    x_i = P[i]            if i < K        P: K x e
    x_i = tail(i - K)     otherwise

On ids sorted by frequency a small K takes most of the lookups out of every collision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from memcom.addresses import Digit, check_ids, is_traced
from memcom.embeddings._arguments import whole
from memcom.embeddings._card import Statement
from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.kernels import Ranges, Read, Reading, Recipe, gather_rows

__all__ = ["HeadEmbedding"]


class HeadEmbedding(CompressedEmbedding):
    """The first ``head`` ids have rows of their own; ``tail`` stands for all others.

    ``memcom.build(name, n, e, ratio=16, head=1000)`` gives one whose bytes meet the ratio.

    Args:
        tail: The compressor for ids from ``head`` on: its id 0 is id ``head`` here.
        head: Number of private rows, K.
        padding_idx: This id gives zeros and gets no gradient; may be negative.

    State: ``private`` (head, embedding_dim), drawn from N(0, 1); the tail's state as ``tail.*``.

    The tail is called with its own ids only, which a schedule may count. In graphs, whose shapes
    are fixed, both parts are read for every id and one is thrown away, with gradient 0.
    """

    def __init__(
        self, tail: CompressedEmbedding, head: int, *, padding_idx: int | None = None
    ) -> None:
        nothing = tail(torch.empty(0, dtype=torch.int64, device=tail.device))
        super().__init__(
            tail.num_embeddings + whole("head", head, 1),
            tail.embedding_dim,
            padding_idx=padding_idx,
            sparse=tail.sparse,
            device=nothing.device,
            dtype=nothing.dtype,
        )
        self.head = head
        self.tail = tail
        self.private = self.new_table(head, tail.embedding_dim)
        nn.init.normal_(self.private)

    def compose(self, ids: Tensor) -> Tensor:
        """Read the private row of a head id, the tail's vector of any other."""
        own = ids < self.head
        if is_traced(ids):  # shapes are fixed
            private = gather_rows(self.private, ids % self.head, sparse=self.sparse)
            return torch.where(own.unsqueeze(-1), private, self.tail(self._rest(ids)))
        rest: Tensor = self.tail(ids[~own] - self.head)
        private = gather_rows(self.private, ids[own], sparse=self.sparse).to(rest.dtype)
        vectors = rest.new_empty(*ids.shape, self.embedding_dim)
        vectors[own] = private
        vectors[~own] = rest
        return vectors

    def reading(self) -> Reading | None:
        """Say the same as two ranges of ids."""
        tail = self.tail.reading_inside()
        if tail is None:
            return None
        private = Recipe((Read("private", self.private, Digit(self.head)),))
        return Ranges(((self.head, private), (self.tail.num_embeddings, tail)))

    def _rest(self, ids: Tensor) -> Tensor:
        # Head ids wrap round the tail, which spreads the reads that are thrown away.
        return (ids - self.head) % self.tail.num_embeddings

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the tail's addresses, prefixed by ``tail.``, and ``head``: min(i, head).

        ``head`` is a pseudo-table of ``head + 1`` rows: a private row, or "in the tail". For head
        ids the tail's addresses are those of reads that are thrown away, or not done at all.
        """
        ids = check_ids(ids, self.num_embeddings)
        rows = {"head": ids.clamp(max=self.head)}
        return rows | {f"tail.{k}": v for k, v in self.tail.addresses(self._rest(ids)).items()}

    def row_tables(self) -> list[str]:
        """Name the private rows; the tail names its own."""
        return ["private"]

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Let the tail learn from its ids."""
        self.tail.learn(
            counts[self.head :], lambda width: pretrained(width)[self.head :], seed=seed
        )

    def fit_to(self, target: Target) -> None:
        """Copy the rows of the head, and fit the tail."""
        self.private.copy_(target.table[: self.head])
        self.tail.fit_to(target.part(slice(self.head, None)))

    def freeze(self) -> CompressedEmbedding:
        """Return the same private rows over the frozen tail."""
        tail = self.tail.freeze()
        if tail is self.tail:
            return self
        frozen = HeadEmbedding(tail, self.head, padding_idx=self.padding_idx)
        frozen.private = nn.Parameter(self.private.detach().clone())
        return frozen

    def resize_num_embeddings(self, num_embeddings: int) -> HeadEmbedding:
        """Return the same private rows over a larger tail."""
        whole("num_embeddings", num_embeddings, self.num_embeddings)
        tail = self.tail.resize_num_embeddings(num_embeddings - self.head)
        larger = HeadEmbedding(tail, self.head, padding_idx=self.padding_idx)
        larger.private = nn.Parameter(self.private.detach().clone())
        return larger.train(self.training)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Reset the tail, and draw the private rows from N(0, std^2)."""
        self.tail.reset_parameters(std)
        nn.init.normal_(self.private, std=std)

    def distinctness(self) -> Statement:
        """Return the tail's statement, which the private rows do not change."""
        tail = self.tail.distinctness()
        first = f"the first {self.head:,} ids have their own rows; of the others, {tail.because}"
        return Statement(tail.distinct, first)
