"""Gain-shape quantisation: MEmCom whose buckets are learned, by direction.

Sabin and Gray, "Product Code Vector Quantizers for Waveform and Voice Coding", IEEE Transactions on
Acoustics, Speech, and Signal Processing 32(3), 1984, https://doi.org/10.1109/TASSP.1984.1164346;
Gersho and Gray, "Vector Quantization and Signal Compression", 1992, chapter 12.

    x_i = V[i] U[map[i]]        U: m x e shapes,  V: n x 1 gains,  map: n row numbers

A vector is a shape, one of a codebook, times a gain of its own. MEmCom,
https://arxiv.org/abs/2203.10135, is this quantiser with the shape i mod m: its ids share a
direction for no reason of theirs. Here those share one that point the same way, or the opposite
one, for a gain may be negative. In its source gains are coded too; here they are numbers, which
``weight_bits=8`` rounds.

The map comes from k-means on lines through the origin, see `cluster_lines`. It is stored:
ceil(log2 m) bits for each id beside the gain, so the ratio stays below 32 e / (32 + log2 m).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit
from memcom.embeddings._arguments import Sizes
from memcom.embeddings._card import Card, Paper, Statement
from memcom.embeddings._contract import Common, TableEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings._kmeans import sample
from memcom.embeddings.lhf import PRE_DIM, LearnedHashEmbedding
from memcom.embeddings.registry import register
from memcom.kernels import Read, Recipe

__all__ = ["GainShapeEmbedding"]

ITERATIONS = 20
_CELLS = 2**22  # products computed at a time


@register("gain-shape")
class GainShapeEmbedding(LearnedHashEmbedding):
    """``table[map[i]] * multiplier[i]``; the map is i mod num_buckets until it is learned.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e.
        num_buckets: Shapes, m.
        **common: See `Common`.

    State: ``table`` (num_buckets, embedding_dim) drawn from N(0, 1); ``multiplier``
    (num_embeddings, 1), 1 to begin with; ``map`` uint8, one number of ceil(log2 num_buckets) bits
    for each id, packed.
    """

    card = Card(
        label="gain–shape",
        formula="U[map(i)] V[i], map: learned, by direction",
        distinct="if weights differ",
        because="vectors of one shape are multiples of it, as in MEmCom",
        use_when="To compress a trained table, whose directions are known: MEmCom with that map.",
        look=("codes", 3),
        paper=Paper("Sabin and Gray", 1984, "https://doi.org/10.1109/TASSP.1984.1164346"),
        learns="the map, from the directions of a narrow table trained before",
        note="gain-shape codes shapes as its paper does; gains are numbers of their own.",
    )
    own_weights = ("multiplier",)

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, num_buckets: int, **common: Unpack[Common]
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, num_buckets=num_buckets, **common)
        self.multiplier = self.new_table(num_embeddings, 1)
        nn.init.ones_(self.multiplier)

    def recipe(self) -> Recipe:
        """Multiply the shape at the address in the map by the id's gain."""
        own = Read("multiplier", self.multiplier, Digit(self.num_embeddings))
        return Recipe((*super().recipe().reads, own), "mult")

    def learn(self, counts: Tensor, pretrained: Callable[[int], Tensor], *, seed: int = 0) -> None:
        """Learn the map, from the directions of a narrow table and the frequencies."""
        narrow = pretrained(PRE_DIM)
        generator = torch.Generator().manual_seed(seed)
        shapes = cluster_lines(narrow, self.num_buckets, weights=counts, generator=generator)
        self.set_map(nearest_line(narrow, shapes)[0])

    def fit_to(self, target: Target) -> None:
        """Cluster the rows by direction; each cluster has its best shape, each id its gain.

        Where there are more than 256 rows for a shape, a sample of that size is clustered.
        """
        generator, rows = target.generator(), target.table.float()
        drawn = sample(len(rows), self.num_buckets, generator).to(rows.device)
        shapes = cluster_lines(
            rows[drawn], self.num_buckets, weights=target.weights[drawn], generator=generator
        )
        self.set_map(nearest_line(rows, shapes)[0])
        TableEmbedding.fit_to(self, target)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the table from N(0, std^2); gains are 1, the map is i mod num_buckets again."""
        super().reset_parameters(std)
        nn.init.ones_(self.multiplier)

    def distinctness(self) -> Statement:
        """Return the statement of the gains, which differ however few shapes there are."""
        return self.card.statement

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of shapes from 1 to ``num_embeddings``."""
        floor = f"every id stores its gain and a number of its shape, so ratio < {embedding_dim}"
        return Sizes.of("num_buckets", range(1, num_embeddings + 1), floor)


@torch.no_grad()
def cluster_lines(
    points: Tensor,
    num_clusters: int,
    *,
    weights: Tensor | None = None,
    iterations: int = ITERATIONS,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the directions of lines through the origin that are closest to points.

    The error of a point is its squared distance from the nearest line: ``|x|^2 - <x, u>^2``. As in
    k-means, points go to their nearest line, and lines move. A line moves by one step of the power
    iteration, which never raises the error of its points. One that loses all its points goes
    through the point of the largest error.

    Args:
        points: ``(num_points, width)``.
        num_clusters: Number of lines.
        weights: ``(num_points,)``, what the errors count; all alike if None.
        iterations: Rounds.
        generator: Source of the first lines, through points drawn by their squared length; on the
            CPU.

    Returns:
        ``(num_clusters, width)``, rows of length 1.
    """
    points = points.float()
    importance = torch.ones_like(points[:, 0]) if weights is None else weights.to(points)
    energy = points.square().sum(1)
    # Some weight for every point: there may be fewer points that count than lines.
    odds = (importance * energy).double()
    odds = odds + (odds.sum() * 1e-9 / len(odds) or 1.0)
    order = torch.rand(len(points), dtype=torch.float64, generator=generator).to(points.device)
    drawn = (order.log() / odds).topk(min(num_clusters, len(points))).indices
    lines = nn.functional.normalize(points[drawn.repeat(-(-num_clusters // len(drawn)))])
    lines = lines[:num_clusters]
    before = None
    for _ in range(iterations):
        group, along = nearest_line(points, lines)
        if before is not None and torch.equal(before, group):
            break
        before = group
        moved = torch.zeros_like(lines)
        moved.index_add_(0, group, points * (importance * along).unsqueeze(1))
        lost = moved.square().sum(1) == 0
        moved[lost] = lines[lost]
        far = (importance * (energy - along.square())).topk(min(int(lost.sum()), len(points)))
        moved[lost.nonzero().flatten()[: len(far.indices)]] = points[far.indices]
        lines = torch.where(
            moved.square().sum(1, keepdim=True) > 0, nn.functional.normalize(moved), lines
        )
    return lines


@torch.no_grad()
def nearest_line(points: Tensor, lines: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest line of each point, and the coordinate of the point along it.

    Args:
        points: ``(num_points, width)``.
        lines: ``(num_lines, width)``, rows of length 1.

    Returns:
        Numbers of lines, int64 ``(num_points,)``, and inner products, ``(num_points,)``.
    """
    lines = lines.to(torch.promote_types(points.dtype, lines.dtype))
    groups, coordinates = [], []
    for piece in points.to(lines.dtype).split(max(1, _CELLS // len(lines))):
        products = piece @ lines.T
        group = products.abs().argmax(1, keepdim=True)
        groups.append(group.squeeze(1))
        coordinates.append(products.gather(1, group).squeeze(1))
    return torch.cat(groups), torch.cat(coordinates)
