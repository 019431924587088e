"""FIITED: chunks of rows that come and go while the model trains.

Luo et al., "Fine-Grained Embedding Dimension Optimization During Training for Recommender Systems",
2024, https://arxiv.org/abs/2401.04408.

    x_i = C_1 | C_2 | ...      C_c = slots[directory[i, c]],  or zeros where the entry is empty

A row is cut into chunks; each chunk lives in a physical slot, found through a directory, or nowhere
at all. `memcom.embeddings.FIITEDSchedule` keeps a utility for every chunk, takes slots from chunks
of low utility and gives them to chunks whose utility rises. Stored in the end are the chunks left
over, as compressed sparse rows, which is smaller than the directory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings.csr import CSREmbedding
from memcom.kernels import read_rows


class FIITEDEmbedding(CompressedEmbedding):
    """Chunks in slots; frozen, the ``num_chunks`` of highest utility.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors.
        num_chunks: Chunks that are kept in the end, at most.
        chunk_dim: Coordinates of a chunk. The last of a row is cut off if it does not fit.
        capacity: Physical slots while training, at least ``num_chunks``. By default there is one
            for every chunk; with ``num_chunks`` training never takes more values than are shipped,
            and starts with the chunks of the most frequent ids.
        **common: See `Common`.

    State: ``slots`` (capacity, chunk_dim), drawn so that the mean square over all coordinates is
    1; ``directory`` (num_embeddings, chunks of a row), the slot or -1; ``utility`` of the same
    shape, fp32, from 1 for the most frequent id down to 1 / num_embeddings until it is measured.
    """

    card = Card(
        label="FIITED",
        formula="chunks of T[i] that are useful, else 0",
        distinct="lossy",
        because="rows that lost all chunks are one",
        use_when="If what is useful changes during training: chunks of rows come and go.",
        look=("pruning", 2),
        paper=Paper("Luo et al.", 2024, "https://arxiv.org/abs/2401.04408"),
        slow="most chunks are empty; the others are found through a stored map",
    )

    directory: Tensor
    utility: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_chunks: int,
        chunk_dim: int = 4,
        capacity: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.chunk_dim = whole("chunk_dim", min(chunk_dim, embedding_dim), 1)
        self.row_chunks = -(-embedding_dim // self.chunk_dim)
        total = num_embeddings * self.row_chunks
        self.num_chunks = whole("num_chunks", num_chunks, 1, total)
        self.capacity = (
            total if capacity is None else whole("capacity", capacity, num_chunks, total)
        )
        self.slots = self.new_table(self.capacity, self.chunk_dim)
        shape, device = (num_embeddings, self.row_chunks), self.slots.device
        whole_numbers = torch.int32 if self.capacity < 2**31 else torch.int64
        self.register_buffer("directory", torch.empty(shape, dtype=whole_numbers, device=device))
        self.register_buffer("utility", torch.empty(shape, device=device))
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Read every chunk's slot; blank those that have none."""
        slot = self.directory[ids].long()
        chunks = read_rows(self.slots, slot.clamp(min=0), sparse=self.sparse)
        row = chunks.masked_fill((slot < 0).unsqueeze(-1), 0).flatten(-2)
        return row[..., : self.embedding_dim]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """``chunks``: a pseudo-table whose row 0 is "nowhere" and row s + 1 is slot s."""
        return {"chunks": self.directory[check_ids(ids, self.num_embeddings)].long() + 1}

    @property
    def num_allocated(self) -> int:
        """Chunks that have a slot now."""
        return int((self.directory >= 0).sum())

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """The chunks that have a slot, or the ``num_chunks`` of highest utility among them.

        On the meta device, where utilities are not known, ``num_chunks`` of them.
        """
        if self.slots.is_meta:
            return CSREmbedding(
                self.num_embeddings,
                self.embedding_dim,
                num_chunks=self.num_chunks,
                chunk_dim=self.chunk_dim,
                padding_idx=self.padding_idx,
                sparse=self.sparse,
                device="meta",
                dtype=self.slots.dtype,
            )
        kept = self.directory >= 0
        if int(kept.sum()) > self.num_chunks:
            ranked = self.utility.masked_fill(~kept, -torch.inf).flatten()
            kept = torch.zeros_like(ranked, dtype=torch.bool)
            kept[ranked.topk(self.num_chunks).indices] = True
            kept = kept.view_as(self.directory)
        return CSREmbedding.from_chunks(
            self.slots.detach()[self.directory[kept].long()],
            kept,
            self.embedding_dim,
            padding_idx=self.padding_idx,
            sparse=self.sparse,
        )

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the slots; they belong to the most frequent ids' chunks again."""
        total = self.directory.numel()
        nn.init.normal_(self.slots, std=std * (total / self.capacity) ** 0.5)
        number = torch.arange(total, device=self.slots.device).view_as(self.directory)
        self.directory.copy_(number.masked_fill(number >= self.capacity, -1))
        self.utility.copy_((1 - number / total).float())

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, chunk_dim: int = 4, **options: Any
    ) -> Sizes:
        """Every number of chunks from 1 to all."""
        width = min(chunk_dim, embedding_dim)
        return CSREmbedding.sizes(num_embeddings, embedding_dim, chunk_dim=width)
