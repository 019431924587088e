"""Bags: compose every row first, then pool.

The order matters for a product of tables: the sum of products is not the product of sums. Layers
that pool each table and combine afterwards are right only for bags of one id.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memcom.addresses import require_tensor
from memcom.embeddings._arguments import (
    COMMON,
    check_tensor,
    choice,
    flag,
    refuse_unknown,
    shown,
)
from memcom.embeddings._contract import CompressedEmbedding
from memcom.embeddings.full import FullEmbedding
from memcom.kernels import fused_bag

__all__ = ["EmbeddingBag"]

_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


class EmbeddingBag(nn.Module):
    """`torch.nn.EmbeddingBag` over any compressor.

    The pooling is torch's, applied to the composed rows, so that empty bags, offsets, padding and
    weights mean the same::

        ids      [ 3 1 | 4 1 5 | | 9 ]      offsets [0, 2, 5, 5]
        vectors  [ v v | v v v | | v ]  ->  4 pooled rows, the third all zeros

    ``EmbeddingBag(layer, "sum")`` pools the rows of any layer. ``EmbeddingBag(1000, 64,
    mode="sum")`` is `torch.nn.EmbeddingBag` with a full table, and loads its state.

    Args:
        embedding: The compressor whose rows are pooled; or the number of ids of a full table.
        *given: After a layer the mode; after a number of ids the width of the vectors.
        mode: ``"sum"``, ``"mean"``, which is the default, or ``"max"``.
        include_last_offset: ``offsets`` has one more entry, the number of ids.
        **options: Of a full table: ``padding_idx``, ``sparse``, ``device``, ``dtype``.

    Raises:
        TypeError: There is neither a layer nor two sizes, or an option is unknown.
        ValueError: The mode is no such, or a size is out of range.

    A ``padding_idx`` of the compressor is left out of the bag, and does not count in a mean.
    """

    def __init__(
        self,
        embedding: CompressedEmbedding | int,
        *given: Any,
        mode: str | None = None,
        include_last_offset: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        known = ("mode", "include_last_offset")
        if isinstance(embedding, CompressedEmbedding):
            refuse_unknown("EmbeddingBag of a layer", options, known)
            if mode is not None:
                given = (*given, mode)
            if len(given) > 1:
                raise TypeError(f"EmbeddingBag takes a layer and one mode, got {shown(given)}")
            mode = given[0] if given else "mean"
        elif isinstance(embedding, int) and not isinstance(embedding, bool) and len(given) == 1:
            options = refuse_unknown("EmbeddingBag", options, (*known, *COMMON))
            embedding = FullEmbedding(embedding, *given, **options)
            mode = "mean" if mode is None else mode
        else:
            raise TypeError(
                "EmbeddingBag takes a compressor of memcom, as in EmbeddingBag(layer, 'sum'), or "
                "num_embeddings and embedding_dim of a full table, and all else by name; got "
                f"{', '.join(map(shown, (embedding, *given)))}"
            )
        self.embedding = embedding
        self.mode = choice("mode", mode, ("sum", "mean", "max"))
        self.include_last_offset = flag("include_last_offset", include_last_offset)

    @property
    def num_embeddings(self) -> int:
        """Number of ids."""
        return self.embedding.num_embeddings

    @property
    def embedding_dim(self) -> int:
        """Width of the vectors."""
        return self.embedding.embedding_dim

    @property
    def padding_idx(self) -> int | None:
        """The id that is left out of bags."""
        return self.embedding.padding_idx

    @property
    def weight(self) -> Tensor:
        """The layer's `CompressedEmbedding.weight`."""
        return self.embedding.weight

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        """Take the state of a `torch.nn.EmbeddingBag`, too."""
        if isinstance(self.embedding, FullEmbedding) and f"{prefix}weight" in state_dict:
            state_dict[f"{prefix}embedding.weight"] = state_dict.pop(f"{prefix}weight")
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def forward(
        self,
        ids: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Pool the vectors of each bag.

        Args:
            ids: int32 or int64; ``(bags, length)``, or ``(total,)`` with ``offsets``.
            offsets: Integers ``(bags,)``, where each bag starts in ``ids``: rising, from 0 on.
            per_sample_weights: Of the shape of ``ids``, for ``mode="sum"`` only; each multiplies
                its own composed row once.

        Returns:
            Tensor of shape ``(bags, embedding_dim)``.

        Raises:
            TypeError: The offsets are no integers, or the compressor refuses the ids.
            IndexError: An id is out of range.
            ValueError: The offsets do not rise from 0 to at most the number of ids, or the shapes
                do not fit, as `torch.nn.functional.embedding_bag` says.
        """
        for name, value in (("offsets", offsets), ("per_sample_weights", per_sample_weights)):
            if value is not None:
                check_tensor(name, value)
        require_tensor(ids)
        self.embedding.require_integers()
        if offsets is not None:
            offsets = self._checked(offsets, ids)
            if ids.ndim == 1 and offsets.shape[0] == int(self.include_last_offset):  # torch crashes
                return self.embedding(ids)[:0]
        if ids.ndim == 2 and not ids.shape[1] and offsets is None and per_sample_weights is None:
            return self.embedding(ids).sum(1)  # bags of no ids, which torch refuses
        pooled = self._fused(ids, offsets, per_sample_weights)
        if pooled is not None:
            return pooled
        vectors = self.embedding(ids).reshape(-1, self.embedding.embedding_dim)
        positions = torch.arange(ids.numel(), device=ids.device).view(ids.shape)
        padding_idx = self.embedding.padding_idx
        if padding_idx is not None:
            nothing = vectors.shape[0]  # the position of one more row, which torch leaves out
            positions = positions.masked_fill(ids == padding_idx, nothing)
            vectors = torch.cat([vectors, vectors.new_zeros(1, vectors.shape[1])])
            padding_idx = nothing
        return F.embedding_bag(
            positions,
            vectors,
            offsets,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=padding_idx,
        )

    def _checked(self, offsets: Tensor, ids: Tensor) -> Tensor:
        """Return a copy of the offsets as int64, once they are known to be rising positions."""
        if offsets.dtype not in _INTEGERS:
            raise TypeError(f"offsets must be integers, got {offsets.dtype}")
        if offsets.ndim != 1:
            raise ValueError(f"offsets must have shape (bags,), got {list(offsets.shape)}")
        copied = offsets.to(torch.int64, copy=True)
        if self.include_last_offset and not copied.shape[0]:
            raise ValueError("include_last_offset needs at least one offset, got none")
        traced = (
            torch.compiler.is_compiling()
            or torch._C._get_tracing_state() is not None
            or torch._C._len_torch_dispatch_stack()
            or torch._C._are_functorch_transforms_active()
        )
        if traced or type(copied) is not Tensor or copied.is_meta or not copied.shape[0]:
            return copied  # the values are not known
        first, last = int(copied[0]), int(copied[-1])
        if first != 0 or last > ids.numel() or bool((copied.diff() < 0).any()):
            raise ValueError(
                f"offsets must rise from 0 to at most {ids.numel()}, the number of ids, "
                f"got {copied.tolist() if len(copied) <= 10 else f'{first} ... {last}'}"
            )
        return copied

    def _fused(
        self, ids: Tensor, offsets: Tensor | None, per_sample_weights: Tensor | None
    ) -> Tensor | None:
        """Pool in one compiled pass, where `memcom.kernels` can."""
        layer = self.embedding
        if not layer.has_reading:
            return None
        if torch.compiler.is_compiling() or (ids.ndim == 1) == (offsets is None):
            return None
        if offsets is None:
            if ids.ndim != 2:
                return None
            bags = torch.arange(ids.shape[0] + 1, dtype=torch.int64, device=ids.device)
            offsets = bags * ids.shape[1]
        elif not self.include_last_offset:
            offsets = torch.cat([offsets, offsets.new_tensor([len(ids)])])
        if per_sample_weights is not None:
            if per_sample_weights.shape != ids.shape:
                return None
            per_sample_weights = per_sample_weights.flatten()
        return fused_bag(layer, ids.flatten(), offsets, self.mode, per_sample_weights)

    def extra_repr(self) -> str:
        """Return the mode."""
        return f"mode={self.mode!r}"
