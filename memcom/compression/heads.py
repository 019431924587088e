"""Output projections that read an embedding instead of a table of their own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from memcom._annotations import checked
from memcom.embeddings import CompressedEmbedding


class SharedHead(nn.Module):
    """A `torch.nn.Linear` whose weight is that of an embedding: scores of all ids.

    A call composes all vectors, ``num_embeddings * embedding_dim`` numbers, and drops them after
    the step; nothing but the bias is stored here. Gradients reach the embedding. An id of padding
    scores the bias, or 0.

    Args:
        embedding: The layer; the model around has to hold it elsewhere.
        bias: ``(num_embeddings,)``, or None.
    """

    bias: nn.Parameter | None

    @checked
    def __init__(self, embedding: CompressedEmbedding, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self._shared = (embedding,)  # in a tuple, so that it is no module of this one
        self.register_parameter("bias", bias)

    @property
    def embedding(self) -> CompressedEmbedding:
        """The layer."""
        return self._shared[0]

    @property
    def weight(self) -> Tensor:
        """The layer's `CompressedEmbedding.weight`, ``(num_embeddings, embedding_dim)``."""
        return self.embedding.weight

    @property
    def in_features(self) -> int:
        """Width of the vectors."""
        return self.embedding.embedding_dim

    @property
    def out_features(self) -> int:
        """Number of ids."""
        return self.embedding.num_embeddings

    def forward(self, hidden: Tensor) -> Tensor:
        """Return scores.

        Args:
            hidden: ``(..., embedding_dim)``.

        Returns:
            Tensor of shape ``(..., num_embeddings)``.
        """
        return F.linear(hidden, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the arguments of `torch.nn.Linear`."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
