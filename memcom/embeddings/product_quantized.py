"""Product quantisation: what a product-quantised table is, once its codes are known.

    x_i = V_1[c_1(i)] | ... | V_D[c_D(i)]      V_j: K x (e / D),   c_j(i) in {0, ..., K - 1}

The codes are all that an id stores: D log2(K) bits, packed. `memcom.embeddings.dpq` learns
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids
from memcom.embeddings._arguments import whole
from memcom.embeddings._bits import bits_for, pack, packed_nbytes, unpack
from memcom.embeddings._card import Statement, fewer_codes
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.kernels import read_rows


class CodebookEmbedding(CompressedEmbedding):
    """Fixed codes, packed in bits, and codewords that can still be trained.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors, a multiple of ``num_groups``.
        num_groups: Codes of an id, D.
        tiers: Pairs (number of ids, codewords they may use), most frequent ids first; their ids
            add up to ``num_embeddings``. All tiers use the same codebooks, rarer ones the first
            few codewords of it.
        **common: See `Common`.

    State: ``values`` (num_groups * K, embedding_dim / num_groups), codebook after codebook, where
    K is the most codewords of a tier; ``codes.0``, ... uint8, one per tier.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_groups: int,
        tiers: Sequence[tuple[int, int]],
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_groups = group_count(embedding_dim, num_groups)
        self.tiers = tuple(tiers)
        if sum(ids for ids, _ in self.tiers) != num_embeddings:
            raise ValueError(f"the ids of tiers must add up to {num_embeddings}, got {self.tiers}")
        self.num_codewords = max(codewords for _, codewords in self.tiers)
        self.values = self.new_table(num_groups * self.num_codewords, embedding_dim // num_groups)
        self.codes = nn.Module()
        for t, (ids, codewords) in enumerate(self.tiers):
            size = packed_nbytes(ids * num_groups, bits_for(codewords))
            empty = torch.empty(size, dtype=torch.uint8, device=self._factory["device"])
            self.codes.register_buffer(str(t), empty)
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """One codeword per group, side by side."""
        return read_rows(self.values, self._rows(ids), sparse=self.sparse).flatten(-2)

    def _rows(self, ids: Tensor) -> Tensor:
        groups = torch.arange(self.num_groups, device=ids.device)
        start, codes = 0, torch.zeros_like(ids).unsqueeze(-1) + groups
        for (size, codewords), packed in zip(self.tiers, self.codes.buffers(), strict=True):
            # Ids of other tiers wrap round; what they read is thrown away.
            own = ((ids - start) % size).unsqueeze(-1) * self.num_groups + groups
            found = unpack(packed, own, bits_for(codewords))
            codes = torch.where((ids >= start).unsqueeze(-1), found, codes)
            start += size
        return codes + groups * self.num_codewords

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """``values``: one row per group."""
        return {"values": self._rows(check_ids(ids, self.num_embeddings))}

    def row_tables(self) -> list[str]:
        """The codebooks."""
        return ["values"]

    @torch.no_grad()
    def set_codes(self, tier: int, codes: Tensor) -> None:
        """Store int64 ``codes`` of shape (ids of the tier, num_groups)."""
        bits = bits_for(self.tiers[tier][1])
        self.codes.get_buffer(str(tier)).copy_(pack(codes, bits))

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw codewords from N(0, std^2), and codes at random."""
        nn.init.normal_(self.values, std=std)
        for tier, (ids, codewords) in enumerate(self.tiers):
            device = self.values.device
            self.set_codes(tier, torch.randint(codewords, (ids, self.num_groups), device=device))

    def distinctness(self) -> Statement:
        """Return the statement for the options of this layer."""
        learned = Statement("learned", "two ids are equal if all their codes are")
        codes = self.num_codewords**self.num_groups
        return fewer_codes(codes, self.num_embeddings, "codes", learned)


def group_count(embedding_dim: int, num_groups: int) -> int:
    """``num_groups`` if it divides ``embedding_dim``, else an error that says which do."""
    whole("num_groups", num_groups, 1, embedding_dim)
    if embedding_dim % num_groups:
        fit = [d for d in range(1, embedding_dim + 1) if embedding_dim % d == 0]
        raise ValueError(
            f"embedding_dim {embedding_dim} must split into equal parts, so the number of parts "
            f"is one of {fit}, got {num_groups}"
        )
    return num_groups
