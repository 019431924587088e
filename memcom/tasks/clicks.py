"""The click task: clicked or not from many categorical fields; AUC and log loss.

Each field has a table of its own. Those of at most ``threshold`` ids stay full, the others are
compressed so that all together meet the budget (`memcom.budget.plan_tables`).

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
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from memcom._check import whole
from memcom.budget import Plan, plan, plan_tables
from memcom.data import LabelledRows
from memcom.data.containers import TRAIN, split_code
from memcom.embeddings import CompressedEmbedding, FieldEmbeddings, Occurrences, parse_spec
from memcom.tasks._fit import check_layers
from memcom.tasks._model import dense_layers
from memcom.tasks._run import asked_ratio, default_options
from memcom.tasks.metrics import auc, log_loss
from memcom.tasks.protocol import Task
from memcom.tasks.supervised import (
    Classifier,
    Prior,
    SupervisedOptions,
    SupervisedRun,
    predict,
)


class ClickModel(Classifier):
    """Base of click models: a table for each field; a subclass combines the rows.

    Args:
        tables: Field name -> table, all of one width, in the order of the id columns.
        num_dense: Number of dense columns.

    Raises:
        ValueError: There is no table, or the widths differ.
    """

    def __init__(self, tables: Mapping[str, CompressedEmbedding], num_dense: int) -> None:
        super().__init__()
        if num_dense < 0:
            raise ValueError(f"num_dense must be >= 0, got {num_dense}")
        self.fields = tuple(tables)
        # Numbered inside, because a field may be called what a module may not.
        self.embeddings = FieldEmbeddings(list(tables.values()))
        self.embedding_dim = next(iter(tables.values())).embedding_dim
        self.num_dense = num_dense

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Return the log odds of a click.

        Args:
            ids: int64 ``(n, fields)``.
            dense: float32 ``(n, num_dense)``.

        Returns:
            ``(n,)`` logits.
        """
        raise NotImplementedError


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
        width, count = self.embedding_dim, len(tables) + bool(num_dense)
        self.bottom = dense_layers(num_dense, (*bottom, width)) if num_dense else None
        self.register_buffer("pairs", torch.triu_indices(count, count, 1), persistent=False)
        entries = count * (count - 1) // 2 + (width if num_dense else 0)
        if not entries:
            raise ValueError("one field without dense columns has no pair; use DCN")
        self.top = dense_layers(entries, (*top, 1), dropout)

    pairs: Tensor

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Return the log odds of a click; see `ClickModel.forward`."""
        vectors = self.embeddings(ids)
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
        width = len(tables) * self.embedding_dim + num_dense
        self.cross_weight = nn.Parameter(torch.randn(cross_layers, width) / width**0.5)
        self.cross_bias = nn.Parameter(torch.zeros(cross_layers, width))
        self.deep = dense_layers(width, deep, dropout)
        self.output = nn.Linear(width + deep[-1], 1)

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        """Return the log odds of a click; see `ClickModel.forward`."""
        first = torch.cat([self.embeddings(ids).flatten(1), dense], dim=1)
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
        """Return the log odds of a click, ``(n,)``; inputs as in `ClickModel.forward`."""
        total = self.bias(ids + self.starts)[..., 0].sum(1) + self.intercept
        return total if self.dense is None else total + self.dense(dense)[:, 0]


@dataclass(frozen=True)
class ClickExamples:
    """Rows of categorical fields of one split.

    Attributes:
        ids: ``(n, fields)`` int64, in the order of the data's fields.
        dense: ``(n, d)`` float32, with mean 0 and variance 1 on the training rows; d may be 0.
        label: ``(n,)`` int64, 0 or 1.
    """

    ids: Tensor
    dense: Tensor
    label: Tensor

    @classmethod
    def of(cls, data: LabelledRows, split: str) -> ClickExamples:
        """Return the rows of a split, in the order of the data.

        Args:
            data: All rows.
            split: ``"train"``, ``"valid"`` or ``"test"``.

        Returns:
            The rows.

        Raises:
            ValueError: There are none, there are not two classes, or the rows are weighted.
        """
        if data.num_classes != 2 or data.weight is not None:
            weighted = "weighted" if data.weight is not None else "unweighted"
            raise ValueError(
                f"clicks are unweighted rows of 2 classes; {data.name} has {data.num_classes} "
                f"classes and {weighted} rows"
            )
        rows = torch.from_numpy((data.split == split_code(split)).nonzero()[0])
        if not len(rows):
            raise ValueError(f"{data.name}: the {split} split is empty")
        dense = torch.zeros(len(data), 0)
        if data.dense is not None:
            dense = torch.from_numpy(data.dense)
            trained = dense[torch.from_numpy(data.split == TRAIN)].double()
            scale = trained.std(0, correction=0)
            scale[scale == 0] = 1
            dense = ((dense - trained.mean(0)) / scale).float()
        ids = torch.stack([torch.from_numpy(column)[rows] for column in data.fields.values()], 1)
        return cls(ids, dense[rows], torch.from_numpy(data.label)[rows])

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return ids ``(m, fields)`` and dense columns ``(m, d)`` of ``rows (m,)``."""
        return self.ids[rows], self.dense[rows]


@dataclass(frozen=True)
class ClickOptions:
    """Options of the model around the tables; in brackets, sizes of the quotient-remainder paper.

    Attributes:
        model: ``"dlrm"`` or ``"dcn"``.
        embedding_dim: Width of the vectors [16].
        threshold: Fields of at most this number of ids keep a full table [200 in its code].
        bottom: Hidden widths of DLRM's bottom MLP [512, 256].
        top: Hidden widths of DLRM's top MLP [512, 256].
        cross_layers: Number of DCN's cross layers [6].
        deep: Widths of DCN's MLP [512, 256, 64].
        dropout: Dropout probability of the top and of the deep MLP.
        std: Standard deviation of the rows at the start.
    """

    model: str = "dlrm"
    embedding_dim: int = 64
    threshold: int = 200
    bottom: tuple[int, ...] = (64,)
    top: tuple[int, ...] = (64, 32)
    cross_layers: int = 3
    deep: tuple[int, ...] = (64, 32)
    dropout: float = 0.0
    std: float = 0.1

    def __post_init__(self) -> None:
        check_layers(self)
        if self.model not in ("dlrm", "dcn"):
            raise ValueError(f"model must be 'dlrm' or 'dcn', got {self.model!r}")
        whole("threshold", self.threshold, 0, 2**40)
        whole("cross_layers", self.cross_layers, 0, 1024)


class ClickRun(SupervisedRun):
    """A click model; the epoch is chosen by log loss."""

    options = (ClickOptions, SupervisedOptions)
    controls = ("prior", "bias-only")
    sign = -1
    data: LabelledRows
    shape: ClickOptions

    def examples(self, split: str) -> ClickExamples:
        """Return the rows of a split."""
        return ClickExamples.of(self.data, split)

    def plans(self) -> dict[str, Plan]:
        """Return the plan of every field's table; together they meet the budget."""
        name, options = parse_spec(self.setting.method)
        sizes, width = self.data.cardinalities, self.shape.embedding_dim
        ratio = asked_ratio(self.setting, 4 * width * sum(sizes.values()))
        if ratio is None:
            return {field: plan(name, n, width, **options) for field, n in sizes.items()}
        threshold = self.shape.threshold
        return plan_tables(name, sizes, width, ratio=ratio, threshold=threshold, **options)

    def occurrences(self, table: str) -> Occurrences:
        """Return the id of a field in each training row; no two ids of a field share a row."""
        ids = self.train.ids[:, list(self.data.fields).index(table)]
        return Occurrences(ids, torch.arange(len(ids)), self.data.cardinalities[table])

    def control(self) -> Classifier:
        """Build the control: the share of clicks, or a score per id of every field."""
        if self.setting.method == "prior":
            return Prior(self.train.label, 2, binary=True)
        return FieldBias(list(self.data.cardinalities.values()), self.train.dense.shape[1])

    def model(self, tables: dict[str, CompressedEmbedding]) -> ClickModel:
        """Build the untrained model around its tables."""
        shape, num_dense = self.shape, self.train.dense.shape[1]
        if shape.model == "dlrm":
            return DLRM(
                tables, num_dense, bottom=shape.bottom, top=shape.top, dropout=shape.dropout
            )
        return DCN(
            tables,
            num_dense,
            cross_layers=shape.cross_layers,
            deep=shape.deep,
            dropout=shape.dropout,
        )

    def score(self, logits: Tensor, label: Tensor) -> float:
        """Return minus the log loss."""
        return -float(log_loss(logits, label).mean())

    def measure(self, model: Classifier) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the log loss (nats) of each test row, and the AUC of all of them together."""
        test = self.examples("test")
        logits = predict(model, test)
        return {"log_loss": log_loss(logits, test.label).numpy()}, {"auc": auc(logits, test.label)}


_TRAINING = SupervisedOptions(batch_size=1024, epochs=20, patience=2)

TASK = Task(
    name="clicks",
    metric="log_loss",
    accepts=LabelledRows,
    run=ClickRun.run,
    size=ClickRun.size,
    check=ClickRun.check,
    profiles={
        "fast": default_options([1e-2], ClickOptions(), _TRAINING, epochs=3, patience=1),
        "full": default_options([1e-3, 3e-3, 1e-2], ClickOptions(), _TRAINING, batch_size=256),
    },
    higher_is_better=False,
    controls=ClickRun.controls,
    untrained=("prior",),
    unit="row",
    later=("forms",),
)
