"""Ids whose composed vectors are equal, or nearly so, also after rounding.

Addresses say what the design forces; equal vectors are what a model sees. Two ids may read
different rows and still get one vector (equal MEmCom multipliers, zero rows, rounding), so these
functions compose the rows, a chunk at a time.

Equal rows are found by a 64-bit fingerprint of each row and then *verified* row against row, so the
answer is exact. Near rows are found through an orthogonal projection to a few coordinates, which
can only shorten distances: every pair within eps stays within eps there. A k-d tree lists those
candidates and the full rows decide, so that answer is exact as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from memcom._annotations import checked
from memcom._check import choice, real, whole
from memcom.collisions.groups import Groups, group_equal
from memcom.collisions.sharing import Layer, device_of, id_chunks

ROUNDINGS = ("none", "fp16", "bf16", "int8")
CHUNK_ROWS = 2**14
"""Rows composed at a time."""
_PROJECTIONS = 4


class TooManyCandidates(ValueError):
    """More pairs are near each other than can be checked: eps is no small distance here."""


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of ids whose composed vectors are at most `eps` apart (Euclidean), equal ones included.

    Attributes:
        eps: The distance.
        rounding: Rounding applied to the composed rows first.
        equal: Groups of ids with equal vectors.
        near: `(pairs, 2)` int64: pairs of *different* vectors within eps, each vector named by its
            lowest id, lower id first, in ascending order.
        num_pairs: Unordered pairs of ids within eps, members of `equal` groups counted one by one.
        num_ids: Ids that are in at least one pair.
    """

    eps: float
    rounding: str
    equal: Groups
    near: np.ndarray
    num_pairs: int
    num_ids: int


@checked
def round_rows(rows: torch.Tensor, rounding: str) -> torch.Tensor:
    """Round rows as a stored table would, and return what a reader of it gets.

    Args:
        rows: `(n, embedding_dim)` floating point.
        rounding: "none"; "fp16"; "bf16"; "int8": 256 levels between the smallest and the largest
            value of *each row*, with the row's scale and offset kept as they are. Rows that differ
            by a factor keep different scales, so a MEmCom bucket survives int8 of composed rows;
            it is 8-bit *multipliers* that collide (see `multiplier_gaps`).

    Returns:
        Rows of the same shape in float32, or float64 if they were given so.

    Raises:
        ValueError: If the rounding is not one of these.
    """
    choice("rounding", rounding, ROUNDINGS)
    if rows.ndim != 2 or rows.is_complex() or not rows.shape[1]:
        raise ValueError(
            f"rows must be real numbers (n, embedding_dim), got {rows.dtype} {tuple(rows.shape)}"
        )
    if rows.dtype != torch.float64:
        rows = rows.float()
    if rounding == "none":
        return rows
    if rounding in ("fp16", "bf16"):
        return rows.to(torch.float16 if rounding == "fp16" else torch.bfloat16).to(rows.dtype)
    low, high = rows.aminmax(dim=-1, keepdim=True)
    scale = (high - low) / 255
    step = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.round((rows - low) / step) * scale + low


def compose_rows(emb: Layer, ids: np.ndarray | torch.Tensor, rounding: str) -> np.ndarray:
    """Compose and round the rows of `ids`; -0.0 becomes +0.0, so equal rows have equal bytes."""
    ids = torch.as_tensor(ids, device=device_of(emb))
    with torch.no_grad():
        rows = (round_rows(emb(ids), rounding) + 0.0).cpu().numpy()
    bad = np.isnan(rows).any(axis=1)
    if bad.any():
        raise ValueError(f"the vector of id {int(ids[int(bad.argmax())])} holds nan")
    return np.ascontiguousarray(rows)


def fingerprints(rows: np.ndarray) -> np.ndarray:
    """Multiply-add hash of each row's 32-bit words; equal rows agree, others rarely do."""
    words = rows.view(np.uint32).astype(np.uint64)
    words ^= words >> np.uint64(15)
    odd = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    value = (words * odd).sum(axis=1, dtype=np.uint64)
    value ^= value >> np.uint64(32)
    return value * np.uint64(0x9E3779B97F4A7C15)


@checked
def equal_vectors(emb: Layer, rounding: str = "none", chunk_size: int = CHUNK_ROWS) -> Groups:
    """Group the ids whose composed (and rounded) vectors are equal, +0.0 and -0.0 being equal.

    Args:
        emb: The layer; rows are composed twice, in chunks.
        rounding: See `round_rows`.
        chunk_size: Rows composed at a time (bounds memory beyond 8 bytes an id).

    Returns:
        The groups of two and more ids, largest first; exact.

    Raises:
        ValueError: If a vector holds nan, or the rounding is unknown.
    """
    whole("chunk_size", chunk_size, 1)
    found = [fingerprints(compose_rows(emb, ids, rounding)) for ids in id_chunks(emb, chunk_size)]
    suspects = group_equal(np.concatenate([np.zeros(0, np.uint64), *found]))
    leader = np.arange(emb.num_embeddings)  # lowest id with the same vector
    while len(suspects):
        ids, first = suspects.ids, np.repeat(suspects.first, suspects.sizes)
        same = np.concatenate(
            [
                compose_rows(emb, ids[s], rounding) == compose_rows(emb, first[s], rounding)
                for s in _slices(len(ids), chunk_size)
            ]
        ).all(axis=1)
        leader[ids[same]] = first[same]
        suspects = group_equal(first[~same], ids[~same])  # different rows with one fingerprint
    return group_equal(leader)


def _slices(n: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, n, step))


@checked
def near_vectors(
    emb: Layer,
    eps: float,
    rounding: str = "none",
    max_candidates: int = 20_000_000,
    chunk_size: int = CHUNK_ROWS,
) -> NearPairs:
    """Find all pairs of ids whose vectors are at most `eps` apart.

    Args:
        emb: The layer.
        eps: Euclidean distance, at least 0, in the units of the vectors.
        rounding: See `round_rows`.
        max_candidates: Most candidate pairs to check (16 bytes each).
        chunk_size: Rows composed at a time.

    Returns:
        The pairs; exact, distances computed in float64.

    Raises:
        ValueError: If `eps` is negative, or a vector holds nan or infinity.
        TooManyCandidates: If there are more candidates than `max_candidates` (then eps is no small
            distance for this table); a ValueError.
    """
    real("eps", eps, 0)
    whole("max_candidates", max_candidates, 0)
    equal = equal_vectors(emb, rounding, chunk_size)
    weight = np.ones(emb.num_embeddings, np.int64)  # ids with the vector, at the lowest of them
    weight[equal.ids] = 0
    weight[equal.first] = equal.sizes
    distinct = np.flatnonzero(weight)
    pairs = np.zeros((0, 2), np.int64)
    if eps > 0 and len(distinct) > 1:
        points = _project(emb, distinct, rounding, chunk_size)
        pairs = distinct[_candidate_pairs(points, eps, max_candidates)]
    close = [np.zeros(0, bool)]
    for s in _slices(len(pairs), chunk_size):
        left, right = (compose_rows(emb, pairs[s, k], rounding).astype(np.float64) for k in (0, 1))
        close.append(np.linalg.norm(left - right, axis=1) <= eps)
    near = pairs[np.concatenate(close)]
    near = near[np.lexsort((near[:, 1], near[:, 0]))].astype(np.int64)
    return NearPairs(
        eps=eps,
        rounding=rounding,
        equal=equal,
        near=near,
        num_pairs=equal.num_pairs + int((weight[near[:, 0]] * weight[near[:, 1]]).sum()),
        num_ids=int(weight[np.union1d(near.ravel(), equal.first)].sum()),
    )


def _project(emb: Layer, ids: np.ndarray, rounding: str, chunk_size: int) -> np.ndarray:
    """Coordinates of the rows along a few fixed orthonormal directions, float64."""
    basis: np.ndarray | None = None
    parts = []
    for s in _slices(len(ids), chunk_size):
        rows = compose_rows(emb, ids[s], rounding).astype(np.float64)
        if not np.isfinite(rows).all():
            raise ValueError(f"vectors must be finite (rounding {rounding!r})")
        if basis is None:
            random = np.random.default_rng(0).standard_normal((rows.shape[1], _PROJECTIONS))
            basis = np.linalg.qr(random)[0]
        parts.append(rows @ basis)
    return np.concatenate(parts)


def _candidate_pairs(points: np.ndarray, eps: float, most: int) -> np.ndarray:
    """Pairs of positions `(pairs, 2)`, lower first, whose points are within eps."""
    from scipy.spatial import cKDTree

    radius = eps * (1 + 1e-9) + 1e-12 * float(np.abs(points).max())
    tree = cKDTree(points)
    count = (int(tree.count_neighbors(tree, radius)) - len(points)) // 2
    if count > most:
        raise TooManyCandidates(
            f"eps={eps} leaves {count:,} candidate pairs, more than max_candidates={most:,}; "
            "choose a smaller eps"
        )
    return np.sort(tree.query_pairs(radius, output_type="ndarray"), axis=1)
