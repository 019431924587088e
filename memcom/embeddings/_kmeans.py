"""Lloyd's k-means in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

_CELLS = 2**22
"""Distances computed at a time."""
_ROUNDS = 16


def kmeans(
    points: Tensor,
    num_clusters: int,
    *,
    iterations: int = 20,
    generator: torch.Generator | None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return ``(num_clusters, width)`` centres of ``(num_points, width)`` points.

    The squared distance of a point counts as often as its weight says, ``(num_points,)``, once
    without weights.

    A cluster that loses all its points gets the point that is farthest from its centre, so no
    centre is undefined, and with no more distinct points than clusters all are hit.
    """
    count = len(points)
    centres = _spread(points, num_clusters, generator, weights)
    before = None
    for _ in range(iterations):
        nearest, distance = assign(points, centres)
        if before is not None and torch.equal(before, nearest):
            break
        before = nearest
        centres, sizes = means(points, nearest, num_clusters, weights)
        empty = (sizes == 0).nonzero().flatten()
        distance = distance if weights is None else distance * weights
        farthest = distance.topk(min(len(empty), count)).indices
        centres[empty[: len(farthest)]] = points[farthest]
        centres[empty[len(farthest) :]] = points[0]
    return centres


def _spread(
    points: Tensor,
    num_clusters: int,
    generator: torch.Generator | None,
    weights: Tensor | None,
) -> Tensor:
    """Draw first centres in `_ROUNDS` rounds; one point a round is k-means++ (Arthur 2007)."""
    weight = torch.ones(len(points), dtype=torch.float64, device=points.device)
    own = weight if weights is None else weights.double()
    centres = points[:0]
    for part in torch.arange(num_clusters).tensor_split(min(num_clusters, _ROUNDS)):
        if len(centres):
            weight = assign(points, centres)[1].double()
        level = (weight * own).cumsum(0)
        draw = torch.rand(len(part), dtype=torch.float64, generator=generator).to(level.device)
        drawn = torch.searchsorted(level, draw * level[-1], right=True)
        centres = torch.cat([centres, points[drawn.clamp(max=len(points) - 1)]])
    return centres


def assign(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centre of each point and the squared distance, both ``(num_points,)``."""
    found = [
        (centres.square().sum(1) - 2 * piece @ centres.T).min(1)
        for piece in points.split(max(1, _CELLS // len(centres)))
    ]
    distance = torch.cat([f.values for f in found]) + points.square().sum(1)
    return torch.cat([f.indices for f in found]), distance.clamp(min=0)


def means(
    points: Tensor, group: Tensor, num_groups: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean point of each group, zeros for an empty one, and the groups' sizes.

    With weights ``(num_points,)`` these are weighted means and sums of weights.
    """
    if weights is None:
        sizes = torch.bincount(group, minlength=num_groups)
        sums = points.new_zeros(num_groups, points.shape[1]).index_add_(0, group, points)
        return sums / sizes.clamp(min=1).unsqueeze(1), sizes
    sizes = torch.bincount(group, weights, minlength=num_groups)
    weighted = points * weights.to(points.dtype).unsqueeze(1)
    sums = points.new_zeros(num_groups, points.shape[1]).index_add_(0, group, weighted)
    return sums / sizes.to(points.dtype).masked_fill(sizes == 0, 1).unsqueeze(1), sizes


PER_CLUSTER = 256
"""Points in a sample for each cluster."""


def sampled(count: int, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """Draw at most `PER_CLUSTER` of ``count`` points for each cluster, without repeats; sorted."""
    return torch.randperm(count, generator=generator)[: PER_CLUSTER * num_clusters].sort().values
