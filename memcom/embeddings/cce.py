"""Clustered compositional embeddings (CCE): hash, train, cluster what was learned, hash again.

Tsang and Ahle, "Clustering the Sketch: Dynamic Compression for Embedding Tables", NeurIPS 2023,
https://arxiv.org/abs/2210.05974.

    x_i = column_1 | ... | column_c,    column_j = T0_j[map_j(i)] + T1_j[h_j(i)]

Between epochs `recluster` groups the ids by their present columns (k-means): T0 holds the centres,
map the stored cluster numbers; a fresh random hash h spreads each cluster's ids over T1, which
starts from their mean residuals. The map costs c ceil(log2 m) bits an id, and counts.
`CCESchedule` does it during training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit, check_ids, lacks_values, murmur3
from memcom.embeddings._arguments import Sizes, divisors, group_count, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target, fit_recipe
from memcom.embeddings._kmeans import assign, kmeans, sample
from memcom.embeddings.registry import register
from memcom.embeddings.schedules import Schedule, forget_moments
from memcom.kernels import Read, Reading, Recipe, gather_rows
from memcom.kernels.bits import Stored, bits_for, pack, packed_nbytes, unpack

__all__ = ["CCEEmbedding", "CCESchedule"]


@register("cce")
class CCEEmbedding(CompressedEmbedding):
    """``centres[map(i)] + residuals[h(i)]`` in each of ``num_columns`` columns.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors, a multiple of ``num_columns``.
        num_buckets: Rows of each column's two tables, m.
        num_columns: Columns, c.
        seed: Seeds of the first hashes are ``seed`` to ``seed + 2 num_columns - 1``.
        **common: See `Common`.

    State: ``centres`` and ``residuals`` (c m, embedding_dim / c), column after column, drawn from
    N(0, 1/2); ``map`` uint8, c numbers of ceil(log2 m) bits for each id, random until the first
    `recluster`; ``seeds`` (c,) int64 of the hashes h.
    """

    card = Card(
        label="CCE",
        formula="[T1[map1(i)] + U1[h1(i)], ...], map: clusters",
        distinct="by chance",
        because="cluster and hash must agree in every column",
        use_when="If training can pause to cluster: ids that behave alike come to share rows.",
        look=("memory", 2),
        paper=Paper("Tsang and Ahle", 2023, "https://arxiv.org/abs/2210.05974"),
    )

    map: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_buckets: int,
        num_columns: int = 4,
        seed: int = 0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.num_columns = group_count(embedding_dim, num_columns, "num_columns")
        self.seed = seed
        width = embedding_dim // num_columns
        self.centres = self.new_table(num_columns * num_buckets, width)
        self.residuals = self.new_table(num_columns * num_buckets, width)
        size = packed_nbytes(num_embeddings * num_columns, bits_for(num_buckets))
        device = self.centres.device
        self.register_buffer("map", torch.empty(size, dtype=torch.uint8, device=device))
        self.add_seeds(*range(seed, seed + num_columns))
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Add centre and residual, columns side by side."""
        return self._columns(ids).flatten(-2)

    def reading(self) -> Reading:
        """Say the same as rows side by side, each the sum of two."""
        bits, columns, rows = bits_for(self.num_buckets), self.num_columns, self.num_buckets
        return Recipe(
            tuple(
                Recipe(
                    (
                        Read("centres", self.centres, Stored(self.map, bits, columns, j), j * rows),
                        Read("residuals", self.residuals, Digit(rows, seed=seed), j * rows),
                    )
                )
                for j, seed in enumerate(self.seeds.unbind())
            ),
            "concat",
        )

    def _columns(self, ids: Tensor) -> Tensor:
        centre, residual = self.addresses(ids).values()
        return gather_rows(self.centres, centre, sparse=self.sparse) + gather_rows(
            self.residuals, residual, sparse=self.sparse
        )

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return one row of each table per column."""
        ids = check_ids(ids, self.num_embeddings).unsqueeze(-1)
        column = torch.arange(self.num_columns, device=ids.device)
        cluster = unpack(self.map, ids * self.num_columns + column, bits_for(self.num_buckets))
        first = column * self.num_buckets
        return {"centres": cluster + first, "residuals": self._hash(ids, self.seeds) + first}

    def _hash(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return murmur3(ids + torch.zeros_like(seeds), seeds) % self.num_buckets

    def row_tables(self) -> list[str]:
        """Name both tables."""
        return ["centres", "residuals"]

    @torch.no_grad()
    def recluster(self, *, iterations: int = 20, generator: torch.Generator | None = None) -> None:
        """Cluster the current vectors; call it between epochs, for the first three quarters.

        Vectors move to their centre plus the mean residual of their new bucket. An optimizer's
        moments of both tables are stale afterwards and best cleared. Memory: the new tables and
        map, and one chunk of ids.

        Args:
            iterations: Rounds of k-means, on a sample of at most 256 ids per cluster.
            generator: Source of the sample and of the new hash; on the CPU.
        """
        device, shape = self.device, (self.num_columns, self.num_buckets, -1)
        drawn = sample(self.num_embeddings, self.num_buckets, generator).to(device)
        columns = self._columns(drawn).float().unbind(-2)
        centres = torch.stack(
            [
                kmeans(c, self.num_buckets, iterations=iterations, generator=generator)
                for c in columns
            ]
        )
        # One new hash for all ids. Drawn anew for every chunk, the residuals below would be sums
        # over buckets that no longer exist.
        seeds = torch.randint(2**32, (self.num_columns,), generator=generator).to(device)
        sums, sizes = torch.zeros_like(centres), centres.new_zeros(*shape[:2], 1)
        packed = []
        for ids in self.all_ids():  # chunks of a multiple of 8, so of whole bytes
            bucket = self._hash(ids.unsqueeze(-1), seeds)
            codes = []
            for j, points in enumerate(self._columns(ids).float().unbind(-2)):
                cluster, _ = assign(points, centres[j])
                codes.append(cluster)
                sums[j].index_add_(0, bucket[:, j], points - centres[j][cluster])
                sizes[j].index_add_(0, bucket[:, j], sums.new_ones(len(ids), 1))
            packed.append(pack(torch.stack(codes, dim=1), bits_for(self.num_buckets)))
        self.centres.copy_(centres.flatten(0, 1))
        self.residuals.copy_((sums / sizes.clamp(min=1)).flatten(0, 1))  # an empty bucket: 0
        self.map.copy_(torch.cat(packed))
        self.seeds.copy_(seeds)

    def fit_to(self, target: Target) -> None:
        """Cluster the columns of the table; then both tables are those of the least error.

        The hash of the residuals stays as it is.
        """
        generator = target.generator()
        columns = target.table.float().unflatten(1, (self.num_columns, -1)).unbind(1)
        codes = []
        for points in columns:
            drawn = sample(len(points), self.num_buckets, generator).to(points.device)
            importance = target.weights[drawn]
            centres = kmeans(
                points[drawn], self.num_buckets, generator=generator, weights=importance
            )
            codes.append(assign(points, centres)[0])
        self.map.copy_(pack(torch.stack(codes, dim=1), bits_for(self.num_buckets)))
        reading = self.reading()
        assert isinstance(reading, Recipe)
        fit_recipe(reading, target)

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the tables, so that a composed row has variance ``std**2``; first hashes again."""
        for table in (self.centres, self.residuals):
            nn.init.normal_(table, std=std * 0.5**0.5)
        self.reset_seeds()
        if lacks_values(self.map):
            return
        columns = torch.arange(self.num_columns, device=self.seeds.device)
        first = columns + self.seed + self.num_columns
        bits = bits_for(self.num_buckets)
        chunks = self.all_ids()
        self.map.copy_(torch.cat([pack(self._hash(i.unsqueeze(-1), first), bits) for i in chunks]))

    def schedule(
        self, num_steps: int, *, optimizer: torch.optim.Optimizer | None = None, **around: Any
    ) -> CCESchedule:
        """Return a schedule that clusters every eighth of the steps, up to three quarters."""
        every, last = max(1, num_steps // 8), num_steps * 3 // 4
        return CCESchedule(self, every=every, last=last, optimizer=optimizer)

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_columns: int | None = None,
        **options: Any,
    ) -> Sizes:
        """Offer every number of rows from 1 to ``num_embeddings``; 4 columns, or fewer that fit."""
        if num_columns is None:
            num_columns = max(d for d in divisors(embedding_dim) if d <= 4)
        group_count(embedding_dim, num_columns, "num_columns")
        return Sizes(
            range(1, num_embeddings + 1),
            lambda scale: {"num_buckets": scale, "num_columns": num_columns},
            f"the map has at least {num_columns} bits for each id",
        )


class CCESchedule(Schedule[CCEEmbedding]):
    """Clusterings at regular steps of the training.

    Args:
        emb: The layer; it has its size from the first step on.
        every: Steps between two clusterings.
        last: No clustering after this step, so that the tables can settle. The paper stops after
            three quarters of the training.
        optimizer: Its moments of both tables are cleared.
        seed: Seed of the samples of k-means and of the new hashes.

    Attributes:
        history: Steps at which the table was clustered.
    """

    def __init__(
        self,
        emb: CCEEmbedding,
        *,
        every: int,
        last: int,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(emb, prune_steps=1, every=every)
        self.last = last
        self.history: list[int] = []
        self._optimizer = optimizer
        self._generator = torch.Generator().manual_seed(seed)

    def update(self, ids: Tensor) -> None:
        """Cluster, if it is time."""
        if self.steps % self.every or self.steps > self.last:
            return
        self.emb.recluster(generator=self._generator)
        for table in (self.emb.centres, self.emb.residuals):
            forget_moments(self._optimizer, table, torch.arange(len(table), device=table.device))
        self.history.append(self.steps)
