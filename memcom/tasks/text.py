"""The text task: the class of a text from the mean of its token vectors; accuracy.

The classifier looks up, averages over the text, and gives a score per class after a dense tail,
which is empty by default. (The abstract of the MEmCom paper names no model.)

    tokens  [3 1 7 | 4 | 9 9 2]  ->  rows composed  ->  one mean per text  ->  (n, classes)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memcom.budget import Plan
from memcom.data import LabelledBags
from memcom.data.containers import split_code
from memcom.embeddings import CompressedEmbedding, EmbeddingBag, Occurrences
from memcom.tasks._fit import check_layers
from memcom.tasks._model import dense_layers
from memcom.tasks._run import default_options, plan_table
from memcom.tasks.histories import Histories
from memcom.tasks.metrics import accuracy, log_loss
from memcom.tasks.protocol import Task
from memcom.tasks.supervised import (
    Classifier,
    Prior,
    SupervisedOptions,
    SupervisedRun,
    predict,
)


class TextClassifier(Classifier):
    """Mean-pooled token vectors, dense tail, a score per class.

    Rows are composed first, then pooled; an empty text gets the mean vector 0.

    Args:
        embedding: Table of the tokens.
        num_classes: Number of classes, at least 2.
        hidden: Widths of the tail's ReLU layers; none is a linear model.
        dropout: Probability of dropping an entry of the pooled vector and of each hidden layer.

    Raises:
        ValueError: A size is out of its range.
    """

    def __init__(
        self,
        embedding: CompressedEmbedding,
        num_classes: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.bag = EmbeddingBag(embedding, "mean", include_last_offset=True)
        self.tail = dense_layers(embedding.embedding_dim, (*hidden, num_classes), dropout)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Return the logits of texts.

        Args:
            tokens: int64 ``(total,)``, the texts one after another.
            offsets: int64 ``(n + 1,)``; text r is ``tokens[offsets[r]:offsets[r + 1]]``.

        Returns:
            ``(n, num_classes)`` logits.
        """
        return self.tail(self.bag(tokens, offsets))


@dataclass(frozen=True)
class TextExamples:
    """Texts of one split.

    Attributes:
        texts: Their tokens.
        label: ``(n,)`` int64.
    """

    texts: Histories
    label: Tensor

    @classmethod
    def of(cls, data: LabelledBags, split: str, *, max_tokens: int | None = None) -> TextExamples:
        """Return the texts of a split, in the order of the data.

        Args:
            data: All texts.
            split: ``"train"``, ``"valid"`` or ``"test"``.
            max_tokens: Cut each text after this number of tokens; None takes all.

        Returns:
            The texts.

        Raises:
            ValueError: There are none, or ``max_tokens`` is below 1.
        """
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1 or None, got {max_tokens}")
        rows = torch.from_numpy((data.split == split_code(split)).nonzero()[0])
        if not len(rows):
            raise ValueError(f"{data.name}: the {split} split is empty")
        every = Histories(torch.from_numpy(data.offsets), torch.from_numpy(data.tokens))
        texts = every.take(rows)
        if max_tokens is not None:
            place = torch.arange(len(texts.items)) - texts.offsets[texts.rows]
            texts = Histories.from_lengths(
                texts.lengths.clamp(max=max_tokens), texts.items[place < max_tokens]
            )
        return cls(texts, torch.from_numpy(data.label)[rows])

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return tokens ``(total,)`` and offsets ``(m + 1,)`` of ``rows (m,)``."""
        texts = self.texts.take(rows)
        return texts.items, texts.offsets


@dataclass(frozen=True)
class TextOptions:
    """Options of the classifier around the token table.

    Attributes:
        embedding_dim: Width of the vectors.
        hidden: Widths of the dense tail.
        dropout: Dropout probability of the tail.
        std: Standard deviation of the rows at the start.
        max_tokens: Texts are cut after this number of tokens.
    """

    embedding_dim: int = 64
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    std: float = 0.1
    max_tokens: int = 256

    def __post_init__(self) -> None:
        check_layers(self, "max_tokens")


class TextRun(SupervisedRun):
    """A text classifier; the epoch is chosen by accuracy."""

    options = (TextOptions, SupervisedOptions)
    controls = ("prior",)
    data: LabelledBags
    shape: TextOptions

    def examples(self, split: str) -> TextExamples:
        """Return the texts of a split."""
        return TextExamples.of(self.data, split, max_tokens=self.shape.max_tokens)

    def plans(self) -> dict[str, Plan]:
        """Return the plan of the token table."""
        width = self.shape.embedding_dim
        return {"tokens": plan_table(self.setting, self.data.num_tokens, width)}

    def occurrences(self, table: str) -> Occurrences:
        """Return the tokens of each text in the training part."""
        texts = self.train.texts
        return Occurrences(texts.items, texts.rows, self.data.num_tokens)

    def control(self) -> Prior:
        """Build the control: the training frequency of each class."""
        return Prior(self.train.label, self.data.num_classes)

    def model(self, tables: dict[str, CompressedEmbedding]) -> TextClassifier:
        """Build the untrained classifier around its table."""
        shape = self.shape
        return TextClassifier(
            tables["tokens"], self.data.num_classes, hidden=shape.hidden, dropout=shape.dropout
        )

    def score(self, logits: Tensor, label: Tensor) -> float:
        """Return the accuracy."""
        return float(accuracy(logits, label).mean())

    def measure(self, model: Classifier) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return accuracy and log loss (nats) of each text of the test part."""
        test = self.examples("test")
        logits, label = predict(model, test), test.label
        hits, losses = accuracy(logits, label).numpy(), log_loss(logits, label).numpy()
        return {"accuracy": hits, "log_loss": losses}, {}


_TRAINING = SupervisedOptions(batch_size=128, epochs=30, patience=4)

TASK = Task(
    name="text",
    metric="accuracy",
    accepts=LabelledBags,
    run=TextRun.run,
    size=TextRun.size,
    check=TextRun.check,
    profiles={
        "fast": default_options(
            [1e-2], TextOptions(embedding_dim=32, max_tokens=128), _TRAINING, epochs=8, patience=2
        ),
        "full": default_options([3e-3, 1e-2, 3e-2], TextOptions(), _TRAINING),
    },
    controls=TextRun.controls,
    untrained=TextRun.controls,
    unit="text",
    later=("forms",),
)
