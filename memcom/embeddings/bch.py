"""Binary code hash embedding (BCH): the id's bits, cut into blocks.

Yan et al., "Binary Code based Hash Embedding for Web-scale Applications", CIKM 2021,
https://arxiv.org/abs/2109.02471.

    code = i, or a hash of i, in binary        0 1 1 0 1 1 0 1
    succession, blocks of t bits               [0 1 1] [0 1 1] [0 1]
    skip, every B-th bit in the same block     the same bits, dealt out in turn
    x_i = T_1[block_1] + ... + T_B[block_B]    (or *, or side by side)

Succession is mixed radix with radices 2^t. The table shrinks as far as one likes, in steps of one
bit. One table *shared* by all blocks under a sum or product cannot tell apart ids whose blocks are
the same in another order: of 2^24 codes in blocks of 8 bits only 2,829,056 vectors are distinct.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import HASH_BITS, Digit, binary_code_digits
from memcom.embeddings._arguments import Sizes, choice, factor_std, fusion_widths, whole
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import FUSIONS, Read, Recipe

__all__ = ["BinaryCodeEmbedding"]


@register("bch")
class BinaryCodeEmbedding(TableEmbedding):
    """Rows addressed by blocks of the id's binary code, fused.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors; ``"concat"`` splits it among the blocks.
        block_bits: Bits of a block, t. The code is as long as the largest id, or 32 bits if hashed.
        strategy: ``"succession"`` or ``"skip"``.
        shared: One table for all blocks, instead of one each. With ``"sum"`` and ``"mult"`` the
            vectors are then not unique: see `memcom.collisions`.
        fusion: ``"sum"``, ``"concat"`` or ``"mult"``.
        hash: None to take the id itself as the code, else the seed of a hash of 32 bits. It is
            one-to-one on ids below 2^32, so hashing alone makes no two of them equal.
        **common: See `Common`.

    State: ``tables.0``, ``tables.1``, ...: one per block, or ``tables.0`` alone if shared; none
    larger than its bits, and the ids that exist, need. If hashed also ``seeds`` (1,) int64. Drawn
    from zero-mean normals, so that the composed row has variance 1.
    """

    card = Card(
        label="binary code",
        formula="T1[bits 1 of i] + ... + TB[bits B of i]",
        distinct="generic",
        because="every block has its table; one shared table under a sum loses the order",
        use_when="For ratios of hundreds and more, where only a few rows fit.",
        look=("binary", 0),
        paper=Paper("Yan et al.", 2021, "https://arxiv.org/abs/2109.02471"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        block_bits: int,
        strategy: str = "succession",
        shared: bool = False,
        fusion: str = "sum",
        hash: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.code_bits = code_bits(self.num_embeddings, hash)
        self.block_bits = whole("block_bits", block_bits, 1, self.code_bits)
        self.strategy = choice("strategy", strategy, ("succession", "skip"))
        self.shared = shared
        self.fusion = choice("fusion", fusion, FUSIONS)
        self.hash = hash
        if hash is not None:
            self.add_seeds(hash)
        rows = [digit.modulus for digit in self.digits()]
        widths = fusion_widths(embedding_dim, len(rows), fusion)
        if shared:
            if len(set(widths)) > 1:
                raise ValueError(
                    f"embedding_dim must be a multiple of the {len(rows)} blocks to concatenate "
                    f"rows of a shared table, got {embedding_dim}"
                )
            rows, widths = [max(rows)], widths[:1]
        self.tables = nn.ParameterList(map(self.new_table, rows, widths))
        self.reset_parameters()

    def digits(self) -> list[Digit]:
        """Return the address of each block."""
        seed = None if self.hash is None else self.seeds[0]
        return code_digits(self.num_embeddings, self.block_bits, self.strategy, seed)

    def recipe(self) -> Recipe:
        """Read one row per block."""
        digits = self.digits()
        names = ["tables.0" if self.shared else f"tables.{j}" for j in range(len(digits))]
        tables = list(self.tables) * (len(digits) if self.shared else 1)
        return Recipe(tuple(map(Read, names, tables, digits)), self.fusion)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw all tables, so that a composed row has variance ``std**2``."""
        parts = -(-self.code_bits // self.block_bits)
        for table in self.tables:
            nn.init.normal_(table, std=factor_std(std, parts, self.fusion))
        self.reset_seeds()

    def distinctness(self) -> Statement:
        """Return the statement for hash, fusion and the number of tables."""
        if self.hash is not None and self.num_embeddings > 2**HASH_BITS:
            return Statement("by chance", "two ids are equal if their hashed codes are")
        if self.fusion == "concat" or len(self.digits()) == 1:
            return Statement("always", "no two ids have the same blocks, and each has its place")
        if not self.shared:
            return self.card.statement
        permuted = "ids with the same blocks in another order, as (1, 0) and (0, 1), are equal"
        return Statement("never" if self.hash is None else "by chance", permuted)

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        hash: int | None = None,
        fusion: str = "sum",
        shared: bool = False,
        strategy: str = "succession",
        **options: Any,
    ) -> Sizes:
        """Offer every block length from one bit to the whole code that gives each block a width."""
        length = code_bits(num_embeddings, hash)

        def fits(bits: int) -> bool:
            blocks = -(-length // bits)
            return blocks <= embedding_dim and not (shared and embedding_dim % blocks)

        def rows(bits: int) -> int:  # one bit is not always the smallest: two may save a row
            digits = code_digits(num_embeddings, bits, strategy, None if hash is None else 0)
            moduli = [digit.modulus for digit in digits]
            return max(moduli) if shared else sum(moduli)

        lengths = [bits for bits in range(1, length + 1) if fusion != "concat" or fits(bits)]
        floor = "blocks of one or two bits, with as many rows as their values, are the smallest"
        return Sizes.of("block_bits", sorted(lengths, key=rows), floor)


def code_bits(num_embeddings: int, hash: int | None) -> int:
    """Length of the binary code: that of the largest id, or of the hash."""
    return max(1, (num_embeddings - 1).bit_length()) if hash is None else HASH_BITS


def code_digits(
    num_embeddings: int, block_bits: int, strategy: str, seed: Tensor | int | None
) -> list[Digit]:
    """Addresses of the blocks; without a hash the last run of bits has only the rows ids reach."""
    length = code_bits(num_embeddings, None if seed is None else 0)
    hashed = seed if isinstance(seed, Tensor) else None
    digits = binary_code_digits(length, block_bits, strategy=strategy, seed=hashed)
    if seed is None and strategy == "succession":
        top = digits[-1]
        digits[-1] = top._replace(modulus=(num_embeddings - 1) // top.divisor + 1)
    return digits
