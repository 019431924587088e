"""Click models with a table for each categorical field: DLRM, DCN, and a score per id.

DLRM: Naumov et al., 2019, https://arxiv.org/abs/1906.00091. Deep & Cross Network: Wang et al.,
ADKDD 2017, https://arxiv.org/abs/1708.05123. Both as in the quotient-remainder paper (Shi et al.,
KDD 2020, https://arxiv.org/abs/1909.02107, section 5), whose sizes are DLRM with bottom 512-256-64
and top 512-256, DCN with 6 cross layers and deep 512-256-64. The defaults here are small.

    DLRM   dense -> bottom MLP -> z_0,  rows z_1 .. z_F;  top MLP of [z_0, <z_i, z_j> for i < j]
    DCN    x_0 = [z_1 .. z_F, dense];   x_(l+1) = x_0 <w_l, x_l> + b_l + x_l;
           linear of [x_L, deep MLP of x_0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from memcom.embeddings import CompressedEmbedding
from memcom.tasks.classifiers import Classifier, dense_layers


class ClickModel(Classifier):
    """A table for each field; a subclass says what becomes of the rows.

    Args:
        tables: Field name -> table, all of one width, in the order of the id columns.
        num_dense: Number of dense columns.

    Raises:
        ValueError: There is no table, or the widths differ.
    """

    def __init__(self, tables: Mapping[str, CompressedEmbedding], num_dense: int) -> None:
        super().__init__()
        widths = sorted({table.embedding_dim for table in tables.values()})
        if len(widths) != 1 or num_dense < 0:
            raise ValueError(
                f"the tables must have one width and num_dense be >= 0, got widths {widths} and "
                f"num_dense {num_dense}"
            )
        self.fields = tuple(tables)
        self.embedding_dim = widths[0]
        self.num_dense = num_dense
        # Numbered, because a field may be called what a module may not.
        self.embeddings = nn.ModuleList(tables.values())

    def vectors(self, ids: Tensor) -> Tensor:
        """Composed rows ``(n, fields, embedding_dim)`` of ids ``(n, fields)``."""
        if ids.ndim != 2 or ids.shape[1] != len(self.embeddings):
            raise ValueError(
                f"ids must be (n, {len(self.embeddings)}), a column per field, "
                f"got {tuple(ids.shape)}"
            )
        pairs = zip(self.embeddings, ids.unbind(1), strict=True)
        return torch.stack([table(column) for table, column in pairs], dim=1)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Log odds of a click.

        Args:
            ids: int64 ``(n, fields)``.
            dense: float32 ``(n, num_dense)``.

        Returns:
            ``(n,)`` logits.
        """
        raise TypeError(f"{type(self).__name__} does not say what becomes of the rows")


class DLRM(ClickModel):
    """Dot products of all pairs of fields, the dense columns among them as one more.

    Args:
        tables: Field name -> table, all of one width.
        num_dense: Number of dense columns; with none there is no bottom MLP.
        bottom: Widths of the hidden layers of the bottom MLP; the tables' width comes last.
        top: Widths of the hidden layers of the top MLP; one logit comes last.
        dropout: Probability of dropping an input of each layer of the top MLP.
    """

    def __init__(
        self,
        tables: Mapping[str, CompressedEmbedding],
        num_dense: int,
        *,
        bottom: Sequence[int] = (64,),
        top: Sequence[int] = (64, 32),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(tables, num_dense)
        width, count = self.embedding_dim, len(self.embeddings) + bool(num_dense)
        self.bottom = dense_layers(num_dense, (*bottom, width)) if num_dense else None
        self.register_buffer("pairs", torch.triu_indices(count, count, 1), persistent=False)
        entries = count * (count - 1) // 2 + (width if num_dense else 0)
        if not entries:
            raise ValueError("one field without dense columns has no pair; use DCN")
        self.top = dense_layers(entries, (*top, 1), dropout)

    pairs: Tensor

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Log odds of a click; see `ClickModel.forward`."""
        vectors = self.vectors(ids)
        known = []
        if self.bottom is not None:
            known = [self.bottom(dense)]
            vectors = torch.cat([known[0][:, None], vectors], dim=1)
        dots = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return self.top(torch.cat([*known, dots], dim=1))[:, 0]


class DCN(ClickModel):
    """Crosses of growing degree, beside an MLP.

    Args:
        tables: Field name -> table, all of one width.
        num_dense: Number of dense columns.
        cross_layers: Number of cross layers; layer l has terms up to degree l + 1.
        deep: Widths of the layers of the MLP.
        dropout: Probability of dropping an input of each layer of the MLP.
    """

    def __init__(
        self,
        tables: Mapping[str, CompressedEmbedding],
        num_dense: int,
        *,
        cross_layers: int = 3,
        deep: Sequence[int] = (64, 32),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(tables, num_dense)
        if cross_layers < 0 or not deep:
            raise ValueError(
                f"cross_layers must be >= 0 and deep have a layer, got {cross_layers} and {deep}"
            )
        width = len(self.embeddings) * self.embedding_dim + num_dense
        self.cross_weight = nn.Parameter(torch.randn(cross_layers, width) / width**0.5)
        self.cross_bias = nn.Parameter(torch.zeros(cross_layers, width))
        self.deep = dense_layers(width, deep, dropout)
        self.output = nn.Linear(width + deep[-1], 1)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Log odds of a click; see `ClickModel.forward`."""
        first = torch.cat([self.vectors(ids).flatten(1), dense], dim=1)
        crossed = first
        for weight, bias in zip(self.cross_weight, self.cross_bias, strict=True):
            crossed = first * (crossed @ weight)[:, None] + bias + crossed
        deep = torch.relu(self.deep(first))
        return self.output(torch.cat([crossed, deep], dim=1))[:, 0]


class FieldBias(Classifier):
    """Control: logistic regression, one number per id of every field. No crosses.

    Args:
        cardinalities: Number of ids of each field.
        num_dense: Number of dense columns.
    """

    def __init__(self, cardinalities: Sequence[int], num_dense: int) -> None:
        super().__init__()
        ends = torch.cumsum(torch.tensor(cardinalities), 0)
        self.register_buffer("starts", ends - torch.tensor(cardinalities), persistent=False)
        self.bias = nn.Embedding(int(ends[-1]), 1, sparse=True)
        nn.init.zeros_(self.bias.weight)
        self.dense = nn.Linear(num_dense, 1) if num_dense else None
        self.intercept = nn.Parameter(torch.zeros(()))

    starts: Tensor

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Log odds of a click, ``(n,)``, from ids ``(n, fields)`` and dense ``(n, num_dense)``."""
        total = self.bias(ids + self.starts)[..., 0].sum(1) + self.intercept
        return total if self.dense is None else total + self.dense(dense)[:, 0]
