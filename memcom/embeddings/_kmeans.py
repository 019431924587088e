"""Lloyd's k-means in bounded memory, and for very many clusters in bounded time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memcom.embeddings._allocation import allocate

_CELLS = 2**20
"""Distances computed at a time."""
_ROUNDS = 16
_LARGEST = 2**30
"""Distances of a round of k-means; where there are more, points are divided into groups first."""


def cluster(
    points: Tensor,
    num_clusters: int,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Cluster points by k-means; more than `PER_CLUSTER` points a cluster are sampled.

    A round of k-means takes points times clusters distances. Where that is more than `_LARGEST`,
    the points are first divided into as many groups as bring it down to that, at most the square
    root of ``num_clusters``. Each group is clustered by itself, with clusters in proportion to its
    (weighted) squared error.

    Args:
        points: ``(num_points, width)``.
        num_clusters: Number of clusters.
        weights: ``(num_points,)`` > 0; None for 1 each.
        generator: Source of the sample and of the first centres; on the CPU.

    Returns:
        The centres ``(num_clusters, width)``, and int64 ``(num_points,)``, the cluster of each
        point: that of the nearest centre, among those of its group where there are groups.
    """
    count = len(points)
    if count * num_clusters > _LARGEST and num_clusters >= 4:
        return _cluster_in_groups(points, num_clusters, weights, generator)
    drawn = sample(count, num_clusters, generator).to(points.device)
    importance = None if weights is None else weights[drawn]
    centres = kmeans(points[drawn], num_clusters, weights=importance, generator=generator)
    return centres, assign(points, centres)[0]


def _cluster_in_groups(
    points: Tensor, num_clusters: int, weights: Tensor | None, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    num_groups = min(math.isqrt(num_clusters), -(-len(points) * num_clusters // _LARGEST))
    groups, group = cluster(points, num_groups, weights=weights, generator=generator)
    error = (points - groups[group]).square().sum(1).double()
    error = error if weights is None else error * weights
    sizes = torch.bincount(group, minlength=len(groups))
    numbers = _in_proportion(
        error.new_zeros(len(groups)).index_add_(0, group, error), sizes, num_clusters
    ).tolist()
    found, nearest, first = [], torch.empty_like(group), 0
    for own, number in zip(group.argsort(stable=True).split(sizes.tolist()), numbers, strict=True):
        if number:
            importance = None if weights is None else weights[own]
            found.append(kmeans(points[own], number, weights=importance, generator=generator))
            nearest[own] = first + assign(points[own], found[-1])[0]
            first += number
    spare = points[:1].expand(num_clusters - first, -1)  # more clusters than points
    return torch.cat([*found, spare]), nearest


def _in_proportion(error: Tensor, sizes: Tensor, total: int) -> Tensor:
    """Clusters of each group: one, and more in proportion to ``error``, up to ``sizes``."""
    one = sizes.clamp(max=1)
    least = max(1e-9 * float(error.max()), 1e-300)  # every share is positive
    left = min(total, int(sizes.sum())) - int(one.sum())
    return one + allocate(error.clamp(min=least), sizes - one, left)


def kmeans(
    points: Tensor,
    num_clusters: int,
    *,
    weights: Tensor | None = None,
    iterations: int = 20,
    generator: torch.Generator | None,
) -> Tensor:
    """Return ``(num_clusters, width)`` centres of ``(num_points, width)`` points.

    A cluster that loses all its points gets the point that is farthest from its centre, so no
    centre is undefined, and with no more distinct points than clusters all are hit.

    Args:
        points: ``(num_points, width)``.
        num_clusters: Number of centres.
        weights: ``(num_points,)`` > 0: a point of weight 3 counts as three. None for 1 each.
        iterations: Rounds at most.
        generator: Source of the first centres; on the CPU.

    Returns:
        The centres.
    """
    count = len(points)
    centres = _spread(points, num_clusters, weights, generator)
    before = None
    for _ in range(iterations):
        nearest, distance = assign(points, centres)
        if before is not None and torch.equal(before, nearest):
            break
        before = nearest
        centres, sizes = means(points, nearest, num_clusters, weights)
        empty = (sizes == 0).nonzero().flatten()
        farthest = distance.topk(min(len(empty), count)).indices
        centres[empty[: len(farthest)]] = points[farthest]
        centres[empty[len(farthest) :]] = points[0]
    return centres


def _spread(
    points: Tensor, num_clusters: int, weights: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """Draw first centres in `_ROUNDS` rounds; one point a round is k-means++ (Arthur 2007)."""
    chance = torch.ones(len(points), dtype=torch.float64, device=points.device)
    centres = points[:0]
    for part in torch.arange(num_clusters).tensor_split(min(num_clusters, _ROUNDS)):
        if len(centres):
            chance = assign(points, centres)[1].double()
        level = (chance if weights is None else chance * weights).cumsum(0)
        draw = torch.rand(len(part), dtype=torch.float64, generator=generator).to(level.device)
        drawn = torch.searchsorted(level, draw * level[-1], right=True)
        centres = torch.cat([centres, points[drawn.clamp(max=len(points) - 1)]])
    return centres


def assign(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centre of each point and the squared distance, both ``(num_points,)``."""
    sizes = centres.square().sum(1)
    found = [
        torch.addmm(sizes, piece, centres.T, alpha=-2).min(1)
        for piece in points.split(max(1, _CELLS // len(centres)))
    ]
    distance = torch.cat([f.values for f in found]) + points.square().sum(1)
    return torch.cat([f.indices for f in found]), distance.clamp(min=0)


def means(
    points: Tensor, group: Tensor, num_groups: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean point of each group, zeros for an empty one, and the groups' sizes.

    With weights the means are weighted, and the sizes are sums of weights.
    """
    if weights is None:
        sizes = torch.bincount(group, minlength=num_groups)
        weighted = points
    else:
        sizes = points.new_zeros(num_groups).index_add_(0, group, weights.to(points.dtype))
        weighted = points * weights.to(points.dtype).unsqueeze(1)
    sums = points.new_zeros(num_groups, points.shape[1]).index_add_(0, group, weighted)
    return sums / sizes.masked_fill(sizes == 0, 1).unsqueeze(1), sizes


PER_CLUSTER = 256
"""Points that k-means is run on for each cluster."""


def sample(count: int, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """Draw the points, of ``count``, that clusters are found on: int64, on the CPU.

    At most `PER_CLUSTER` for each cluster; of many points one may be drawn twice.
    """
    take = min(count, PER_CLUSTER * num_clusters)
    if take * 4 > count:
        return torch.randperm(count, generator=generator)[:take]
    return torch.randint(count, (take,), generator=generator)  # no list of all points
