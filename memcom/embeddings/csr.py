"""Sparse rows: every row stores some of its chunks, and their columns (compressed sparse rows).

    x_i[c] = values[p]  if columns[p] = c for a p in [o_i, o_(i+1)),  else 0

A chunk is ``chunk_dim`` consecutive coordinates; with 1 any set of numbers can be kept. Stored are
the kept chunks, the column of each (ceil(log2(chunks of a row)) bits) and n + 1 row offsets
(ceil(log2(kept + 1)) bits). PEP and FIITED freeze to this layer. Built directly it keeps chunks
chosen at random: the control that a pruning method has to beat at equal bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.registry import register
from memcom.kernels import Ragged, Reading, gather_rows
from memcom.kernels.bits import Stored, bits_for, pack, packed_nbytes, unpack

__all__ = ["CSREmbedding"]


@register("csr")
class CSREmbedding(CompressedEmbedding):
    """A sparse table in compressed sparse rows.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors that come out.
        num_chunks: Chunks kept in all rows together.
        chunk_dim: Coordinates of a chunk. The last of a row is cut off if it does not fit.
        longest: Most chunks of one row, which is what a lookup reads. All of a row by default.
        seed: Seed of the chunks kept at random. `from_chunks` takes any others.
        **common: See `Common`.

    State: ``values`` (num_chunks, chunk_dim), drawn so that the mean square over all coordinates
    is 1; ``columns`` and ``offsets`` uint8, packed.
    """

    card = Card(
        label="sparse rows",
        formula="some numbers of T[i], else 0",
        distinct="lossy",
        because="empty rows are one",
        use_when="As the control for pruning: it keeps numbers at random.",
        look=("ragged", 1),
    )

    columns: Tensor
    offsets: Tensor

    each_once = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_chunks: int,
        chunk_dim: int = 1,
        longest: int | None = None,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.chunk_dim = whole("chunk_dim", chunk_dim, 1, embedding_dim)
        self.row_chunks = -(-embedding_dim // chunk_dim)
        self.num_chunks = whole("num_chunks", num_chunks, 1, num_embeddings * self.row_chunks)
        self.longest = whole(
            "longest", self.row_chunks if longest is None else longest, 1, self.row_chunks
        )
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self.values = self.new_table(num_chunks, chunk_dim)
        columns = packed_nbytes(num_chunks, bits_for(self.row_chunks))
        offsets = packed_nbytes(num_embeddings + 1, bits_for(num_chunks + 1))
        for name, size in (("columns", columns), ("offsets", offsets)):
            empty = torch.empty(size, dtype=torch.uint8, device=self.values.device)
            self.register_buffer(name, empty)
        self.reset_parameters()

    @classmethod
    @torch.no_grad()
    def from_chunks(
        cls,
        chunks: Tensor,
        kept: Tensor,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        sparse: bool = False,
    ) -> CSREmbedding:
        """Make a layer of some chunks of every row.

        Args:
            chunks: ``(kept.sum(), chunk_dim)``, the kept chunks, row by row.
            kept: bool ``(num_embeddings, chunks of a row)``.
            embedding_dim: Width of the vectors.
            padding_idx: This id gives zeros; may be negative.
            sparse: Give sparse gradients.

        Returns:
            The layer. If nothing is kept one unused chunk is stored.

        Raises:
            ValueError: The shapes do not fit each other.
        """
        total, chunk_dim = chunks.shape
        if total != int(kept.sum()) or kept.shape[1] != -(-embedding_dim // chunk_dim):
            raise ValueError(
                f"{tuple(chunks.shape)} chunks do not fit {int(kept.sum())} kept of "
                f"{tuple(kept.shape)} and embedding_dim {embedding_dim}"
            )
        layer = cls(
            len(kept),
            embedding_dim,
            num_chunks=max(1, total),
            chunk_dim=chunk_dim,
            longest=max(1, int(kept.sum(1).max())),
            padding_idx=padding_idx,
            sparse=sparse,
            device="meta",
            dtype=chunks.dtype,
        ).to_empty(device=chunks.device)
        layer._set_places(kept.flatten().nonzero().squeeze(1))
        layer.values.zero_()[:total] = chunks
        return layer

    def fit_to(self, target: Target) -> None:
        """Keep the chunks whose squared length, times the weight of their id, is largest."""
        rest = self.row_chunks * self.chunk_dim - self.embedding_dim
        chunks = F.pad(target.table, (0, rest)).view(-1, self.chunk_dim)
        weights = target.weights.repeat_interleave(self.row_chunks)
        importance = chunks.double().square().sum(1) * weights
        places = importance.topk(self.num_chunks).indices.sort().values
        self.longest = self.row_chunks
        self._set_places(places)
        self.values.copy_(chunks[places])

    def _set_places(self, places: Tensor) -> None:
        """Store the places of the kept chunks: ascending ``row * row_chunks + column``."""
        columns = torch.zeros(self.num_chunks, dtype=torch.int64, device=places.device)
        columns[: len(places)] = places % self.row_chunks
        self.columns.copy_(pack(columns, bits_for(self.row_chunks)))
        starts = torch.arange(self.num_embeddings + 1, device=places.device) * self.row_chunks
        offsets = torch.searchsorted(places, starts)
        self.offsets.copy_(pack(offsets, bits_for(self.num_chunks + 1)))

    def _bounds(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        bits = bits_for(self.num_chunks + 1)
        return unpack(self.offsets, ids, bits), unpack(self.offsets, ids + 1, bits)

    def compose(self, ids: Tensor) -> Tensor:
        """Read ``longest`` chunks from the row's begin and put its own in their places."""
        start, end = self._bounds(ids)
        place = start.unsqueeze(-1) + torch.arange(self.longest, device=ids.device)
        own = place < end.unsqueeze(-1)
        place = place.clamp(max=self.num_chunks - 1)
        chunks = gather_rows(self.values, place, sparse=self.sparse)
        # An extra column takes the chunks of other rows, and is cut off.
        column = unpack(self.columns, place, bits_for(self.row_chunks))
        column = torch.where(own, column, self.row_chunks).unsqueeze(-1).expand(chunks.shape)
        row = chunks.new_zeros(*ids.shape, self.row_chunks + 1, self.chunk_dim)
        return row.scatter(-2, column, chunks).flatten(-2)[..., : self.embedding_dim]

    def reading(self) -> Reading:
        """Say the same as rows of different lengths."""
        starts = Stored(self.offsets, bits_for(self.num_chunks + 1))
        places = Stored(self.columns, bits_for(self.row_chunks))
        return Ragged(self.values, starts, places, self.embedding_dim)

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``rows``: the id itself, or ``num_embeddings`` for ids that store nothing."""
        ids = check_ids(ids, self.num_embeddings)
        start, end = self._bounds(ids)
        return {"rows": ids.masked_fill(start == end, self.num_embeddings)}

    def row_tables(self) -> list[str]:
        """Name the chunks; their places stay as they are."""
        return ["values"]

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the values; the chunks are those chosen at random again."""
        total = self.num_embeddings * self.row_chunks
        nn.init.normal_(self.values, std=std * (total / self.num_chunks) ** 0.5)
        if not lacks_values(self.values):
            random = np.random.default_rng(self.seed)
            places = np.sort(random.choice(total, self.num_chunks, replace=False, shuffle=False))
            self.longest = self.row_chunks
            self._set_places(torch.from_numpy(places).to(self.values.device))

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, chunk_dim: int = 1, **options: Any
    ) -> Sizes:
        """Offer every number of chunks from 1 to all."""
        whole("chunk_dim", chunk_dim, 1, embedding_dim)
        chunks = range(1, num_embeddings * -(-embedding_dim // chunk_dim) + 1)
        floor = "where each row begins is stored in at least one bit"
        return Sizes.of("num_chunks", chunks, floor)
