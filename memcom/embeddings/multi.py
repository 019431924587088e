"""Several small sets of embeddings instead of one wide one, against collapse.

Guo et al., "On the Embedding Collapse when Scaling up Recommendation Models", ICML 2024,
https://arxiv.org/abs/2310.04400 (section 5).

    h = mean over m of I_m(E_m(x))

Every set E_m has its own interaction I_m, so that the sets can come to differ; a shared interaction
would press them into one subspace. If the interaction is linear in E_m it should end in a
non-linearity, or the sets add up to a single one. The tables become M times larger; any compressor
may stand inside to pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from memcom._annotations import checked
from memcom.addresses import require_tensor
from memcom.embeddings._arguments import whole

__all__ = ["FieldEmbeddings", "MultiEmbedding", "multi_embedding"]


class FieldEmbeddings(nn.Module):
    """One table for each categorical field: ``(..., fields)`` ids to ``(..., fields, e)`` vectors.

    Args:
        tables: Compressors or `torch.nn.Embedding`, one a field, all of one width.

    Raises:
        ValueError: There are none, or the widths differ.
    """

    def __init__(self, tables: Sequence[nn.Module]) -> None:
        super().__init__()
        for table in tables:
            if not isinstance(getattr(table, "embedding_dim", None), int):
                raise TypeError(f"tables must be embeddings, got {type(table).__name__}")
        widths = sorted({int(table.embedding_dim) for table in tables})  # type: ignore[arg-type]
        if len(widths) != 1:
            raise ValueError(f"the tables of all fields must have one width, got {widths}")
        self.tables = nn.ModuleList(tables)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ``ids``, int32 or int64 of shape ``(..., fields)``."""
        require_tensor(ids)
        if ids.ndim == 0 or ids.shape[-1] != len(self.tables):
            raise ValueError(f"ids must be (..., {len(self.tables)}), got {tuple(ids.shape)}")
        columns = zip(self.tables, ids.unbind(-1), strict=True)
        return torch.stack([table(column) for table, column in columns], dim=-2)


class MultiEmbedding(nn.Module):
    """The mean over sets of embeddings, each through its own interaction.

    Args:
        embeddings: M modules from ids to vectors.
        interactions: M modules from these vectors to hidden vectors, all of one shape.

    Raises:
        ValueError: The numbers differ, there are none, or a module is used twice.
    """

    def __init__(self, embeddings: Sequence[nn.Module], interactions: Sequence[nn.Module]) -> None:
        super().__init__()
        if not embeddings or len(embeddings) != len(interactions):
            raise ValueError(
                f"every set needs an interaction: {len(embeddings)} sets, {len(interactions)}"
            )
        if len({id(module) for module in (*embeddings, *interactions)}) < 2 * len(embeddings):
            raise ValueError("every set needs its own embedding and interaction")
        self.embeddings = nn.ModuleList(embeddings)
        self.interactions = nn.ModuleList(interactions)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the mean of all sets' hidden vectors for ``ids``, of any shape the sets take."""
        pairs = zip(self.embeddings, self.interactions, strict=True)
        return torch.stack([interact(embed(ids)) for embed, interact in pairs]).mean(0)

    @property
    def nbytes(self) -> int:
        """Stored bytes of all sets, without the interactions."""
        return sum(t.numel() * t.element_size() for t in self.embeddings.state_dict().values())


@checked
def multi_embedding(
    num_sets: int,
    make_embedding: Callable[[], nn.Module],
    make_interaction: Callable[[], nn.Module],
) -> MultiEmbedding:
    """Make M sets, each drawn anew.

    ``memcom.multi_embedding(4, lambda: memcom.build("memcom", n, e, ratio=16), make_interaction)``

    Args:
        num_sets: Number of sets, M.
        make_embedding: Returns a new embedding: a compressor, or `FieldEmbeddings` of several.
        make_interaction: Returns a new interaction.

    Returns:
        The module. Its embeddings store M times the bytes of one.
    """
    whole("num_sets", num_sets, 1, 1024)
    embeddings = [make_embedding() for _ in range(num_sets)]
    return MultiEmbedding(embeddings, [make_interaction() for _ in range(num_sets)])
