"""The text task: the class of a text from the mean of its token vectors; accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from memcom.budget import Plan, plan
from memcom.data import LabelledBags
from memcom.embeddings import Occurrences, prepare
from memcom.tasks.classifiers import Classifier, Prior, TextClassifier
from memcom.tasks.examples import TextExamples
from memcom.tasks.loop import Record
from memcom.tasks.metrics import accuracy, log_loss
from memcom.tasks.options import (
    build_table,
    default_options,
    plan_table,
    planned_size,
    seeded,
    sort_options,
)
from memcom.tasks.protocol import Outcome, Setting, Size, Task
from memcom.tasks.supervised import SupervisedOptions, fit_supervised, predict

CONTROLS = ("prior",)


@dataclass(frozen=True)
class TextOptions:
    """The classifier around the token table.

    Attributes:
        embedding_dim: Width of the vectors.
        hidden: Widths of the dense tail.
        dropout: Dropout probability of the tail.
        std: Standard deviation of the rows at the start.
        max_tokens: Only the first so many tokens of a text.
    """

    embedding_dim: int = 64
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    std: float = 0.1
    max_tokens: int = 256


def size(setting: Setting, data: LabelledBags) -> Size:
    """Bytes of the token table as planned; see `memcom.plan`."""
    if setting.method in CONTROLS:
        return planned_size()
    shape, _ = sort_options(setting, TextOptions, SupervisedOptions)
    return planned_size(plan_table(setting, data.num_tokens, shape.embedding_dim))


def run(setting: Setting, data: LabelledBags, device: str = "cpu") -> Outcome:
    """Train a text classifier, freeze its table, classify the texts of the test part.

    Args:
        setting: From a sweep.
        data: Texts with a split.
        device: Where to train.

    Returns:
        Accuracy and log loss (nats), per text and in the mean.

    Raises:
        BudgetError: The method cannot be that small.
    """
    shape, training = sort_options(setting, TextOptions, SupervisedOptions)
    parts = {s: TextExamples.of(data, s, max_tokens=shape.max_tokens) for s in ("train", "valid")}

    def trained(model: Classifier) -> Record:
        return fit_supervised(
            model.to(device),
            parts["train"],
            parts["valid"],
            lambda logits, label: float(accuracy(logits, label).mean()),
            training,
            seed=setting.seed,
        )

    def classifier(planned: Plan) -> TextClassifier:
        with seeded(setting.seed):
            table = build_table(planned, shape.std, known)
            return TextClassifier(
                table, data.num_classes, hidden=shape.hidden, dropout=shape.dropout
            )

    def pretrain(width: int) -> Tensor:
        narrow = classifier(plan("full", data.num_tokens, width))
        trained(narrow)
        return narrow.bag.embedding.materialize()

    model: Classifier
    if setting.method == "prior":
        model = Prior(parts["train"].label, data.num_classes)
    else:
        texts = parts["train"].texts
        known = Occurrences(texts.items, texts.rows, data.num_tokens)
        model = classifier(plan_table(setting, data.num_tokens, shape.embedding_dim))
        prepare(model.bag.embedding, known, pretrain, seed=setting.seed)
    record = trained(model)
    model.freeze_tables()
    test = TextExamples.of(data, "test", max_tokens=shape.max_tokens)
    logits = predict(model, test)
    units = {
        "accuracy": accuracy(logits, test.label).numpy(),
        "log_loss": log_loss(logits, test.label).numpy(),
    }
    return Outcome(
        metrics={name: float(values.mean(dtype="float64")) for name, values in units.items()},
        valid=record.valid,
        size=Size(model.input_nbytes, size(setting, data).full_nbytes),
        output_nbytes=model.output_nbytes,
        best_epoch=record.best_epoch,
        units=units,
    )


_TRAINING = SupervisedOptions(batch_size=128, epochs=30, patience=4)

TASK = Task(
    name="text",
    metric="accuracy",
    accepts=LabelledBags,
    run=run,
    size=size,
    profiles={
        "fast": default_options(
            [1e-2], TextOptions(embedding_dim=32, max_tokens=128), _TRAINING, epochs=8, patience=2
        ),
        "full": default_options([3e-3, 1e-2, 3e-2], TextOptions(), _TRAINING),
    },
    controls=CONTROLS,
    untrained=CONTROLS,
    unit="text",
)
