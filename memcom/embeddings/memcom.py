"""MEmCom: a shared row, times one weight of the id's own.

Pansare et al., "Learning Compressed Embeddings for On-Device Inference", MLSys 2022,
https://arxiv.org/abs/2203.10135.

    x_i = U[i mod m] * V[i]  (+ W[i])        U: m x e,  V, W: n x 1

A hashing trick whose collisions are undone by a single trainable number per id. It is
quotient-remainder "mult" with two twists: the second address is the id itself, and the second
table is one column wide. On ids sorted by frequency, i mod m gives each of the m most frequent ids
a row to itself among the frequent.

Ids that share a row lie on one line through the origin (with the bias: in one plane), so they can
differ in length and sign, not in direction. And since every id stores b = 1 (bias: 2) numbers, the
compression ratio stays below e / b however few rows U has.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.kernels import Read, Recipe


class MEmComEmbedding(TableEmbedding):
    """``table[i mod num_buckets] * multiplier[i]``, with ``+ bias[i]`` if asked for.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_buckets: Rows of the shared table, m.
        bias: Also add one number of the id's own to every coordinate.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim) drawn from N(0, 1); ``multiplier``
    (num_embeddings, 1), 1 to begin with, so that the layer starts as the hashing trick; ``bias``
    (num_embeddings, 1), 0 to begin with. The paper's own initial values are not known.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        bias: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.table = self.new_table(num_buckets, embedding_dim)
        self.multiplier = self.new_table(num_embeddings, 1)
        self.bias = self.new_table(num_embeddings, 1) if bias else None
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Shared row times own weight, plus own bias."""
        own = Digit(self.num_embeddings)
        reads = (
            Read("table", self.table, Digit(self.num_buckets)),
            Read("multiplier", self.multiplier, own),
        )
        shift = None if self.bias is None else Read("bias", self.bias, own)
        return Recipe(reads, "mult", shift)

    def reset_parameters(self, std: float = 1.0, multiplier_std: float = 0.0) -> None:
        """Draw the table; multipliers around 1, biases 0.

        Args:
            std: Standard deviation of a composed coordinate.
            multiplier_std: Spread of the multipliers around 1. At 0 all ids of a bucket start
                equal and are told apart by their first gradients; above it they start apart.
        """
        nn.init.normal_(self.table, std=std * (1 + multiplier_std**2) ** -0.5)
        nn.init.normal_(self.multiplier, mean=1.0, std=multiplier_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bias: bool = False, **options: Any
    ) -> Sizes:
        """Every number of shared rows from 1 to ``num_embeddings``."""
        private = "weight and bias" if bias else "weight"
        ceiling = embedding_dim / (2 if bias else 1)
        return Sizes(
            range(1, num_embeddings + 1),
            lambda scale: {"num_buckets": scale},
            f"every id stores its own {private}, so ratio < {ceiling:g}",
        )


class MEmComBiasEmbedding(MEmComEmbedding):
    """MEmCom with the bias on: ``table[i mod num_buckets] * multiplier[i] + bias[i]``."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        bias: bool = True,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, num_buckets=num_buckets, bias=bias, **common
        )

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bias: bool = True, **options: Any
    ) -> Sizes:
        """Every number of shared rows from 1 to ``num_embeddings``."""
        return super().sizes(num_embeddings, embedding_dim, bias=bias)
