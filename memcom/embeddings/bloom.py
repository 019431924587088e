"""Bloom embedding: the sum of several hashed rows of one table.

Serrà and Karatzoglou, "Getting Deep Recommenders Fit: Bloom Embeddings for Sparse Binary
Input/Output Networks", RecSys 2017, https://arxiv.org/abs/1706.03993.

    x_i = U[h_1(i)] + ... + U[h_k(i)]        U: m x e

A Bloom filter whose bits are rows: each hash alone collides, all of them at once hardly ever. Two
ids are one to the model if they read the same k rows in any order, which happens to a pair with
probability of about k! / m^k; otherwise they share a part of their vectors. No id stores a number,
so the table may be arbitrarily small.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import MAX_HASHES, Sizes, whole
from memcom.embeddings._card import Card, Paper, Statement, fewer_codes
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["BloomEmbedding"]


@register("bloom")
class BloomEmbedding(TableEmbedding):
    """``table[h_1(i)] + ... + table[h_k(i)]``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_buckets: Rows of the table, m.
        num_hashes: Rows that are summed, k. One is the hashing trick, two double hashing.
        seed: The hashes are seeded with ``seed``, ``seed + 1``, ... (modulo 2^32).
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim), drawn so that the composed row has variance 1;
    ``seeds`` (num_hashes,) int64.
    """

    card = Card(
        label="Bloom",
        formula="U[h1(i)] + ... + U[hk(i)]",
        distinct="by chance",
        because="a pair shares all k rows with probability of about k! / m^k",
        use_when="For very small tables: k hashes tell ids apart without a number per id.",
        look=("hashing", 2),
        paper=Paper("Serrà and Karatzoglou", 2017, "https://arxiv.org/abs/1706.03993"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        num_hashes: int = 4,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.num_hashes = whole("num_hashes", num_hashes, 1, MAX_HASHES)
        self.table = self.new_table(num_buckets, embedding_dim)
        self.add_seeds(*consecutive_seeds(seed, num_hashes))
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read one row of the same table per hash."""
        digits = (Digit(self.num_buckets, seed=seed) for seed in self.seeds.unbind())
        return Recipe(tuple(Read("table", self.table, digit) for digit in digits))

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table, so that a composed row has variance ``std**2``.

        Two hashes of an id meet in one row with probability 1 / m, and a row that is read twice
        counts fourfold: k reads have k + k (k - 1) / m times the variance of a row.
        """
        reads = self.num_hashes
        rows = reads + reads * (reads - 1) / self.num_buckets
        nn.init.normal_(self.table, std=std * rows**-0.5)
        self.reset_seeds()

    def distinctness(self) -> Statement:
        """Return the statement for the number of rows and hashes."""
        codes = math.comb(self.num_buckets + self.num_hashes - 1, self.num_hashes)
        return fewer_codes(codes, self.num_embeddings, "sets of rows", self.card.statement)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of rows from 1 to ``num_embeddings``."""
        rows = range(1, num_embeddings + 1)
        return Sizes.of("num_buckets", rows, "one row is stored at the least")


def consecutive_seeds(seed: int, count: int) -> list[int]:
    """Return ``count`` seeds from ``seed`` on, modulo 2^32."""
    whole("seed", seed, 0, 2**32 - 1)
    return [(seed + j) % 2**32 for j in range(count)]
