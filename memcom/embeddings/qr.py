"""Quotient-remainder: two small tables whose pair of addresses is unique.

Shi, Mudigere, Naumov, Yang, "Compositional Embeddings Using Complementary Partitions for
Memory-Efficient Recommendation Systems", KDD 2020, https://arxiv.org/abs/1909.02107.

    x_i = R[i mod m]  (*, + or side by side)  Q[i div m]        R: m x e,  Q: ceil(n / m) x e

One of the tables is the larger one. On ids sorted by frequency it matters which: read by the
remainder, frequent ids differ in it; read by the quotient, as in the paper's code, whose argument
is ``num_collisions``, each row of it belongs to neighbours, and the most frequent ids share one.

No two ids share both rows. Side by side, distinct rows therefore give distinct vectors (the
paper's theorem); for + and * that holds only almost surely. The quotient is an integer division:
in floating point it goes wrong from id 2^24 on.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import mixed_radix_digits
from memcom.embeddings._arguments import Sizes, choice, factor_std, fusion_widths, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["QREmbedding"]

OPERATIONS = {"mult": "mult", "add": "sum", "concat": "concat"}
LARGE = ("remainder", "quotient")


def complementary(operation: str, card: Card) -> Statement:
    """Return the statement for complementary partitions (theorem 1 of the paper)."""
    if operation == "concat":
        return Statement("always", "no two ids share all rows, and each row has its place")
    return card.statement


@register("qr")
class QREmbedding(TableEmbedding):
    """``remainder[i mod m]`` combined with ``quotient[i div m]``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors; ``"concat"`` gives each table half of it.
        num_remainders: Rows of the remainder table, m.
        num_collisions: The paper's measure of size, in place of ``num_remainders``: the number of
            remainders, hence ceil(n / num_collisions) quotients and a ratio of about that number.
        operation: ``"mult"``, ``"add"`` or ``"concat"``.
        large: For a budget (`memcom.plan`): the table that is the larger one, ``"remainder"`` or
            ``"quotient"``. Where a size is given, the size decides.
        **common: See `Common`.

    Raises:
        ValueError: Not exactly one of the two sizes is given.

    State: ``remainder`` (m, e) and ``quotient`` (ceil(n / m), e), or half as wide for
    ``"concat"``. Drawn from zero-mean normals, so that the composed row has variance 1.
    """

    card = Card(
        label="quotient–remainder",
        formula="R[i mod m] * Q[i div m]",
        distinct="generic",
        because="the pair of rows is unique; always for concat, generic for products",
        use_when="As a strong default: no two ids collide, lookups are fast, and ratios are large.",
        look=("partitions", 0),
        note="The larger table of qr is read by the remainder; that of qr(large=quotient) by the "
        "quotient, as in the paper's code.",
        paper=Paper("Shi et al.", 2020, "https://arxiv.org/abs/1909.02107"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_remainders: int | None = None,
        num_collisions: int | None = None,
        operation: str = "mult",
        large: str = "remainder",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        choice("large", large, LARGE)
        if (num_remainders is None) == (num_collisions is None):
            raise ValueError(
                "give one of num_remainders and num_collisions, "
                f"got {num_remainders} and {num_collisions}"
            )
        given = "num_collisions" if num_remainders is None else "num_remainders"
        size = num_collisions if num_remainders is None else num_remainders
        assert size is not None
        self.num_remainders = whole(given, size, 1, num_embeddings)
        self.num_quotients = -(-num_embeddings // self.num_remainders)
        self.operation = choice("operation", operation, tuple(OPERATIONS))
        widths = fusion_widths(embedding_dim, 2, OPERATIONS[operation])
        self.remainder = self.new_table(self.num_remainders, widths[0])
        self.quotient = self.new_table(self.num_quotients, widths[1])
        self.reset_parameters()

    def recipe(self) -> Recipe:
        """Read the remainder's row and the quotient's."""
        low, high = mixed_radix_digits([self.num_remainders, self.num_quotients])
        reads = (Read("remainder", self.remainder, low), Read("quotient", self.quotient, high))
        return Recipe(reads, OPERATIONS[self.operation])

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw both tables, so that a composed row has variance ``std**2``."""
        for table in (self.remainder, self.quotient):
            nn.init.normal_(table, std=factor_std(std, 2, OPERATIONS[self.operation]))

    def distinctness(self) -> Statement:
        """Return the statement for the operation."""
        return complementary(self.operation, self.card)

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        large: str = "remainder",
        **options: Any,
    ) -> Sizes:
        """Offer large tables from about sqrt(n) rows, where both are smallest, to n.

        A large table of quotients has ceil(n / 1), ceil(n / 2), ... rows and no number in between,
        so a budget of n / 4 rows is met by ceil(n / 5).
        """
        smallest = max(1, round(num_embeddings**0.5))
        floor = "two tables of about sqrt(num_embeddings) rows are the smallest pair"
        if choice("large", large, LARGE) == "remainder":
            return Sizes.of("num_remainders", range(smallest, num_embeddings + 1), floor)
        return Sizes(range(-smallest, 0), lambda scale: {"num_collisions": -scale}, floor)
