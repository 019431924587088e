"""Layers whose table is one flat array: every coordinate has its own address."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memcom.addresses import HASH_BITS, check_ids, murmur3
from memcom.embeddings._contract import CompressedEmbedding
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

    def row_tables(self) -> list[str]:
        """Name the memory."""
        return ["memory"]

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the cell of every coordinate, in the order of the coordinates."""
        return {"memory": self.cells(check_ids(ids, self.num_embeddings))}


def derived_seeds(seed: Tensor, count: int) -> Tensor:
    """Return ``count`` hash seeds that follow from one: ``murmur3(0..count-1, seed)``, int64."""
    return murmur3(torch.arange(count, device=seed.device), seed)
