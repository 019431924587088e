"""Hash embedding: a weighted sum of hashed rows, with learned weights for every id.

Svenstrup, Hansen, Winther, "Hash Embeddings for Efficient Word Representations", NeurIPS 2017,
https://arxiv.org/abs/1709.03933.

    x_i = P[g(i), 1] E[h_1(i)] + ... + P[g(i), k] E[h_k(i)]        E: m x e,  P: K x k
    x_i = the same of width e - k, then P[g(i)]                    (weights appended)

A Bloom embedding in which an id can turn down the rows that do not suit it. g is the id itself, or
one more hash if the weights are shared too. The h_j read the id, not g(i): ids that meet in g still
differ if their rows do.

The vectors of ids that read the same k rows span a k-dimensional space, in which each id with its
own weights is a point: k = 1 with g(i) = i is MEmCom with hashed buckets.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import MAX_HASHES, Sizes, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.bloom import consecutive_seeds
from memcom.embeddings.registry import register
from memcom.kernels import Read, Reading, Recipe

__all__ = ["HashEmbedding", "WeightedHashEmbedding"]


@register("hash-embedding")
class HashEmbedding(TableEmbedding):
    """``sum_j weights[g(i), j] * table[h_j(i)]``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors that come out, e; above ``num_hashes`` to append.
        num_buckets: Rows of the table of shared vectors, m.
        num_hashes: Rows that are summed, k.
        num_weights: Rows of the table of weights, K, shared by a hash; None for one per id.
        append: Put the k weights after the sum, which is then of width e - k.
        seed: The hashes h_j are seeded with ``seed``, ``seed + 1``, ..., and g with the next.
        **common: See `Common`.

    State: ``table`` (num_buckets, e), or narrower by ``num_hashes`` if weights are appended, drawn
    from N(0, 1 / k); ``weights`` (num_weights or n, num_hashes) drawn from N(0, 1); ``seeds``
    (num_hashes,) int64, one longer if the weights are shared.
    """

    card = Card(
        label="hash embedding",
        formula="P[i,1] E[h1(i)] + ... + P[i,k] E[hk(i)]",
        distinct="if weights differ",
        because="ids that read the same k rows differ by their k weights",
        use_when="If every id can afford k weights, and ids are in no useful order.",
        look=("hashing", 3),
        paper=Paper("Svenstrup et al.", 2017, "https://arxiv.org/abs/1709.03933"),
    )
    own_weights = ("weights",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        num_hashes: int = 2,
        num_weights: int | None = None,
        append: bool = False,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.num_hashes = whole("num_hashes", num_hashes, 1, MAX_HASHES)
        if num_weights is not None:
            whole("num_weights", num_weights, 1, num_embeddings)
        self.num_weights = num_weights
        self.append = append
        width = embedding_dim - num_hashes if append else embedding_dim
        if width < 1:
            raise ValueError(
                f"embedding_dim must be > {num_hashes} to append as many weights, "
                f"got {embedding_dim}"
            )
        self.table = self.new_table(num_buckets, width)
        self.weights = self.new_table(num_weights or num_embeddings, num_hashes)
        self.add_seeds(*consecutive_seeds(seed, num_hashes + (num_weights is not None)))
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read one row per hash, weighted by a row of the weights."""
        seeds = self.seeds.unbind()
        own = Digit(self.num_embeddings)
        g = own if self.num_weights is None else Digit(self.num_weights, seed=seeds[-1])
        digits = (Digit(self.num_buckets, seed=seed) for seed in seeds[: self.num_hashes])
        reads = tuple(Read("table", self.table, digit) for digit in digits)
        return Recipe(reads, weights=Read("weights", self.weights, g))

    def reading(self) -> Reading:
        """Return the recipe, with the weights beside it if asked to."""
        recipe = self.recipe()
        return Recipe((recipe, recipe.weights), "concat") if self.append else recipe

    def compose(self, ids: Tensor) -> Tensor:
        """Carry out the recipe, then append the weights if asked to."""
        vectors = super().compose(ids)
        if not self.append:
            return vectors
        read = self.recipe().weights
        assert read is not None
        weights = F.embedding(read.address(ids), self.weights, sparse=self.sparse)
        return torch.cat([vectors, weights], dim=-1)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw both tables, so that every coordinate, appended or not, has variance ``std**2``."""
        nn.init.normal_(self.table, std=self.num_hashes**-0.5)
        nn.init.normal_(self.weights, std=std)
        self.reset_seeds()

    def distinctness(self) -> Statement:
        """Return the statement for weights of every id, or for shared ones."""
        if self.num_weights is None:
            return self.card.statement
        return Statement("by chance", "two ids are equal if they read the same rows and weights")

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_hashes: int = 2,
        num_weights: int | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer every number of shared rows from 1 to ``num_embeddings``, beside the weights."""
        whole("num_hashes", num_hashes, 1, MAX_HASHES)
        own = f"every id stores {num_hashes} weights, so ratio < {embedding_dim / num_hashes:g}; "
        shared = f"the {num_weights} x {num_hashes} weights and one row are stored at the least"
        floor = own + "num_weights shares them" if num_weights is None else shared
        return Sizes.of("num_buckets", range(1, num_embeddings + 1), floor)


WeightedHashEmbedding = HashEmbedding  # the old name, for one release
