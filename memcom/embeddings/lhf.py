"""Learned hashing: ids that behave alike share a row.

Ghaemmaghami et al., "Learning to Collide: Recommendation System Model Compression with Learned
Hash Functions", 2022, https://arxiv.org/abs/2203.15837.

    x_i = U[map[i]]        U: m x e,   map: n row numbers of ceil(log2 m) bits, frozen

The map comes from a narrow table trained before (2 to 8 columns suffice) together with the ids'
frequency: see `learn_map`, whose details are this kit's. The map is stored, so its n ceil(log2 m)
bits count; a computed hash has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom._annotations import checked
from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card, Paper, Statement, fewer_codes
from memcom.embeddings._contract import Common, CompressedEmbedding, TableEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings._kmeans import cluster
from memcom.embeddings.registry import register
from memcom.kernels import Mapped, Read, Reading, Recipe
from memcom.kernels.bits import Stored, bits_for, pack

__all__ = ["LearnedHashEmbedding", "MappedEmbedding", "learn_map"]

PRE_DIM = 4
"""Columns of the narrow table."""
LEARNED = Statement("learned", "two ids are equal if the map sends them to one row")


@register("lhf")
class LearnedHashEmbedding(TableEmbedding):
    """``table[map[i]]`` with a stored map: i mod num_buckets until `set_map` is called.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        num_buckets: Rows of the table, m.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim), drawn from N(0, 1); ``map`` uint8, one number of
    ceil(log2 num_buckets) bits for each id, packed.
    """

    card = Card(
        label="learned hash",
        formula="U[map(i)], map: learned, stored",
        distinct="never",
        because="m rows for n > m ids, but those that share are alike",
        use_when="If a narrow table can be trained first: ids that behave alike share a row.",
        look=("codes", 2),
        paper=Paper("Ghaemmaghami et al.", 2022, "https://arxiv.org/abs/2203.15837"),
        learns="the map, from a narrow table trained before and from frequencies",
        note="Of the paper of lhf only the abstract was at hand: private rows for frequent ids, "
        "half of all rows, and k-means for the others are this kit's.",
    )

    map: Tensor

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, num_buckets: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_buckets = whole("num_buckets", num_buckets, 1, num_embeddings)
        self.table = self.new_table(num_buckets, embedding_dim)
        rows = torch.arange(num_embeddings, device=self.table.device) % num_buckets
        self.register_buffer("map", pack(rows, bits_for(num_buckets)))
        nn.init.normal_(self.table)

    def recipe(self) -> Recipe:
        """Read one row, at the address in the map."""
        address = Stored(self.map, bits_for(self.num_buckets))
        return Recipe((Read("table", self.table, address),))

    @torch.no_grad()
    def set_map(self, rows: Tensor) -> None:
        """Freeze another map.

        Args:
            rows: int64 ``(num_embeddings,)``, values in ``[0, num_buckets)``, as from `learn_map`.

        Raises:
            ValueError: The shape or a value is wrong.
        """
        _check_map(rows, self.num_buckets, self.num_embeddings)
        self.map.copy_(pack(rows, bits_for(self.num_buckets)))

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Learn the map, from a narrow table and the frequencies."""
        generator = torch.Generator().manual_seed(seed)
        rows = learn_map(pretrained(PRE_DIM), counts, self.num_buckets, generator=generator)
        self.set_map(rows)

    def fit_to(self, target: Target) -> None:
        """Cluster the rows by k-means, weighted, and give each cluster its mean.

        Where there are more than 256 rows for a bucket, a sample of that size is clustered.
        """
        centres, rows = cluster(
            target.table.float(),
            self.num_buckets,
            weights=target.weights,
            generator=target.generator(),
        )
        self.set_map(rows)
        self.table.copy_(centres)  # stays where no id is sent
        super().fit_to(target)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); the map is i mod num_buckets again."""
        nn.init.normal_(self.table, std=std)
        self.set_map(torch.arange(self.num_embeddings, device=self.map.device) % self.num_buckets)

    def distinctness(self) -> Statement:
        """Return the statement for the number of rows."""
        return fewer_codes(self.num_buckets, self.num_embeddings, "rows", LEARNED)

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of rows from 1 to ``num_embeddings``."""
        floor = "the map has at least one bit for each id"
        return Sizes.of("num_buckets", range(1, num_embeddings + 1), floor)


class MappedEmbedding(CompressedEmbedding):
    """A stored map in front of any compressor: ``inner(map[i])``.

    ``MappedEmbedding(build(name, m, e, ratio=4, head=100, bits=8), rows)`` gives the m rows of
    `learn_map` to any method, with private rows for the first of them and all of it packed.

    Args:
        inner: The compressor of the rows that the map points to.
        rows: int64 ``(num_embeddings,)``, values in ``[0, inner.num_embeddings)``.
        padding_idx: This id gives zeros and gets no gradient; may be negative.

    State: ``map`` uint8, packed; the compressor's state as ``inner.*``.
    """

    map: Tensor

    def __init__(
        self, inner: CompressedEmbedding, rows: Tensor, *, padding_idx: int | None = None
    ) -> None:
        _check_map(rows, inner.num_embeddings)
        super().__init__(
            len(rows), inner.embedding_dim, padding_idx=padding_idx, sparse=inner.sparse
        )
        self.inner = inner
        packed = pack(rows, bits_for(inner.num_embeddings))
        self.register_buffer("map", packed.to(inner.device))

    def rows(self, ids: Tensor) -> Tensor:
        """Return the rows of checked int64 ``ids`` in the map."""
        return Stored(self.map, bits_for(self.inner.num_embeddings))(ids)

    def all_rows(self) -> Tensor:
        """Return the whole map, int64 ``(num_embeddings,)``."""
        return torch.cat([self.rows(ids) for ids in self.all_ids()])

    def compose(self, ids: Tensor) -> Tensor:
        """Look up the rows of the ids."""
        vectors: Tensor = self.inner(self.rows(ids))
        return vectors

    def reading(self) -> Reading | None:
        """Say the same as a map and what it leads to."""
        inner, reading = self.inner, self.inner.reading_inside()
        if reading is None:
            return None
        return Mapped(
            Stored(self.map, bits_for(inner.num_embeddings)), reading, inner.num_embeddings
        )

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return the addresses of the rows, prefixed by ``inner.``."""
        rows = self.rows(check_ids(ids, self.num_embeddings))
        return {f"inner.{name}": found for name, found in self.inner.addresses(rows).items()}

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Let the compressor learn: ids of one row count together, and their vectors average."""
        rows = self.all_rows()

        def total(of_each_id: Tensor) -> Tensor:
            sums = of_each_id.new_zeros(self.inner.num_embeddings, *of_each_id.shape[1:])
            return sums.index_add_(0, rows, of_each_id)

        def means(width: int) -> Tensor:
            table = pretrained(width)
            weights = counts.clamp(min=1).to(table)  # an id that never occurs has a vector too
            weights /= total(weights)[rows]
            return total(weights.unsqueeze(1) * table)

        self.inner.learn(total(counts), means, seed=seed)

    def fit_to(self, target: Target) -> None:
        """Fit the compressor to the mean of the ids of each row, with the weight of them all.

        What the ids of a row lose to their mean, no compressor behind the map can change.
        """
        rows = self.inner.num_embeddings
        sums = torch.zeros(rows, self.embedding_dim, dtype=torch.float64, device=self.device)
        total = torch.zeros(rows, dtype=torch.float64, device=self.device)
        for ids, x, w in target.chunks():
            sums.index_add_(0, self.rows(ids), w * x)
            total.index_add_(0, self.rows(ids), w.squeeze(1))
        means = sums / total.masked_fill(total == 0, 1).unsqueeze(1)
        self.inner.fit_to(Target(means, total, target.seed))

    def freeze(self) -> CompressedEmbedding:
        """Return the same map over the frozen compressor."""
        inner = self.inner.freeze()
        if inner is self.inner:
            return self
        return MappedEmbedding(inner, self.all_rows(), padding_idx=self.padding_idx)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Reset the compressor; the map stays."""
        self.inner.reset_parameters(std)

    def distinctness(self) -> Statement:
        """Return the statement for the number of rows."""
        rows = self.inner.num_embeddings
        return fewer_codes(rows, self.num_embeddings, "rows of a stored map", LEARNED)


def _check_map(rows: Tensor, num_rows: int, num_ids: int | None = None) -> None:
    if rows.ndim != 1 or (num_ids is not None and len(rows) != num_ids):
        wanted = "one row per id" if num_ids is None else f"({num_ids},)"
        raise ValueError(f"a map must have shape {wanted}, got {tuple(rows.shape)}")
    if not lacks_values(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < num_rows:
        bad = int(rows.min()) if int(rows.min()) < 0 else int(rows.max())
        raise ValueError(f"a map must point to rows in [0, {num_rows}), got {bad}")


@checked
@torch.no_grad()
def learn_map(
    pre_embedding: Tensor,
    counts: Tensor,
    num_buckets: int,
    *,
    num_hot: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a map from ids to rows by what the ids mean and how frequent they are.

    The most frequent ids get private rows. All others are clustered by k-means on their
    pre-embedding and the logarithm of their frequency, each column scaled to variance 1.

    Args:
        pre_embedding: ``(num_embeddings, width)``, a narrow table trained before.
        counts: ``(num_embeddings,)``, occurrences of each id.
        num_buckets: Rows to map to.
        num_hot: Number of ids with private rows; half of ``num_buckets`` by default.
        generator: Source of k-means' initial choice; on the CPU.

    Returns:
        int64 ``(num_embeddings,)``; rows from 0 on belong to the hot ids, most frequent first.

    Raises:
        ValueError: A shape or size does not fit.
    """
    num_embeddings = pre_embedding.shape[0] if pre_embedding.ndim else 0
    if pre_embedding.ndim != 2 or counts.shape != (num_embeddings,):
        raise ValueError(
            "pre_embedding must be (num_embeddings, width) and counts (num_embeddings,), got "
            f"{tuple(pre_embedding.shape)} and {tuple(counts.shape)}"
        )
    whole("num_buckets", num_buckets, 1, num_embeddings)
    hot = whole("num_hot", num_buckets // 2 if num_hot is None else num_hot, 0, num_buckets)
    if hot == num_buckets < num_embeddings:
        raise ValueError(f"num_hot must leave a row for the other ids: < {num_buckets}, got {hot}")
    order = counts.argsort(descending=True, stable=True)
    rows = torch.empty(num_embeddings, dtype=torch.int64, device=counts.device)
    rows[order[:hot]] = torch.arange(hot, device=counts.device)
    cold = order[hot:]
    if len(cold):
        frequency = counts[cold].to(pre_embedding.dtype).log1p().unsqueeze(1)
        features = torch.cat([pre_embedding[cold], frequency], 1)
        features = features - features.mean(0)
        features = features / features.square().mean(0).sqrt().clamp(min=1e-12)
        clusters = num_buckets - hot
        rows[cold] = hot + cluster(features, clusters, generator=generator)[1]
    return rows
