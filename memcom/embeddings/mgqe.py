"""Multi-granular quantisation: frequent ids choose among more codewords than rare ones.

Kang et al., "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in
Recommender Systems", WWW 2020 companion, https://arxiv.org/abs/2002.08530.

    x_i = V_1[c_1(i)] | ... | V_D[c_D(i)]      c_j(i) < K if i is frequent, else c_j(i) < K' < K

All ids share the codebooks of DPQ; a rare id's code is shorter because it may use only the first
K' codewords. A common setting is K = 256 for a tenth of the ids, K' = 64.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from memcom.embeddings._arguments import whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common
from memcom.embeddings.dpq import DPQEmbedding
from memcom.embeddings.registry import register

__all__ = ["MGQEmbedding"]


@register("mgqe")
class MGQEmbedding(DPQEmbedding):
    """DPQ in which rare ids choose among the first few codewords only.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors; a multiple of ``num_groups``.
        num_groups: Codes of an id.
        num_codewords: Values of a frequent id's code.
        form: ``"softmax"`` or ``"centroid"``.
        batch_norm: As for `DPQEmbedding`; rare ids count for the codewords they may not use, too.
        commitment: As for `DPQEmbedding`.
        rare_codewords: Values of a rare id's code; a quarter of ``num_codewords`` by default.
        frequent_share: Share of the ids that count as frequent.
        **common: See `Common`.

    State: as `DPQEmbedding`.
    """

    card = Card(
        label="MGQE",
        formula="[V1[c1(i)], ..., VD[cD(i)]], shorter codes for rare i",
        distinct="learned",
        because="as DPQ, with fewer codewords for rare ids",
        use_when="As DPQ on skewed data: rare ids get shorter codes.",
        look=("codes", 1),
        paper=Paper("Kang et al.", 2020, "https://arxiv.org/abs/2002.08530"),
        note=DPQEmbedding.card.note,
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_groups: int,
        num_codewords: int,
        form: str = "softmax",
        batch_norm: bool = False,
        commitment: float | None = 0.0,
        rare_codewords: int | None = None,
        frequent_share: float = 0.1,
        **common: Unpack[Common],
    ) -> None:
        whole("num_codewords", num_codewords, 2, 2**16)
        rare = max(1, num_codewords // 4) if rare_codewords is None else rare_codewords
        self._rare = whole("rare_codewords", rare, 1, num_codewords)
        if not 0 <= frequent_share <= 1:
            raise ValueError(f"frequent_share must be in [0, 1], got {frequent_share}")
        self._share = frequent_share
        own: dict[str, Any] = {"num_groups": num_groups, "num_codewords": num_codewords}
        own |= {"form": form, "batch_norm": batch_norm, "commitment": commitment}
        super().__init__(num_embeddings, embedding_dim, **own, **common)

    def tiers(self) -> list[tuple[int, int]]:
        """Return the frequent ids, then the rare ones."""
        frequent = round(self.num_embeddings * self._share)
        tiers = [(frequent, self.num_codewords), (self.num_embeddings - frequent, self._rare)]
        return [tier for tier in tiers if tier[0]]
