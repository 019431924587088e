"""Rows of different widths: row i stores its first k_i numbers, the others are zero.

    x_i = (values[o_i], ..., values[o_i + k_i - 1], 0, ..., 0)        o_i = k_0 + ... + k_(i-1)

Stored are the values, end to end, and where each row begins: n + 1 offsets of ceil(log2(N + 1))
bits for N values. AMTL and SCALL freeze to this layer. With widths that fall with popularity and
stay as they are it is a compressor itself, which trains in the bytes it ships.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._allocation import allocate, power_law
from memcom.embeddings._arguments import Sizes, whole
from memcom.embeddings._card import Card
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import Target
from memcom.embeddings.registry import register
from memcom.kernels import Ragged, Reading, gather_rows
from memcom.kernels.bits import Stored, bits_for, pack, packed_nbytes, unpack

__all__ = ["JaggedEmbedding"]


@register("jagged")
class JaggedEmbedding(CompressedEmbedding):
    """The first k_i numbers of every row.

    Args:
        num_embeddings: Number of ids, sorted by descending frequency.
        embedding_dim: Width of the vectors that come out.
        num_values: Numbers stored in all rows together, N.
        alpha: The widths are in proportion to ``(i + 1)**-alpha``, clipped to ``embedding_dim``.
            `from_table` takes any others.
        **common: See `Common`.

    State: ``values`` (num_values, 1), drawn from N(0, n e / num_values), so that the mean square
    over all coordinates is 1; ``offsets`` uint8, packed.
    """

    card = Card(
        label="jagged rows",
        formula="the first k(i) numbers of T[i], then 0",
        distinct="lossy",
        because="rows of width 0 are one",
        use_when="As the control for learned widths: widths fall with popularity by a power law.",
        look=("ragged", 0),
    )

    offsets: Tensor

    each_once = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_values: int,
        alpha: float = 0.5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_values = whole("num_values", num_values, 1, num_embeddings * embedding_dim)
        self.alpha = alpha
        self.values = self.new_table(num_values, 1)
        size = packed_nbytes(num_embeddings + 1, bits_for(num_values + 1))
        empty = torch.empty(size, dtype=torch.uint8, device=self.values.device)
        self.register_buffer("offsets", empty)
        self.reset_parameters()

    @classmethod
    @torch.no_grad()
    def from_table(
        cls, table: Tensor, sizes: Tensor, *, padding_idx: int | None = None, sparse: bool = False
    ) -> JaggedEmbedding:
        """Make a layer of the first ``sizes[i]`` numbers of every row.

        Args:
            table: ``(num_embeddings, embedding_dim)``, floating point.
            sizes: Whole numbers ``(num_embeddings,)`` in ``[0, embedding_dim]``.
            padding_idx: This id gives zeros; may be negative.
            sparse: Give sparse gradients.

        Returns:
            The layer. If all sizes are 0 one unused number is stored.

        Raises:
            ValueError: The sizes do not fit the table.
        """
        rows, width = table.shape
        if sizes.shape != (rows,) or not 0 <= int(sizes.min()) <= int(sizes.max()) <= width:
            raise ValueError(f"sizes must be ({rows},) in [0, {width}], got {tuple(sizes.shape)}")
        total = int(sizes.sum())
        layer = cls(
            rows,
            width,
            num_values=max(1, total),
            padding_idx=padding_idx,
            sparse=sparse,
            device="meta",
            dtype=table.dtype,
        ).to_empty(device=table.device)
        layer._set_sizes(sizes)
        kept = torch.arange(width, device=table.device) < sizes.unsqueeze(1)
        layer.values.zero_()[:total, 0] = table[kept]
        return layer

    def fit_to(self, target: Target) -> None:
        """Copy the first numbers of every row; the widths stay as they are."""
        for ids in self.all_ids():
            start, end = self._bounds(ids)
            number = torch.arange(self.embedding_dim, device=ids.device)
            kept = number < (end - start).unsqueeze(1)
            self.values[int(start[0]) : int(end[-1]), 0] = target.table[ids][kept].to(
                self.values.dtype
            )

    def _set_sizes(self, sizes: Tensor) -> None:
        ends = F.pad(sizes.long().cumsum(0), (1, 0))
        self.offsets.copy_(pack(ends, bits_for(self.num_values + 1)))

    def _bounds(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Begin and end of the rows of checked int64 ``ids``."""
        bits = bits_for(self.num_values + 1)
        return unpack(self.offsets, ids, bits), unpack(self.offsets, ids + 1, bits)

    def sizes_of(self, ids: Tensor) -> Tensor:
        """Return the widths of ``ids``, int64 of their shape."""
        start, end = self._bounds(check_ids(ids, self.num_embeddings))
        return end - start

    def compose(self, ids: Tensor) -> Tensor:
        """Read ``embedding_dim`` values from the row's begin; zero those of other rows."""
        start, end = self._bounds(ids)
        cells = start.unsqueeze(-1) + torch.arange(self.embedding_dim, device=ids.device)
        rows = gather_rows(self.values, cells.clamp(max=self.num_values - 1), sparse=self.sparse)
        return rows.squeeze(-1).masked_fill(cells >= end.unsqueeze(-1), 0)

    def reading(self) -> Reading:
        """Say the same as rows of different lengths."""
        starts = Stored(self.offsets, bits_for(self.num_values + 1))
        return Ragged(self.values, starts, None, self.embedding_dim)

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``rows``: the id itself, or ``num_embeddings`` for ids that store nothing."""
        ids = check_ids(ids, self.num_embeddings)
        return {"rows": ids.masked_fill(self.sizes_of(ids) == 0, self.num_embeddings)}

    def row_tables(self) -> list[str]:
        """Name the values; the offsets stay as they are."""
        return ["values"]

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw the values; the widths follow the power law again."""
        full = self.num_embeddings * self.embedding_dim
        nn.init.normal_(self.values, std=std * (full / self.num_values) ** 0.5)
        if not lacks_values(self.values):
            weights = power_law(self.num_embeddings, self.alpha, self.values.device)
            self._set_sizes(allocate(weights, self.embedding_dim, self.num_values))

    @classmethod
    def sizes(cls, num_embeddings: int, embedding_dim: int, **options: Any) -> Sizes:
        """Offer every number of values from 1 to all."""
        floor = "where each row begins is stored in at least one bit"
        return Sizes.of("num_values", range(1, num_embeddings * embedding_dim + 1), floor)
