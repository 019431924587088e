"""The hashing trick: many ids, few rows.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009,
https://arxiv.org/abs/0902.2206; two hashes as in Zhang et al., "Model Size Reduction Using
Frequency Based Double Hashing for Recommender Systems", RecSys 2020,
https://arxiv.org/abs/2007.14523.

    hash          x_i = U[h(i)]
    double hash   x_i = U[h1(i)] + U[h2(i)],   or side by side

Ids that share a row are one to the model. With one hash into m rows almost every id shares; with
two, a pair of ids shares both rows with probability of about 2 / m^2.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import Sizes, choice, factor_std, fusion_widths, whole
from memcom.embeddings._card import Card, Paper, Statement, fewer_codes
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["DoubleHashEmbedding", "HashingTrickEmbedding"]


@register("hash")
class HashingTrickEmbedding(TableEmbedding):
    """One hashed row: U[h(i)].

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        num_buckets: Rows of the table, m.
        seed: Seed of the hash, in ``[0, 2**32)``; None for the plain remainder i mod m, which on
            ids sorted by frequency gives the m most frequent ids a row each.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim), drawn from N(0, 1); with a seed also
    ``seeds`` (1,) int64.
    """

    card = Card(
        label="hashing trick",
        formula="U[h(i)]",
        distinct="never",
        because="m rows for n > m ids",
        use_when="As the simplest method; with seed=None, frequent ids rarely share a row.",
        look=("hashing", 0),
        paper=Paper("Weinberger et al.", 2009, "https://arxiv.org/abs/0902.2206"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        seed: int | None = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.seed = seed
        self.table = self.new_table(num_buckets, embedding_dim)
        if seed is not None:
            self.add_seeds(seed)
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read one row."""
        seed = None if self.seed is None else self.seeds[0]
        return Recipe((Read("table", self.table, Digit(self.num_buckets, seed=seed)),))

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2)."""
        nn.init.normal_(self.table, std=std)
        self.reset_seeds()

    def distinctness(self) -> Statement:
        """Return the statement for the number of rows and the kind of hash."""
        hashed = Statement("by chance", "two ids are equal if their hashes are")
        own = Statement("always", "every id has a row")
        otherwise = own if self.seed is None else hashed
        return fewer_codes(self.num_buckets, self.num_embeddings, "rows", otherwise)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of rows from 1 to ``num_embeddings``."""
        rows = range(1, num_embeddings + 1)
        return Sizes.of("num_buckets", rows, "one row is stored at the least")


@register("double-hash")
class DoubleHashEmbedding(TableEmbedding):
    """Two hashed rows of one table, summed or side by side.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors; even for ``"concat"``.
        num_buckets: Rows of the table, m.
        fusion: ``"sum"``, or ``"concat"`` of two rows of half the width.
        seed: The two hashes are seeded with ``seed`` and ``seed + 1``.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim), or half as wide for ``"concat"``; ``seeds``
    (2,) int64. Drawn so that the composed row has variance 1.
    """

    card = Card(
        label="double hash",
        formula="U[h1(i)] + U[h2(i)]",
        distinct="by chance",
        because="a pair shares both rows with probability of about 2 / m^2",
        use_when="If rows may be shared but few pairs of ids may be equal, at any ratio.",
        look=("hashing", 1),
        paper=Paper("Zhang et al.", 2020, "https://arxiv.org/abs/2007.14523"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        fusion: str = "sum",
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.fusion = choice("fusion", fusion, ("sum", "concat"))
        if fusion == "concat" and embedding_dim % 2:
            raise ValueError(f"embedding_dim must be even to concatenate, got {embedding_dim}")
        self.table = self.new_table(num_buckets, fusion_widths(embedding_dim, 2, fusion)[0])
        self.add_seeds(seed, seed + 1)
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read two rows of one table."""
        digits = (Digit(self.num_buckets, seed=seed) for seed in self.seeds.unbind())
        return Recipe(tuple(Read("table", self.table, d) for d in digits), self.fusion)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table, so that a composed row has variance ``std**2``."""
        nn.init.normal_(self.table, std=factor_std(std, 2, self.fusion))
        self.reset_seeds()

    def distinctness(self) -> Statement:
        """Return the statement for the fusion: a sum forgets the order of the rows."""
        m, n = self.num_buckets, self.num_embeddings
        if self.fusion == "sum":
            return fewer_codes(m * (m + 1) // 2, n, "pairs of rows", self.card.statement)
        chance = "a pair shares both rows, in their order, with probability of about 1 / m^2"
        return fewer_codes(m * m, n, "pairs of rows", Statement("by chance", chance))

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of rows from 1 to ``num_embeddings``."""
        rows = range(1, num_embeddings + 1)
        return Sizes.of("num_buckets", rows, "one row is stored at the least")
