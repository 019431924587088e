"""Layers whose table is one flat array: every coordinate has its own address."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memcom.addresses import HASH_BITS, check_ids, murmur3
from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.kernels import gather_rows

MAX_CELLS = 2**HASH_BITS  # a hash addresses no more


class FlatEmbedding(CompressedEmbedding):
    """``x_i[j] = memory[cell(i, j)]``; a subclass creates ``memory`` and defines `cells`."""

    memory: nn.Parameter

    each_once = True

    def cells(self, ids: Tensor) -> Tensor:
        """Return the cells of checked int64 ``ids``: ``(*ids.shape, embedding_dim)``."""
        raise TypeError(f"{type(self).__name__} does not define cells")

    def compose(self, ids: Tensor) -> Tensor:
        """Fetch a cell for every coordinate."""
        return gather_rows(self.memory, self.cells(ids), sparse=self.sparse).squeeze(-1)

    def signs_of(self, ids: Tensor) -> Tensor | None:
        """Return what multiplies the cells, 1 or -1 each; None if nothing does."""
        return None

    def fit_to(self, target: Target) -> None:
        """Give each cell the weighted mean of the coordinates that read it, with their signs."""
        sums = torch.zeros(len(self.memory), dtype=torch.float64, device=self.memory.device)
        total = torch.zeros_like(sums)
        for ids, x, w in target.chunks():
            cells = self.cells(ids).flatten()
            signs = self.signs_of(ids)
            sums.index_add_(0, cells, (w * (x if signs is None else x * signs)).flatten())
            total.index_add_(0, cells, w.expand_as(x).flatten())
        read = total > 0
        self.memory[read] = (sums / total)[read].to(self.memory.dtype).unsqueeze(1)

    def row_tables(self) -> list[str]:
        """Name the memory."""
        return ["memory"]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the cell of every coordinate, in the order of the coordinates."""
        return {"memory": self.cells(check_ids(ids, self.num_embeddings))}


def derived_seeds(seed: Tensor, count: int) -> Tensor:
    """Return ``count`` hash seeds that follow from one: ``murmur3(0..count-1, seed)``, int64."""
    return murmur3(torch.arange(count, device=seed.device), seed)
