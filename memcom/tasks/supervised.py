"""Training on labelled rows: texts and clicks.

A step changes the rows of the tables that its batch read and no others (sparse gradients, lazy
Adam), so that it costs what the batch costs, whatever the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from memcom.embeddings import follow
from memcom.optim import LazyAdam
from memcom.tasks.classifiers import Classifier
from memcom.tasks.examples import Examples
from memcom.tasks.loop import Record, run_epochs


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

    Tables that become small while they train follow their schedules (see `memcom.embeddings`).
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
