"""ROBE: every vector is made of runs of one circular array.

Desai, Chou, Shrivastava, "Random Offset Block Embedding Array (ROBE) for CriteoTB Benchmark MLPerf
DLRM Model", MLSys 2022, https://arxiv.org/abs/2108.02191.

    x_i = run(i, 0), run(i, 1), ...    side by side, Z coordinates each
    run(i, c) = s_c(i) M[h_c(i)], s_c(i) M[h_c(i) + 1], ..., s_c(i) M[h_c(i) + Z - 1]

There are no rows: any two ids may overlap in a part of a run, at any offset. Z = 1 is a cell per
coordinate (HashedNets); a larger Z reads memory in fewer, longer pieces. With signs s in {-1, +1}
shared cells make two vectors alike as often as opposed.

A run that reaches the end of the array goes on at its start, so every cell is read equally often.
(Implementations differ; the authors' kernel keeps runs from the end, so the first and last Z - 1
cells are read less.) If Z does not divide the width, the last run is cut short.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import DerivedSeed, Digit, murmur3
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common
from memcom.embeddings._flat import MAX_CELLS, FlatEmbedding, derived_seeds
from memcom.embeddings.registry import register
from memcom.kernels import Reading, Recipe, Run

__all__ = ["ROBEEmbedding"]


@register("robe")
class ROBEEmbedding(FlatEmbedding):
    """Runs of ``chunk_size`` cells of ``memory``, from hashed starts.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        memory_size: Cells of the array, at least ``chunk_size``.
        chunk_size: Length of a run, Z, at most ``embedding_dim``; None for 8, or all of a
            narrower vector.
        signs: Multiply each run by a hashed sign. `addresses` gives cells, not signs.
        seed: All hashes are derived from it.
        **common: See `Common`.

    State: ``memory`` (memory_size, 1) drawn from N(0, 1); ``seeds`` (1,) int64.
    """

    card = Card(
        label="ROBE",
        formula="[M[h1(i) ...], M[h2(i) ...], ...], runs of one array",
        distinct="by chance",
        because="all runs must start at the same cells",
        use_when="To use a budget to the last number, at any ratio.",
        look=("memory", 0),
        paper=Paper("Desai et al.", 2022, "https://arxiv.org/abs/2108.02191"),
        note="A run of robe that reaches the end of the array goes on at its start; the authors' "
        "kernel lets no run start so late.",
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        memory_size: int,
        chunk_size: int | None = None,
        signs: bool = False,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        chunk_size = default_chunk_size(embedding_dim) if chunk_size is None else chunk_size
        self.chunk_size = whole("chunk_size", chunk_size, 1, embedding_dim)
        self.memory_size = whole("memory_size", memory_size, chunk_size, MAX_CELLS)
        self.num_chunks = -(-embedding_dim // chunk_size)
        self.signs = signs
        self.memory = self.new_table(memory_size, 1)
        self.add_seeds(seed)
        self.reset_parameters()

    def cells(self, ids: Tensor) -> Tensor:
        """Return runs from hashed starts, round the end of the array."""
        seeds = derived_seeds(self.seeds[0], self.num_chunks)
        starts = torch.remainder(murmur3(ids.unsqueeze(-1), seeds), self.memory_size)
        run = torch.arange(self.chunk_size, device=ids.device)
        cells = torch.remainder(starts.unsqueeze(-1) + run, self.memory_size)
        return cells.flatten(-2)[..., : self.embedding_dim]

    def compose(self, ids: Tensor) -> Tensor:
        """Fetch the cells, and negate the runs whose sign is negative."""
        vectors, signs = super().compose(ids), self.signs_of(ids)
        return vectors if signs is None else vectors * signs

    def signs_of(self, ids: Tensor) -> Tensor | None:
        """Return the sign of each coordinate's run, int64 ``(*ids.shape, embedding_dim)``."""
        if not self.signs:
            return None
        seeds = derived_seeds(self.seeds[0], 2 * self.num_chunks)[self.num_chunks :]
        bits = murmur3(ids.unsqueeze(-1), seeds) & 1
        of_run = torch.arange(self.embedding_dim, device=ids.device) // self.chunk_size
        return 1 - 2 * bits[..., of_run]

    def reading(self) -> Reading:
        """Say the same as runs of the memory."""
        seed, e, chunk = self.seeds[0], self.embedding_dim, self.chunk_size
        runs = []
        for c in range(self.num_chunks):
            start = Digit(self.memory_size, seed=DerivedSeed(seed, c))
            sign = Digit(2, seed=DerivedSeed(seed, self.num_chunks + c)) if self.signs else None
            runs.append(Run("memory", self.memory, start, min(chunk, e - c * chunk), sign))
        return Recipe(tuple(runs), "concat")

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw every cell from N(0, std^2): a coordinate is a cell, up to its sign."""
        nn.init.normal_(self.memory, std=std)
        self.reset_seeds()

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        chunk_size: int | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer every number of cells from one run to the numbers of the full table."""
        chunk_size = default_chunk_size(embedding_dim) if chunk_size is None else chunk_size
        cells = range(chunk_size, min(num_embeddings * embedding_dim, MAX_CELLS) + 1)
        floor = f"one run of {chunk_size} cells and the seed are stored at the least"
        return Sizes.of("memory_size", cells, floor)


def default_chunk_size(embedding_dim: int) -> int:
    """Eight cells, one 32-byte sector of a GPU's memory in fp32; fewer for narrower vectors."""
    return min(8, embedding_dim)
