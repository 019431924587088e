"""MEmCom: a shared row, times one weight per id.

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
from memcom.embeddings._arguments import Sizes, choice, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["MEmComBiasEmbedding", "MEmComEmbedding"]

MULTIPLIERS = {"ones": (1.0, 0.0), "normal": (0.0, 1.0)}  # mean and spread to begin with
PANSARE = Paper("Pansare et al.", 2022, "https://arxiv.org/abs/2203.10135")


@register("memcom")
class MEmComEmbedding(TableEmbedding):
    """``table[i mod num_buckets] * multiplier[i]``, with ``+ bias[i]`` if asked for.

    >>> import torch
    >>> import memcom
    >>> layer = memcom.MEmComEmbedding(1000, 16, num_buckets=50)
    >>> layer
    MEmComEmbedding(1000, 16, nbytes=7200, compression_ratio=8.89)
    >>> layer(torch.tensor([3, 53])).shape
    torch.Size([2, 16])
    >>> layer.addresses(torch.tensor([3, 53]))
    {'table': tensor([3, 3]), 'multiplier': tensor([ 3, 53])}

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_buckets: Rows of the shared table, m.
        bias: Also add one number per id to every coordinate.
        multiplier_init: ``"ones"``: the layer starts as the hashing trick, and ids of a bucket are
            told apart by their first gradients. ``"normal"``: they start apart, in length and sign.
            The paper does not say which; experiments/initial-multipliers.toml finds no difference.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim) drawn from N(0, 1); ``multiplier``
    (num_embeddings, 1), 1 or drawn from N(0, 1); ``bias`` (num_embeddings, 1), 0 to begin with.
    """

    card = Card(
        label="MEmCom",
        formula="U[i mod m] V[i], V: one number per id",
        distinct="if weights differ",
        because="a bucket's vectors are multiples of one row: x_i - x_j = (V_i - V_j) U_h",
        use_when="At ratios below embedding_dim: as fast as hashing, and every id has a weight.",
        look=("memcom", 0),
        paper=PANSARE,
    )
    own_weights = ("multiplier", "bias")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        bias: bool = False,
        multiplier_init: str = "ones",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.multiplier_init = choice("multiplier_init", multiplier_init, tuple(MULTIPLIERS))
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.table = self.new_table(num_buckets, embedding_dim)
        self.multiplier = self.new_table(num_embeddings, 1)
        self.bias = self.new_table(num_embeddings, 1) if bias else None
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Multiply the shared row by the id's weight, and add its bias."""
        own = Digit(self.num_embeddings)
        reads = (
            Read("table", self.table, Digit(self.num_buckets)),
            Read("multiplier", self.multiplier, own),
        )
        shift = None if self.bias is None else Read("bias", self.bias, own)
        return Recipe(reads, "mult", shift)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2), multipliers as ``multiplier_init`` says; biases 0."""
        nn.init.normal_(self.table, std=std)
        nn.init.normal_(self.multiplier, *MULTIPLIERS[self.multiplier_init])
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def distinctness(self) -> Statement:
        """Return the statement with or without biases."""
        return (self.card if self.bias is None else MEmComBiasEmbedding.card).statement

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bias: bool = False, **options: Any
    ) -> Sizes:
        """Offer every number of shared rows from 1 to ``num_embeddings``."""
        private = "weight and bias" if bias else "weight"
        ceiling = embedding_dim / (2 if bias else 1)
        floor = f"every id stores its own {private}, so ratio < {ceiling:g}"
        return Sizes.of("num_buckets", range(1, num_embeddings + 1), floor)


@register("memcom-bias")
class MEmComBiasEmbedding(MEmComEmbedding):
    """MEmCom with the bias on: ``table[i mod num_buckets] * multiplier[i] + bias[i]``."""

    card = Card(
        label="MEmCom + bias",
        formula="U[i mod m] V[i] + W[i]",
        distinct="if weights differ",
        because="or the biases do: x_i - x_j = (V_i - V_j) U_h + (W_i - W_j) 1",
        use_when="If an additive number per id helps; the ratio stays below embedding_dim / 2.",
        look=("memcom", 1),
        paper=PANSARE,
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        bias: bool = True,
        multiplier_init: str = "ones",
        **common: Unpack[Common],
    ) -> None:
        own: dict[str, Any] = {"bias": bias, "multiplier_init": multiplier_init}
        super().__init__(num_embeddings, embedding_dim, num_buckets=num_buckets, **own, **common)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bias: bool = True, **options: Any
    ) -> Sizes:
        """Offer every number of shared rows from 1 to ``num_embeddings``."""
        return super().sizes(num_embeddings, embedding_dim, bias=bias)
