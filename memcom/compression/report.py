"""The report on tables that were compressed or replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from memcom._text import table
from memcom.budget import Plan
from memcom.embeddings import CompressedEmbedding, EmbeddingBag


@dataclass(frozen=True)
class CompressedTable:
    """One table and what has become of it.

    Attributes:
        name: The module's name in the model; ``"table"`` for a table or layer alone.
        method: The method, with its options.
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors.
        nbytes_before: Bytes of the table before.
        nbytes: Bytes of the layer, once frozen.
        error: Squared error over all ids, as a share of the table's own squares; None if the table
            was replaced and not fitted.
        weighted_error: The same with each id weighted by its frequency.
        tried: Each method that was tried: its weighted error, or the reason why it has none.
        plan: The sizes of the layer.
        heads: Output projections that read the layer now; their table was the same.
    """

    name: str
    method: str
    num_embeddings: int
    embedding_dim: int
    nbytes_before: int
    nbytes: int
    error: float | None = None
    weighted_error: float | None = None
    tried: Mapping[str, float | str] = field(default_factory=dict, repr=False)
    plan: Plan | None = field(default=None, repr=False)
    heads: tuple[str, ...] = ()

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes now."""
        return self.nbytes_before / self.nbytes


@dataclass(frozen=True)
class Compressed:
    """A compressed layer or model, and the report.

    Attributes:
        model: The layer, or the model with its new layers.
        tables: One entry for each table that was replaced.
        kept: Embeddings that were left as they are, by name, and why.
    """

    model: nn.Module
    tables: tuple[CompressedTable, ...]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def layer(self) -> CompressedEmbedding:
        """The layer, where one table alone was compressed."""
        layer = self.model.embedding if isinstance(self.model, EmbeddingBag) else self.model
        if not isinstance(layer, CompressedEmbedding):
            raise ValueError("a model was compressed, not one layer; it is in .model")
        return layer

    @property
    def nbytes_before(self) -> int:
        """Bytes of all replaced tables."""
        return sum(t.nbytes_before for t in self.tables)

    @property
    def nbytes(self) -> int:
        """Bytes of all new layers."""
        return sum(t.nbytes for t in self.tables)

    @property
    def compression_ratio(self) -> float:
        """Bytes before over bytes now, of the replaced tables."""
        return self.nbytes_before / self.nbytes

    def __str__(self) -> str:
        rows = []
        for t in self.tables:
            row = {
                "table": t.name,
                "method": t.method,
                "ids": f"{t.num_embeddings:,}",
                "width": f"{t.embedding_dim:,}",
                "bytes before": f"{t.nbytes_before:,}",
                "bytes": f"{t.nbytes:,}",
                "ratio": f"{t.compression_ratio:.2f}",
            }
            if t.error is not None and t.weighted_error is not None:
                row |= {"error": f"{t.error:.2%}", "weighted": f"{t.weighted_error:.2%}"}
            rows.append(row)
        text = {"table", "method"}
        lines = [table(rows, style="plain", right=[name for name in rows[0] if name not in text])]
        lines += [f"{head} reads {t.name} now" for t in self.tables for head in t.heads]
        lines += [f"{name} is left as it is: {why}" for name, why in self.kept.items()]
        return "\n".join(lines)
