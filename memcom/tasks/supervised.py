"""Classifiers and their training on labelled rows, shared by the text and click tasks.

A step changes the rows of the tables that its batch read and no others (sparse gradients, lazy
Adam), so its cost depends on the batch and not on the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memcom._annotations import checked
from memcom._check import whole
from memcom.optim import LazyAdam
from memcom.tasks._fit import FitRecord, Learner, check_options, learned_parameters
from memcom.tasks._forms import Form
from memcom.tasks._model import TaskModel, evaluating
from memcom.tasks._run import TaskRun


class Classifier(TaskModel):
    """Base of models from a batch of rows to logits.

    ``model(*inputs)`` gives ``(n, classes)`` logits, or ``(n,)`` log odds of class 1.
    """


class Prior(Classifier):
    """Control: every row gets the logarithm of the classes' training frequencies.

    Args:
        label: int64 ``(n,)`` training labels.
        num_classes: Number of classes.
        binary: Give ``(n,)`` log odds of class 1 instead of ``(n, num_classes)``.

    Raises:
        ValueError: There is no label, or binary with other than two classes.
    """

    def __init__(self, label: Tensor, num_classes: int, *, binary: bool = False) -> None:
        super().__init__()
        if not len(label) or (binary and num_classes != 2):
            raise ValueError(
                f"a prior needs labels, and two classes if binary; got {len(label)} labels and "
                f"{num_classes} classes"
            )
        counts = torch.bincount(label, minlength=num_classes).double() + 0.5
        logits = torch.log(counts / counts.sum()).float()
        logits = logits[1] - logits[0] if binary else logits
        self.logits = nn.Parameter(logits, requires_grad=False)

    def forward(self, rows: Tensor, other: Tensor) -> Tensor:
        """Return the same logits for every row; only the number of rows is read from the inputs.

        Args:
            rows: ``(n, fields)`` ids for a binary prior, tokens otherwise.
            other: Dense columns for a binary prior, ``(n + 1,)`` offsets otherwise.

        Returns:
            ``(n,)`` or ``(n, num_classes)`` logits.
        """
        rows_in_batch = len(rows) if self.logits.ndim == 0 else len(other) - 1
        return self.logits.expand(rows_in_batch, *self.logits.shape)


class Examples(Protocol):
    """Labelled rows of one split."""

    @property
    def label(self) -> Tensor:
        """Labels, ``(n,)`` int64."""

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the model's inputs for ``rows (m,)``."""


@dataclass(frozen=True)
class SupervisedOptions:
    """Options of training a classifier.

    Attributes:
        learning_rate: Learning rate of lazy Adam.
        batch_size: Rows per step.
        epochs: Maximal number of passes over the rows.
        patience: Epochs without improvement on validation before training stops.
        evaluate_every: Epochs between two validations.
        forms: Forms that trained full tables are measured in too, as in the ranking task; in
            ``rq@16`` all tables together are 16 times as small.
    """

    learning_rate: float = 1e-2
    batch_size: int = 256
    epochs: int = 20
    patience: int = 3
    evaluate_every: int = 1
    forms: tuple[str, ...] = ("int8", "int4")

    def __post_init__(self) -> None:
        check_options(self, "batch_size", "epochs", "patience", "evaluate_every")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}")
        for text in self.forms:
            Form.of(text)


@checked
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
) -> FitRecord:
    """Train a classifier by its log loss; choose the epoch by a score on the validation rows.

    Tables that become small while they train follow their schedules (see `memcom.embeddings`).
    The same seed gives the same weights on a CPU, with the same number of threads.

    Args:
        model: Trained in place, on the device it is on; ends with the weights of its best epoch.
            Give its tables ``sparse=True``.
        train: Training rows.
        valid: Validation rows.
        score: ``score(logits, label)`` of the validation rows, higher is better.
        options: How to train; the defaults if None.
        seed: Seed of the order of the rows and of dropout.
        progress: Show a progress bar.
        **changes: Replace single options, such as ``epochs=20``.

    Returns:
        The training record.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: An option is out of its range.
    """
    options = replace(options or SupervisedOptions(), **changes)
    whole("seed", seed, 0, 2**62)
    device = model.device
    learned = learned_parameters(model)

    def loss(rows: Tensor) -> Tensor:
        logits = model(*(part.to(device) for part in train.take(rows)))
        label = train.label[rows].to(device)
        if logits.ndim == 1:
            return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))
        return F.cross_entropy(logits, label)

    def valid_score() -> float:
        return score(predict(model, valid), valid.label)

    learner = Learner(
        model,
        loss,
        LazyAdam(learned, lr=options.learning_rate) if learned else None,
        batch_size=options.batch_size,
        generator=torch.Generator().manual_seed(seed),
        num_steps=options.epochs * -(-len(train.label) // options.batch_size),
        reward=valid_score,
    )
    with closing(learner):
        return learner.fit(
            torch.arange(len(train.label)),
            valid_score,
            epochs=options.epochs,
            patience=options.patience,
            evaluate_every=options.evaluate_every,
            seed=seed,
            progress=progress,
        )


@checked
def predict(model: Classifier, examples: Examples, *, batch_size: int = 2048) -> Tensor:
    """Return the logits of all rows. The model is put into evaluation mode and back.

    Args:
        model: A classifier.
        examples: Rows, at least one.
        batch_size: Rows at a time; does not change the result.

    Returns:
        ``(n, classes)`` or ``(n,)`` float32 logits, on the CPU.
    """
    device = model.device
    whole("batch_size", batch_size, 1, 2**62)
    every = torch.arange(len(examples.label)).split(batch_size)
    with evaluating(model):
        logits = [model(*(p.to(device) for p in examples.take(rows))).cpu() for rows in every]
    return torch.cat(logits)


class SupervisedRun(TaskRun):
    """A classifier, trained by its log loss. A subclass gives examples, models and metrics."""

    training: SupervisedOptions

    def examples(self, split: str) -> Examples:
        """Return the examples of a split."""
        raise NotImplementedError

    def score(self, logits: Tensor, label: Tensor) -> float:
        """Return the validation score, higher is better."""
        raise NotImplementedError

    @cached_property
    def train(self) -> Any:
        """Training examples."""
        return self.examples("train")

    @cached_property
    def valid(self) -> Any:
        """Validation examples."""
        return self.examples("valid")

    def fit(self, model: Classifier) -> FitRecord:
        """Train on the training part, and choose the epoch on the validation part."""
        seed = self.setting.seed
        return fit_supervised(model, self.train, self.valid, self.score, self.training, seed=seed)

    def validate(self, model: Classifier) -> float:
        """Return the score of the validation part."""
        return self.score(predict(model, self.valid), self.valid.label)
