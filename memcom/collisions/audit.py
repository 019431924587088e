"""Audit of a layer: the ids with equal vectors, and what theory says of the method.

    print(memcom.audit(emb))

Two ids with equal vectors are one id to every model behind the table. `audit` counts them for any
layer, as they are, nearly equal and after rounding, beside the theorem or the counter-example that
applies to the method (`memcom.collisions.distinct`).

No more than ``max_ids`` ids are compared at a time, which bounds memory. Larger tables are
partitioned: by a hash of the vector for equal ones, by position along one direction, with overlap,
for near ones. Each partition is composed again, and its comparison is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from memcom._annotations import checked
from memcom._check import choice, shown, whole
from memcom.collisions.distinct import Statement, uniqueness
from memcom.collisions.sharing import Layer, device_of, id_chunks
from memcom.collisions.vectors import (
    CHUNK_ROWS,
    ROUNDINGS,
    TooManyCandidates,
    compose_rows,
    equal_vectors,
    fingerprints,
    near_vectors,
)


@dataclass(frozen=True)
class Shared:
    """Ids whose vectors are equal.

    Attributes:
        rounding: Rounding of the vectors before they are compared; see `collisions.round_rows`.
        num_ids: Ids that share their vector with another id.
        num_distinct: Different vectors.
        largest: Ids with the most common vector (1 where all differ).
    """

    rounding: str
    num_ids: int
    num_distinct: int
    largest: int


@dataclass(frozen=True)
class Near:
    """Ids whose vectors are nearly equal.

    Attributes:
        eps: Distance, as a share of the root mean square length of a vector.
        distance: The same in the units of the vectors (Euclidean).
        num_ids: Ids with another id within that distance, equal ones included; None where there
            are too many pairs to look at, which makes eps no small distance for this table.
    """

    eps: float
    distance: float
    num_ids: int | None


@dataclass(frozen=True)
class Audit:
    """Counts of ids that a layer cannot tell apart; print it for a summary.

    Attributes:
        name: Class name of the layer.
        num_embeddings: Number of ids.
        statement: Theorem or counter-example that holds for the method.
        exact: One entry per rounding, "none" first.
        near: One entry per eps.
    """

    name: str
    num_embeddings: int
    statement: Statement
    exact: tuple[Shared, ...]
    near: tuple[Near, ...]

    @property
    def unique(self) -> bool:
        """True if all ids have different vectors, unrounded."""
        return self.exact[0].num_ids == 0

    def __str__(self) -> str:
        n = self.num_embeddings
        lines = [f"{self.name}: {self.exact[0].num_distinct:,} different vectors of {n:,} ids"]
        for shared in self.exact:
            where = "exactly" if shared.rounding == "none" else f"after {shared.rounding}"
            lines.append(
                f"  share a vector {where:<12} {shared.num_ids:>12,} ids ({shared.num_ids / n:.2%})"
                f", largest group {shared.largest:,}"
            )
        for near in self.near:
            found = "too many to list" if near.num_ids is None else f"{near.num_ids:,} ids"
            share = "" if near.num_ids is None else f" ({near.num_ids / n:.2%})"
            lines.append(f"  within {near.eps:g} of the mean length {found:>19}{share}")
        return "\n".join([*lines, f"  {self.statement}"])


@checked
def audit(
    emb: Layer,
    *,
    eps: Sequence[float] = (1e-3,),
    roundings: Sequence[str] = ("fp16", "int8"),
    max_ids: int = 2**23,
    chunk_size: int = CHUNK_ROWS,
) -> Audit:
    """Count the ids of a layer whose vectors are equal, or nearly so.

    >>> import memcom
    >>> print(memcom.audit(memcom.TruncatedEmbedding(100, 8, num_kept=20)))
    TruncatedEmbedding: 21 different vectors of 100 ids
      share a vector exactly                80 ids (80.00%), largest group 80
      share a vector after fp16             80 ids (80.00%), largest group 80
      share a vector after int8             80 ids (80.00%), largest group 80
      within 0.001 of the mean length              80 ids (80.00%)
      never: the 80 ids from 20 on share one row

    Args:
        emb: Any compressor.
        eps: Distances, as shares of the root mean square length of a vector; ``()`` for none.
        roundings: Of the composed vectors: "fp16", "bf16", "int8".
        max_ids: Ids compared at a time, which bounds memory to some hundred bytes times this.
        chunk_size: Ids composed at a time.

    Returns:
        The counts; print it for a summary.

    Raises:
        ValueError: If a vector holds NaN, or an option is out of range.
    """
    whole("max_ids", max_ids, 1)
    whole("chunk_size", chunk_size, 1)
    if any(not distance > 0 for distance in eps):
        raise ValueError(f"every eps must be > 0, got {shown(eps)}")
    for rounding in roundings:
        choice("each of roundings", rounding, ROUNDINGS)
    kinds = ["none", *(r for r in roundings if r != "none")]
    length = _mean_length(emb, chunk_size)
    return Audit(
        name=type(emb).__name__,
        num_embeddings=emb.num_embeddings,
        statement=uniqueness(emb),
        exact=tuple(_shared(emb, kind, max_ids, chunk_size) for kind in kinds),
        near=tuple(_near(emb, share, share * length, max_ids, chunk_size) for share in eps),
    )


class _Partition:
    """A part of a layer's ids, numbered from 0, with the interface of a layer."""

    def __init__(self, emb: Layer, ids: np.ndarray) -> None:
        self.emb, self.ids = emb, torch.from_numpy(ids).to(device_of(emb))
        self.num_embeddings = len(ids)
        self.state_dict = getattr(emb, "state_dict", dict)  # tells the device

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        return self.emb.addresses(self.ids[ids])

    def __call__(self, ids: Tensor) -> Tensor:
        return self.emb(self.ids[ids])


def _mean_length(emb: Layer, chunk_size: int) -> float:
    """Root mean square length of a vector."""
    total = 0.0
    for ids in id_chunks(emb, chunk_size):
        total += float((compose_rows(emb, ids, "none").astype(np.float64) ** 2).sum())
    return math.sqrt(total / emb.num_embeddings)


def _shared(emb: Layer, rounding: str, max_ids: int, chunk_size: int) -> Shared:
    num_ids, num_distinct, largest = 0, 0, 1
    for partition in _by_hash(emb, rounding, max_ids, chunk_size):
        groups = equal_vectors(partition, rounding, chunk_size)
        num_ids += len(groups.ids)
        num_distinct += groups.num_distinct
        largest = max([largest, *groups.sizes[:1].tolist()])
    return Shared(rounding, num_ids, num_distinct, largest)


def _by_hash(emb: Layer, rounding: str, max_ids: int, chunk_size: int) -> Iterator[Layer]:
    """Partitions in which equal vectors are together, of about `max_ids` ids at most."""
    parts = -(-emb.num_embeddings // max_ids)
    if parts == 1:
        yield emb
        return
    for part in range(parts):
        found = []
        for ids in id_chunks(emb, chunk_size):
            # The high half: the low half numbers nothing evenly where vectors are regular.
            hashes = fingerprints(compose_rows(emb, ids, rounding)) >> np.uint64(32)
            found.append(ids.cpu().numpy()[hashes % np.uint64(parts) == part])
        members = np.concatenate(found)
        if len(members):
            yield _Partition(emb, members)


def _near(emb: Layer, eps: float, distance: float, max_ids: int, chunk_size: int) -> Near:
    num_ids = 0
    try:
        for partition, core in _by_position(emb, distance, max_ids, chunk_size):
            pairs = near_vectors(partition, distance, chunk_size=chunk_size)
            found = np.union1d(pairs.near.ravel(), pairs.equal.ids)
            num_ids += int(core[found].sum())
    except TooManyCandidates:
        return Near(eps, distance, None)
    return Near(eps, distance, num_ids)


def _by_position(
    emb: Layer, distance: float, max_ids: int, chunk_size: int
) -> Iterator[tuple[Layer, np.ndarray]]:
    """Partitions by position along one direction, each with the ids within `distance` of it.

    Yields the partition, and which of its ids are inside; the others only surround it.
    """
    n = emb.num_embeddings
    if n <= max_ids:
        yield emb, np.ones(n, bool)
        return
    sample = np.linspace(0, n - 1, min(n, 2**16)).astype(np.int64)
    width = compose_rows(emb, sample[:1], "none").shape[1]
    drawn = np.random.default_rng(0).standard_normal(width)
    direction = drawn / np.linalg.norm(drawn)

    def position(ids: np.ndarray | Tensor) -> np.ndarray:
        return compose_rows(emb, ids, "none").astype(np.float64) @ direction

    seen = np.concatenate(
        [position(sample[k : k + chunk_size]) for k in range(0, len(sample), chunk_size)]
    )
    parts = -(-n // max_ids)
    edges = [-np.inf, *np.quantile(seen, np.arange(1, parts) / parts), np.inf]
    reach = distance * (1 + 1e-9)
    for low, high in pairwise(edges):
        members, core = [], []
        for ids in id_chunks(emb, chunk_size):
            at = position(ids)
            around = (at >= low - reach) & (at <= high + reach)
            members.append(ids.cpu().numpy()[around])
            core.append(((at >= low) & (at < high))[around])
        kept = np.concatenate(members)
        if len(kept):
            yield _Partition(emb, kept), np.concatenate(core)
