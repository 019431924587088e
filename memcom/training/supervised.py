"""Training on labelled rows: texts and clicks.

A step changes the rows of the tables that its batch read and no others (sparse gradients, lazy
Adam), so that it costs what the batch costs, whatever the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from memcom.classifiers import Classifier
from memcom.data import LabelledBags, LabelledRows
from memcom.data.containers import TRAIN, split_code
from memcom.optim import LazyAdam
from memcom.procedures import Occurrences, follow
from memcom.training.histories import Histories
from memcom.training.loop import Record, run_epochs


class Examples(Protocol):
    """Labelled rows of one split."""

    @property
    def label(self) -> Tensor:
        """``(n,)`` int64."""

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The model's inputs for ``rows (m,)``."""


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
        """The texts of a split.

        Args:
            data: All texts.
            split: ``"train"``, ``"valid"`` or ``"test"``.
            max_tokens: Only the first so many tokens of a text; None takes all.

        Returns:
            The texts, in the order of the data.

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
        """Tokens ``(total,)`` and offsets ``(m + 1,)``."""
        texts = self.texts.take(rows)
        return texts.items, texts.offsets


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
        """The rows of a split.

        Args:
            data: All rows.
            split: ``"train"``, ``"valid"`` or ``"test"``.

        Returns:
            The rows, in the order of the data.

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

    def occurrences(self, column: int, num_embeddings: int) -> Occurrences:
        """Which ids of a field occur in which rows; no two ids of a field share one."""
        ids = self.ids[:, column]
        return Occurrences(ids, torch.arange(len(ids)), num_embeddings)

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Ids ``(m, fields)`` and dense columns ``(m, d)``."""
        return self.ids[rows], self.dense[rows]


@dataclass(frozen=True)
class SupervisedOptions:
    """How to train.

    Attributes:
        learning_rate: Of lazy Adam.
        batch_size: Rows per step.
        epochs: At most so many passes over the rows.
        patience: Stop when validation has not improved for so many epochs.
        evaluate_every: Epochs between two looks at validation.
    """

    learning_rate: float = 1e-2
    batch_size: int = 256
    epochs: int = 20
    patience: int = 3
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "patience", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}")


def fit_supervised(
    model: Classifier,
    train: Examples,
    valid: Examples,
    score: Callable[[Tensor, Tensor], float],
    options: SupervisedOptions | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
    **changes: Any,
) -> Record:
    """Train a classifier by its log loss; choose the epoch by a score on the validation rows.

    Tables that become small while they train follow their schedules (see `memcom.procedures`).
    The same seed gives the same weights on a CPU, with the same number of threads.

    Args:
        model: Trained in place, on the device it is on; ends with the weights of its best epoch.
            Give its tables ``sparse=True``.
        train: Training rows.
        valid: Validation rows.
        score: ``score(logits, label)`` of the validation rows, higher is better.
        options: How to train; the defaults if None.
        seed: Of the order of the rows and of dropout.
        progress: Show a progress bar.
        **changes: Replace single options, such as ``epochs=20``.

    Returns:
        The training record.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: An option is out of its range.
    """
    options = replace(options or SupervisedOptions(), **changes)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = LazyAdam(learned, lr=options.learning_rate) if learned else None

    def valid_score() -> float:
        return score(predict(model, valid), valid.label)

    num_steps = options.epochs * -(-len(train.label) // options.batch_size)
    procedures = follow(model, num_steps, optimizer=optimizer, reward=valid_score)

    def step(rows: Tensor) -> Tensor:
        assert optimizer is not None
        logits = model(*(part.to(device) for part in train.take(rows)))
        loss = _loss(logits, train.label[rows].to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        procedures.step()
        return loss.detach()

    def epoch() -> float:
        order = torch.randperm(len(train.label), generator=generator)
        return float(torch.stack([step(rows) for rows in order.split(options.batch_size)]).mean())

    try:
        return run_epochs(
            model,
            epoch,
            valid_score,
            epochs=options.epochs,
            patience=options.patience,
            evaluate_every=options.evaluate_every,
            eligible=lambda: procedures.within_budget,
            seed=seed,
            progress=progress,
        )
    finally:
        procedures.close()


@torch.no_grad()
def predict(model: Classifier, examples: Examples, *, batch_size: int = 2048) -> Tensor:
    """Logits of all rows, on the CPU. The model is put into evaluation mode and back.

    Args:
        model: A classifier.
        examples: Rows, at least one.
        batch_size: Rows at a time; makes no difference to the result.

    Returns:
        ``(n, classes)`` or ``(n,)`` float32 logits.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    every = torch.arange(len(examples.label)).split(batch_size)
    logits = [model(*(p.to(device) for p in examples.take(rows))).cpu() for rows in every]
    model.train(training)
    return torch.cat(logits)


def _loss(logits: Tensor, label: Tensor) -> Tensor:
    if logits.ndim == 1:
        return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))
    return F.cross_entropy(logits, label)
