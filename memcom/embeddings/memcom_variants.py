"""Two ablations of MEmCom: does every id need a weight, and are one row and one weight enough?

MEmCom is Pansare et al., MLSys 2022, https://arxiv.org/abs/2203.10135. Neither variant is in that
paper; they are this kit's, to measure what its parts do.

    MEmCom        x_i = U[i mod m] * V[i]                      n numbers besides U
    scalar-qr     x_i = U[i mod m] * V[i div m]                ceil(n / m)
    k-memcom      x_i = sum_j V[i, j] * U[h_j(i)]              k n

The pair (i mod m, i div m) is already unique, so scalar-qr tells ids of one bucket apart as MEmCom
does, at nearly no cost; but ids with the same quotient share one weight. k-memcom is a hash
embedding (https://arxiv.org/abs/1709.03933) whose weights are not hashed: vectors of one bucket no
longer lie on a line, but the ratio stays below e / k.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import Digit, mixed_radix_digits
from memcom.embeddings._arguments import MAX_HASHES, Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["KMEmComEmbedding", "ScalarQREmbedding"]


NOTE = "scalar-qr and k-memcom are ablations of this kit's own; no paper has them."


@register("scalar-qr")
class ScalarQREmbedding(TableEmbedding):
    """``table[i mod num_buckets] * multiplier[i div num_buckets]``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors.
        num_buckets: Rows of the shared table, m.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim) drawn from N(0, 1); ``multiplier``
    (ceil(num_embeddings / num_buckets), 1), 1 to begin with.
    """

    card = Card(
        label="scalar QR",
        formula="U[i mod m] V[i div m], V: one number per quotient",
        distinct="if weights differ",
        because="quotients differ within a bucket",
        use_when="As an ablation of this kit's own: what MEmCom's weight per id is worth.",
        look=("memcom", 3),
        paper=Paper("Pansare et al.", 2022, "https://arxiv.org/abs/2203.10135"),
        note=NOTE,
    )
    own_weights = ("multiplier",)

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, num_buckets: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.table = self.new_table(num_buckets, embedding_dim)
        self.num_quotients = -(-num_embeddings // num_buckets)
        self.multiplier = self.new_table(self.num_quotients, 1)
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Multiply the remainder's row by the quotient's weight."""
        low, high = mixed_radix_digits([self.num_buckets, self.num_quotients])
        reads = (Read("table", self.table, low), Read("multiplier", self.multiplier, high))
        return Recipe(reads, "mult")

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); multipliers are 1."""
        nn.init.normal_(self.table, std=std)
        nn.init.ones_(self.multiplier)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer shared tables from sqrt(n / e) rows, where all is smallest, to n."""
        smallest = max(1, round((num_embeddings / embedding_dim) ** 0.5))
        floor = "fewer rows would need more multipliers than they save"
        return Sizes.of("num_buckets", range(smallest, num_embeddings + 1), floor)


@register("k-memcom")
class KMEmComEmbedding(TableEmbedding):
    """The sum of ``num_hashes`` shared rows, each times a weight of the id.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors.
        num_buckets: Rows of the shared table, m.
        num_hashes: Rows read per id, k. The first is i mod m, the others are hashed.
        seed: Hash number j = 1, 2, ... is seeded with ``seed + j``.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim) drawn from N(0, 1 / num_hashes); ``multiplier``
    (num_embeddings, num_hashes), 1 to begin with; ``seeds`` (num_hashes - 1,) int64.
    """

    card = Card(
        label="k-MEmCom",
        formula="V[i,1] U[i mod m] + V[i,2] U[h(i)]",
        distinct="if weights differ",
        because="ids that read the same k rows differ by their k weights",
        use_when="As an ablation of this kit's own: what more rows and weights per id are worth.",
        look=("memcom", 2),
        paper=Paper("Svenstrup et al.", 2017, "https://arxiv.org/abs/1709.03933"),
        note=NOTE,
    )
    own_weights = ("multiplier",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        num_hashes: int = 2,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.num_hashes = whole("num_hashes", num_hashes, 2, MAX_HASHES)
        self.table = self.new_table(num_buckets, embedding_dim)
        self.multiplier = self.new_table(num_embeddings, num_hashes)
        self.add_seeds(*range(seed + 1, seed + num_hashes))
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Sum weighted rows of one table."""
        hashed = (Digit(self.num_buckets, seed=seed) for seed in self.seeds.unbind())
        digits = [Digit(self.num_buckets), *hashed]
        own = Read("multiplier", self.multiplier, Digit(self.num_embeddings))
        return Recipe(tuple(Read("table", self.table, d) for d in digits), "sum", weights=own)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table, so that a composed row has variance ``std**2``; multipliers are 1."""
        nn.init.normal_(self.table, std=std * self.num_hashes**-0.5)
        nn.init.ones_(self.multiplier)
        self.reset_seeds()

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, num_hashes: int = 2, **options: Any
    ) -> Sizes:
        """Offer every number of shared rows from 1 to ``num_embeddings``."""
        whole("num_hashes", num_hashes, 2, MAX_HASHES)
        floor = f"every id stores {num_hashes} weights, so ratio < {embedding_dim / num_hashes:g}"
        return Sizes.of("num_buckets", range(1, num_embeddings + 1), floor)
