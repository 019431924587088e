"""Mixed dimensions: popular ids get wide rows, rare ids narrow ones.

Ginart, Naumov, Mudigere, Yang, Zou, "Mixed Dimension Embeddings with Application to
Memory-Efficient Recommendation Systems", 2019, https://arxiv.org/abs/1909.11810.

    x_i = T_f[i - start_f] P_f,   f = the block that holds i        T_f: n_f x d_f,  P_f: d_f x e
    d_f = base_dim * (n_f / n_0)^(-alpha), at least 1, at most e    (the paper's power rule)

The ids, sorted by frequency, are cut into blocks whose sizes n_f grow geometrically. Under Zipf's
law such blocks are looked up about equally often, so an id's popularity is about 1 / n_f. (In the
authors' code a block is a whole field of the model, with a table of its own.)
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import Digit, check_ids
from memcom.embeddings._arguments import MAX_PARTS, Sizes, real, whole
from memcom.embeddings._card import Card, Paper
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target, leading_directions, project
from memcom.embeddings.registry import register
from memcom.kernels import Ranges, Read, Reading, Recipe, gather_rows

__all__ = ["MixedDimEmbedding"]

_STEEPEST = 100.0


@register("mixed-dim")
class MixedDimEmbedding(CompressedEmbedding):
    """A narrow table and a projection for each block of similarly frequent ids.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors that come out.
        base_dim: Width of the most popular block by the power rule. It may exceed
            ``embedding_dim``: no block becomes wider than that, but rarer blocks do widen.
        alpha: How fast widths fall with popularity; 0 for equal widths. The paper uses about 0.3.
        num_blocks: Blocks of ids, at most; fewer if there are too few ids.
        growth: Ids of a block over ids of the block before, about.
        **common: See `Common`.

    State: ``tables.0``, ... (n_f, d_f) drawn from N(0, 1), and ``projections.0``, ...
    (d_f, embedding_dim) drawn from N(0, 1 / d_f), without bias. A block of full width has no
    projection (its entry is missing).
    """

    card = Card(
        label="mixed dimension",
        formula="Tf[i] Pf, f: popularity block of i",
        distinct="generic",
        because="every id has a row, and each projection has full rank",
        use_when="If ids are sorted by frequency and frequent ones deserve wider rows.",
        look=("widths", 0),
        paper=Paper("Ginart et al.", 2019, "https://arxiv.org/abs/1909.11810"),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        base_dim: int,
        alpha: float = 0.3,
        num_blocks: int = 4,
        growth: float = 8.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.base_dim = whole("base_dim", base_dim, 1, 2**40)
        self.blocks = block_sizes(num_embeddings, num_blocks, growth)
        self.starts = list(accumulate(self.blocks[:-1], initial=0))
        self.widths = power_rule(self.blocks, embedding_dim, base_dim, alpha)
        self.tables = nn.ParameterList(map(self.new_table, self.blocks, self.widths))
        narrow = {str(f): width for f, width in enumerate(self.widths) if width < embedding_dim}
        self.projections = nn.ParameterDict(
            {f: self.new_table(width, embedding_dim) for f, width in narrow.items()}
        )
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Read every block at a fixed shape, and keep the block that holds the id."""
        vectors = self._block(ids, 0)
        for f in range(1, len(self.blocks)):
            inside = (ids >= self.starts[f]).unsqueeze(-1)
            vectors = torch.where(inside, self._block(ids, f), vectors)
        return vectors

    def reading(self) -> Reading:
        """Say the same as a range of ids for each block."""
        parts: list[tuple[int, Reading]] = []
        for f, (block, table) in enumerate(zip(self.blocks, self.tables, strict=True)):
            matrix = dict(self.projections.items()).get(str(f))
            read = Read(f"tables.{f}", table, Digit(block), projection=matrix)
            parts.append((block, Recipe((read,))))
        return Ranges(tuple(parts))

    def _block(self, ids: Tensor, f: int) -> Tensor:
        # Ids of other blocks wrap round; their reads are thrown away.
        own = (ids - self.starts[f]) % self.blocks[f]
        rows = gather_rows(self.tables[f], own, sparse=self.sparse)
        return rows @ self.projections[str(f)] if str(f) in self.projections else rows

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``tables``: the id's own row, counted through all blocks end to end."""
        return {"tables": check_ids(ids, self.num_embeddings)}

    def row_tables(self) -> list[str]:
        """Name the blocks; projections stay as they are."""
        return [f"tables.{f}" for f in range(len(self.tables))]

    def fit_to(self, target: Target) -> None:
        """Take the truncated singular value decomposition of each block."""
        for f, (start, block) in enumerate(zip(self.starts, self.blocks, strict=True)):
            part = target.part(slice(start, start + block))
            if str(f) in self.projections:
                directions = leading_directions(part, self.widths[f])
                project(part, directions, self.tables[f])
                self.projections[str(f)].copy_(directions)
            else:
                self.tables[f].copy_(part.table)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw everything, so that a composed row has variance ``std**2``."""
        for table in self.tables:
            nn.init.normal_(table, std=std)
        for projection in self.projections.values():
            nn.init.normal_(projection, std=projection.shape[0] ** -0.5)

    @classmethod
    def sizes(
        cls,
        num_embeddings: int,
        embedding_dim: int,
        *,
        alpha: float = 0.3,
        num_blocks: int = 4,
        growth: float = 8.0,
        **options: Any,
    ) -> Sizes:
        """Offer base widths from 1 to where even the rarest block has the full width."""
        blocks = block_sizes(num_embeddings, num_blocks, growth)
        real("alpha", alpha, 0, _STEEPEST)
        widest = math.ceil(embedding_dim * (max(blocks) / blocks[0]) ** alpha)
        floor = "every id stores one number at the least, so ratio < embedding_dim"
        return Sizes.of("base_dim", range(1, max(widest, embedding_dim) + 1), floor)


def block_sizes(num_embeddings: int, num_blocks: int, growth: float) -> list[int]:
    """Return the ids of each block, most popular first, growing by about ``growth``."""
    whole("num_blocks", num_blocks, 1, MAX_PARTS)
    real("growth", growth, 1, 1e4)
    total = sum(growth**f for f in range(num_blocks))
    shares = accumulate(growth**f / total for f in range(num_blocks - 1))
    ends = [round(num_embeddings * share) for share in shares] + [num_embeddings]
    sizes = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [size for size in sizes if size > 0]


def power_rule(blocks: list[int], embedding_dim: int, base_dim: int, alpha: float) -> list[int]:
    """Return the widths of the blocks, in ``[1, embedding_dim]``."""
    real("alpha", alpha, 0, _STEEPEST)
    wanted = (base_dim * (size / blocks[0]) ** -alpha for size in blocks)
    return [min(embedding_dim, max(1, round(width))) for width in wanted]
