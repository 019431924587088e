"""Low rank: the table as a tall matrix times a wide one.

    x_i = A[i] B        A: n x r,  B: r x e

Every id has a row of A, but all vectors lie in one r-dimensional subspace. By the Eckart-Young
theorem the best such table is the truncated singular value decomposition; here both factors are
trained end to end. For many ids the ratio tends to e / r.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit, check_ids
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target, leading_directions, project
from memcom.embeddings.registry import register
from memcom.kernels import Read, Reading, Recipe, gather_rows

__all__ = ["LowRankEmbedding"]


@register("low-rank")
class LowRankEmbedding(CompressedEmbedding):
    """``factor[i] @ projection``.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        rank: Width of the stored factor, r, at most ``embedding_dim``.
        **common: See `Common`.

    State: ``factor`` (num_embeddings, rank) drawn from N(0, 1); ``projection``
    (rank, embedding_dim) drawn from N(0, 1 / rank).
    """

    card = Card(
        label="low rank",
        formula="A[i] B",
        distinct="generic",
        because="rows of A differ, and B has full rank",
        use_when="As the classical control; the ratio stays below embedding_dim.",
        look=("factors", 0),
    )

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, rank: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.rank = whole("rank", rank, 1, embedding_dim)
        self.factor = self.new_table(num_embeddings, rank)
        self.projection = self.new_table(rank, embedding_dim)
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Project the id's row of the factor."""
        return gather_rows(self.factor, ids, sparse=self.sparse) @ self.projection

    def reading(self) -> Reading:
        """Say the same as a row and the matrix that multiplies it."""
        own = Digit(self.num_embeddings)
        return Recipe((Read("factor", self.factor, own, projection=self.projection),))

    def row_tables(self) -> list[str]:
        """Name the factor."""
        return ["factor"]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the row of ``factor``, one for each id; ``projection`` is shared by all."""
        ids = check_ids(ids, self.num_embeddings)
        return {"factor": Digit(self.num_embeddings)(ids)}

    def fit_to(self, target: Target) -> None:
        """Take the truncated singular value decomposition, of rows times root of their weight."""
        directions = leading_directions(target, self.rank)
        project(target, directions, self.factor)
        self.projection.copy_(directions)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw both factors, so that a composed row has variance ``std**2``."""
        nn.init.normal_(self.factor, std=std)
        nn.init.normal_(self.projection, std=self.rank**-0.5)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every rank from 1 to ``embedding_dim``."""
        floor = "one number per id is stored at the least, so ratio < embedding_dim"
        return Sizes.of("rank", range(1, embedding_dim + 1), floor)
