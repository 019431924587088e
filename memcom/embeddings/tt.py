"""TT-Rec: the table as a train of three small tensors.

Yin, Acun, Liu, Wu, "TT-Rec: Tensor Train Compression for Deep Learning Recommendation Models",
MLSys 2021, https://arxiv.org/abs/2101.11714.

    n <= m1 m2 m3,  e = n1 n2 n3,   i -> digits (i1, i2, i3),  coordinate j -> (j1, j2, j3)
    x_i[j] = G1[i1][j1, :]  G2[i2][:, j2, :]  G3[i3][:, j3]
             1 x R          R x R             R x 1

A vector is a matrix product along the id's digits. Rank 1 is mixed radix "mult" in which each table
holds only a part of the coordinates; a high enough rank holds any table. Every stored number
belongs to many ids.

Digits are read least significant first: on ids sorted by frequency, neighbours differ in the first
core. Coordinates are read row by row: j = (j1 n2 + j2) n3 + j3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, mixed_radix_digits
from memcom.embeddings._arguments import Sizes, divisors, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import dedup, gather_rows, tensor_train

__all__ = ["TTEmbedding"]


@register("tt")
class TTEmbedding(CompressedEmbedding):
    """``cores.0[i1] @ cores.1[i2] @ cores.2[i3]``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        rank: Width of both bonds between the cores, R.
        row_factors: Three numbers with a product of at least n; None for `row_factors`.
        dim_factors: Three numbers with product e; None for `dim_factors`.
        **common: See `Common`.

    Raises:
        ValueError: There are not three factors, or their product does not fit.

    State: ``cores.0`` (m1, n1 R), ``cores.1`` (m2, R n2 R), ``cores.2`` (m3, R n3): a row holds
    the slice of one digit. Drawn from N(0, R^(-2/3)): a coordinate is a sum of R^2 products of
    three such numbers, and so has variance 1.
    """

    card = Card(
        label="tensor train",
        formula="G1[i1] G2[i2] G3[i3], matrix products over digits of i",
        distinct="generic",
        because="no two ids share all three slices",
        use_when="For very large tables at high ratios, where slow lookups are acceptable.",
        look=("factors", 1),
        paper=Paper("Yin et al.", 2021, "https://arxiv.org/abs/2101.11714"),
        slow="multiplies matrices for every id: two products of slices",
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        rank: int,
        row_factors: Sequence[int] | None = None,
        dim_factors: Sequence[int] | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.rank = whole("rank", rank, 1)
        rows = default_row_factors(num_embeddings) if row_factors is None else row_factors
        dims = default_dim_factors(embedding_dim) if dim_factors is None else dim_factors
        self.row_factors = [whole("row_factors", m, 1) for m in rows]
        self.dim_factors = [whole("dim_factors", m, 1) for m in dims]
        if len(self.row_factors) != 3 or math.prod(self.row_factors) < num_embeddings:
            raise ValueError(
                f"row_factors must be three numbers that multiply to >= {num_embeddings}, "
                f"got {self.row_factors}"
            )
        if len(self.dim_factors) != 3 or math.prod(self.dim_factors) != embedding_dim:
            raise ValueError(
                f"dim_factors must be three numbers that multiply to {embedding_dim}, "
                f"got {self.dim_factors}"
            )
        bonds = zip([1, rank, rank], self.dim_factors, [rank, rank, 1], strict=True)
        widths = [left * width * right for left, width, right in bonds]
        self.cores = nn.ParameterList(map(self.new_table, self.row_factors, widths))
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Multiply the slices of ids: compiled where no gradient is wanted, else from the left."""
        flat = ids.reshape(-1)
        vectors = tensor_train(flat, list(self.cores), self.dim_factors, self.rank)
        if vectors is not None:
            return vectors.view(*ids.shape, self.embedding_dim)
        return dedup(ids, self._from_the_left)

    def _from_the_left(self, ids: Tensor) -> Tensor:
        """Multiply the slices of an id from left to right.

        The first two slices make the id's *head*, which depends on ``ids % (m1 m2)`` alone. For at
        least as many ids as heads, all heads are computed once, as one dense product, instead of
        fetching R n2 R numbers of the middle core for every id.
        """
        m1, m2, _ = self.row_factors
        n1, n2, n3 = self.dim_factors
        first, middle, last = self.cores
        digits = mixed_radix_digits(self.row_factors)
        if torch.compiler.is_compiling() or ids.numel() < m1 * m2:
            left = gather_rows(first, digits[0](ids), sparse=self.sparse)
            right = gather_rows(middle, digits[1](ids), sparse=self.sparse)
            heads = left.unflatten(-1, (n1, self.rank)) @ right.unflatten(-1, (self.rank, -1))
        else:
            slices = torch.arange(max(m1, m2), device=ids.device)
            left = gather_rows(first, slices[:m1], sparse=self.sparse).view(m1 * n1, self.rank)
            right = gather_rows(middle, slices[:m2], sparse=self.sparse).view(m2, self.rank, -1)
            heads = F.embedding(ids % (m1 * m2), (left @ right).view(m2 * m1, -1))
        tails = gather_rows(last, digits[2](ids), sparse=self.sparse).unflatten(-1, (-1, n3))
        return (heads.reshape(*ids.shape, n1 * n2, self.rank) @ tails).flatten(-2)

    def row_tables(self) -> list[str]:
        """Name the cores: a slice is a row."""
        return [f"cores.{j}" for j in range(len(self.cores))]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the slice of each core."""
        ids = check_ids(ids, self.num_embeddings)
        digits = mixed_radix_digits(self.row_factors)
        return {f"cores.{j}": digit(ids) for j, digit in enumerate(digits)}

    def materialize(self, chunk_size: int = 4096) -> Tensor:
        """Return the full table, in small chunks: an id reads far more numbers than it has."""
        return super().materialize(chunk_size)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw all cores alike, so that the *product* has variance ``std**2``."""
        for core in self.cores:
            nn.init.normal_(core, std=(std / self.rank) ** (1 / 3))

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        row_factors: Sequence[int] | None = None,
        dim_factors: Sequence[int] | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer every rank from 1 to one that holds any table."""
        rows = default_row_factors(num_embeddings) if row_factors is None else row_factors
        dims = default_dim_factors(embedding_dim) if dim_factors is None else dim_factors
        enough = max(rows[0] * dims[0], rows[-1] * dims[-1])
        floor = "three cores of rank 1 are the smallest train"
        return Sizes.of("rank", range(1, enough + 1), floor)


def default_row_factors(num_embeddings: int) -> list[int]:
    """Three near-equal numbers with a product of at least ``num_embeddings``, the middle least.

    The middle core has two bonds, so its rows are the largest.
    """
    middle = max(1, round(num_embeddings ** (1 / 3)))
    middle -= middle**3 > num_embeddings  # the exact floor of the cube root
    rest = -(-num_embeddings // middle)
    first = math.isqrt(rest - 1) + 1
    return [first, middle, -(-rest // first)]


def default_dim_factors(embedding_dim: int) -> list[int]:
    """The three factors of ``embedding_dim`` with the least sum, the smallest in the middle."""
    pairs = itertools.combinations_with_replacement(divisors(embedding_dim), 2)
    triples = ((a, b, embedding_dim // (a * b)) for a, b in pairs if embedding_dim % (a * b) == 0)
    low, mid, high = sorted(min(triples, key=sum))
    return [mid, low, high]
