"""Residual quantisation: a trained table as a sum of codewords, each for what is left.

Chen, Guan, Wang, "Approximate Nearest Neighbor Search by Residual Vector Quantization", Sensors
2010, https://doi.org/10.3390/s101211259 (section 3).

    x_i = V_1[c_1(i)] + ... + V_M[c_M(i)]      V_j: K x e,   c_j(i) in {0, ..., K - 1}

V_1 are the clusters of the table's rows, V_2 those of what is left of the rows without their
codeword, and so on. The paper then takes the nearest codeword step by step; here the `BEAM` best
sums are kept at each step, as for the additive codes of Babenko and Lempitsky, "Additive
Quantization for Extreme Vector Compression", CVPR 2014 (section 3.2).

The layer is trained as `pq` is. Codewords are as wide as a row, so a code of so many bits has
codebooks M times as large as those of product quantisation; they pay for themselves with many ids,
or in few bits: ``rq(bits=8)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common
from memcom.embeddings._kmeans import assign, kmeans
from memcom.embeddings.product_codes import CodedEmbedding, ProductCodesEmbedding, code_sizes
from memcom.embeddings.registry import register

__all__ = ["ResidualCodesEmbedding"]

BEAM = 4
"""Sums of codewords that are kept of each row while it is encoded."""
MOST_CODEBOOKS = 64
_CELLS = 2**20
"""Distances computed at a time."""


@register("rq")
class ResidualCodesEmbedding(CodedEmbedding):
    """A full table, later sums of ``num_codebooks`` codewords.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_codebooks: Codes of an id, M, at most 64.
        num_codewords: Values of a code, K; best a power of two.
        **common: See `Common`.

    State: as `CodedEmbedding`, with ``codebook.values`` (M K, e).
    """

    card = Card(
        label="residual codes",
        formula="V1[c1(i)] + ... + VM[cM(i)], c: clusters of what is left of a trained table",
        distinct="learned",
        because="M codes of log2(K) bits; nothing keeps two ids apart",
        use_when="As product codes; finer codes for the bytes where codewords take few bits.",
        look=("rounding", 2),
        paper=Paper("Chen et al.", 2010, "https://doi.org/10.3390/s101211259"),
        learns="frequencies",
        note=ProductCodesEmbedding.card.note,
    )
    fusion = "sum"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_codebooks: int,
        num_codewords: int,
        **common: Unpack[Common],
    ) -> None:
        self.num_codebooks = codebook_count(num_codebooks)
        super().__init__(num_embeddings, embedding_dim, self.num_codebooks, num_codewords, common)

    def fit(
        self, points: Tensor, weights: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, None]:
        """Cluster the points, then what their nearest codewords leave, and so on."""
        found = []
        for _ in range(self.num_codebooks):
            book = kmeans(points, self.num_codewords, weights=weights, generator=generator)
            points = points - book[assign(points, book)[0]]
            found.append(book)
        return torch.stack(found), None

    def encode(self, rows: Tensor, codewords: Tensor) -> Tensor:
        """Return the codes of the best sum that the beam search finds."""
        return _nearest_sums(rows, codewords, BEAM)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bits: int | None = None, **options: Any
    ) -> Sizes:
        """Offer numbers of codebooks and codewords, by bytes; more bytes mean longer codes."""
        counts: Sequence[int] = range(1, MOST_CODEBOOKS + 1)
        if "num_codebooks" in options:
            counts = [codebook_count(options["num_codebooks"])]
        widths = {"num_codebooks": dict.fromkeys(counts, embedding_dim)}
        return code_sizes(num_embeddings, widths, bits, options)


def codebook_count(num_codebooks: int) -> int:
    """Return ``num_codebooks``, or raise an error with its range."""
    return whole("num_codebooks", num_codebooks, 1, MOST_CODEBOOKS)


def _nearest_sums(rows: Tensor, codewords: Tensor, beam: int) -> Tensor:
    """Return int64 codes ``(n, M)`` for ``(n, e)`` rows and ``(M, K, e)`` codewords.

    |x - (s + v)|^2 = |x - s|^2 + |v|^2 - 2 x v + 2 s v, so products of a row with the codewords
    serve all sums s of its beam, and those of s are sums of products of codewords.
    """
    every, count = codewords.flatten(0, 1), codewords.shape[1]
    rows_of_beam = rows.split(max(1, _CELLS // (beam * count)))
    # (n, b, t) codes of the b best sums so far, as rows of `every`, the best first; what they leave
    codes = [torch.empty(len(r), 1, 0, dtype=torch.int64, device=r.device) for r in rows_of_beam]
    left = [r.new_zeros(len(r), 1) for r in rows_of_beam]  # less the square of the row
    for t, book in enumerate(codewords):
        size, products = book.square().sum(1), 2 * every[: t * count] @ book.T
        for j, row in enumerate(rows_of_beam):
            alone = torch.addmm(size, row, book.T, alpha=-2)
            distance = alone.unsqueeze(1) + left[j].unsqueeze(2)  # (n, b, K)
            if t:
                sums = F.embedding_bag(codes[j].flatten(0, 1), products, mode="sum")
                distance += sums.view_as(distance)
            cells = distance.flatten(1)
            left[j], best = cells.topk(min(beam, cells.shape[1]), largest=False)
            origin = (best // count).unsqueeze(-1).expand(-1, -1, t)
            code = (best % count + t * count).unsqueeze(-1)
            codes[j] = torch.cat([codes[j].gather(1, origin), code], -1)
    first = torch.arange(len(codewords), device=rows.device) * count
    return torch.cat([found[:, 0] for found in codes]) - first
