"""Mixed radix and Chinese remainders: complementary partitions in more than two parts.

Shi, Mudigere, Naumov, Yang, KDD 2020, https://arxiv.org/abs/1909.02107, section 4: "generalized
quotient-remainder" and "Chinese remainder" partitions.

    x_i = T_1[a_1(i)]  (*, + or side by side)  ...  T_k[a_k(i)]

    mixed radix         a_j(i) = (i div (m_1 ... m_(j-1))) mod m_j
    Chinese remainder   a_j(i) = i mod m_j,    m_1 ... m_k pairwise coprime

Either way no two ids share all rows as long as m_1 * ... * m_k >= n. k = 2 in mixed radix is
quotient-remainder; radices 2^t are the binary code's "succession".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import nn
from typing_extensions import Unpack

from memcom.addresses import Digit, mixed_radix_digits
from memcom.embeddings._arguments import Sizes, choice, factor_std, fusion_widths, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.qr import OPERATIONS, complementary
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["ChineseRemainderEmbedding", "MixedRadixEmbedding"]

SHI = Paper("Shi et al.", 2020, "https://arxiv.org/abs/1909.02107")


@register("mixed-radix")
class MixedRadixEmbedding(TableEmbedding):
    """One table per digit of the id in the number system ``radices``.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors; ``"concat"`` splits it among the tables.
        radices: Rows of each table, least significant digit first; their product is at least n.
        operation: ``"mult"``, ``"add"`` or ``"concat"``.
        **common: See `Common`.

    Raises:
        ValueError: The radices multiply to less than ``num_embeddings``.

    State: ``tables.0``, ``tables.1``, ...: (radix, e). Drawn from zero-mean normals, so that the
    composed row has variance 1.
    """

    card = Card(
        label="mixed radix",
        formula="T1[a1(i)] * ... * Tk[ak(i)], a: digits of i",
        distinct="generic",
        because="no two ids share all digits",
        use_when="If the two tables of quotient–remainder are too large: three are smaller.",
        look=("partitions", 1),
        paper=SHI,
    )

    _sizes_name = "radices"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        radices: Sequence[int],
        operation: str = "mult",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.radices = [whole(self._sizes_name, m, 1) for m in radices]
        if math.prod(self.radices) < num_embeddings:
            raise ValueError(
                f"{self._sizes_name} must multiply to >= {num_embeddings}, "
                f"got {self.radices} with product {math.prod(self.radices)}"
            )
        self.operation = choice("operation", operation, tuple(OPERATIONS))
        widths = fusion_widths(embedding_dim, len(self.radices), OPERATIONS[operation])
        self.tables = nn.ParameterList(map(self.new_table, self.radices, widths))
        self.reset_parameters()

    def digits(self) -> list[Digit]:
        """Return the address of each table."""
        return mixed_radix_digits(self.radices)

    def recipe(self) -> Recipe:
        """Read one row of each table."""
        names = (f"tables.{j}" for j in range(len(self.tables)))
        reads = tuple(map(Read, names, self.tables, self.digits()))
        return Recipe(reads, OPERATIONS[self.operation])

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw all tables, so that a composed row has variance ``std**2``."""
        of_table = factor_std(std, len(self.tables), OPERATIONS[self.operation])
        for table in self.tables:
            nn.init.normal_(table, std=of_table)

    def distinctness(self) -> Statement:
        """Return the statement for the operation."""
        return complementary(self.operation, self.card)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer three digits: a first radix from about n^(1/3) up, two equal ones for the rest."""
        smallest = max(1, round(num_embeddings ** (1 / 3)))

        def radices(scale: int) -> dict[str, list[int]]:
            rest = -(-num_embeddings // scale)
            second = math.isqrt(rest - 1) + 1
            return {"radices": [scale, second, -(-rest // second)]}

        floor = "three tables of about the cube root of num_embeddings rows are the smallest triple"
        return Sizes(range(smallest, num_embeddings + 1), radices, floor)


@register("crt")
class ChineseRemainderEmbedding(MixedRadixEmbedding):
    """One table per residue of the id, modulo pairwise coprime numbers.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors; ``"concat"`` splits it among the tables.
        moduli: Rows of each table, pairwise coprime, with a product of at least n.
        operation: ``"mult"``, ``"add"`` or ``"concat"``.
        **common: See `Common`.

    Raises:
        ValueError: The moduli are not pairwise coprime, or multiply to less than
            ``num_embeddings``.

    State: as `MixedRadixEmbedding`.
    """

    card = Card(
        label="Chinese remainder",
        formula="T1[i mod m1] * ... * Tk[i mod mk]",
        distinct="generic",
        because="the moduli are coprime, with a product of n or more",
        use_when="As quotient–remainder, where neighbouring ids should differ in every table.",
        look=("partitions", 2),
        paper=SHI,
    )

    _sizes_name = "moduli"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        moduli: Sequence[int],
        operation: str = "mult",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, radices=moduli, operation=operation, **common
        )
        for a, b in itertools.combinations(moduli, 2):
            if math.gcd(a, b) != 1:
                raise ValueError(
                    f"moduli must be pairwise coprime, got {a} and {b} with "
                    f"common divisor {math.gcd(a, b)}"
                )

    def digits(self) -> list[Digit]:
        """Return the address of each table."""
        return [Digit(m) for m in self.radices]

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer two moduli: one from about sqrt(n) up, and the smallest coprime that suffices."""
        smallest = max(1, round(num_embeddings**0.5))

        def moduli(scale: int) -> dict[str, list[int]]:
            enough = -(-num_embeddings // scale)
            second = next(m for m in itertools.count(enough) if math.gcd(m, scale) == 1)
            return {"moduli": [scale, second]}

        floor = "two tables of about sqrt(num_embeddings) rows are the smallest pair"
        return Sizes(range(smallest, num_embeddings + 1), moduli, floor)
