"""The click task: clicked or not from many categorical fields; AUC and log loss.

Each field has a table of its own. Those of at most ``threshold`` ids stay full, the others are
compressed so that all together meet the budget (`memcom.budget.plan_tables`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial

from torch import Tensor

from memcom.budget import Plan, plan, plan_tables
from memcom.data import LabelledRows
from memcom.embeddings import parse_spec, prepare
from memcom.tasks.classifiers import Classifier, Prior
from memcom.tasks.click_models import DCN, DLRM, FieldBias
from memcom.tasks.examples import ClickExamples
from memcom.tasks.loop import Record
from memcom.tasks.metrics import auc, log_loss
from memcom.tasks.options import (
    build_table,
    default_options,
    planned_size,
    ratio_of,
    seeded,
    sort_options,
)
from memcom.tasks.protocol import Outcome, Setting, Size, Task
from memcom.tasks.supervised import SupervisedOptions, fit_supervised, predict

CONTROLS = ("prior", "bias-only")


@dataclass(frozen=True)
class ClickOptions:
    """The model around the tables; the sizes of the quotient-remainder paper are in brackets.

    Attributes:
        model: ``"dlrm"`` or ``"dcn"``.
        embedding_dim: Width of the vectors [16].
        threshold: Fields of at most so many ids keep a full table [200 in its code].
        bottom: Hidden widths of DLRM's bottom MLP [512, 256].
        top: Hidden widths of DLRM's top MLP [512, 256].
        cross_layers: Of DCN [6].
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
        if self.model not in ("dlrm", "dcn"):
            raise ValueError(f"model must be 'dlrm' or 'dcn', got {self.model!r}")


def plans(setting: Setting, data: LabelledRows, shape: ClickOptions) -> dict[str, Plan]:
    """The plan of every field's table.

    Args:
        setting: Method and budget of all tables together.
        data: Gives the number of ids of each field.
        shape: Width and threshold.

    Returns:
        Field name -> plan.

    Raises:
        BudgetError: The small tables alone, or the method, need more than the budget.
    """
    name, options = parse_spec(setting.method)
    width = shape.embedding_dim
    ratio = ratio_of(setting, 4 * width * sum(data.cardinalities.values()))
    if ratio is None:
        return {f: plan(name, n, width, **options) for f, n in data.cardinalities.items()}
    return plan_tables(
        name, data.cardinalities, width, ratio=ratio, threshold=shape.threshold, **options
    )


def size(setting: Setting, data: LabelledRows) -> Size:
    """Bytes of all tables as planned."""
    if setting.method in CONTROLS:
        return planned_size()
    shape, _ = sort_options(setting, ClickOptions, SupervisedOptions)
    return planned_size(*plans(setting, data, shape).values())


def build_model(
    setting: Setting, data: LabelledRows, shape: ClickOptions, train: ClickExamples
) -> Classifier:
    """The untrained model of a setting, the same whatever was drawn before.

    Args:
        setting: Method, budget and seed.
        data: Gives the fields.
        shape: The model around the tables.
        train: Training rows, for the prior.

    Returns:
        The model, on the CPU.

    Raises:
        BudgetError: The method cannot be that small.
    """
    num_dense = train.dense.shape[1]
    if setting.method == "prior":
        return Prior(train.label, 2, binary=True)
    if setting.method == "bias-only":
        return FieldBias(list(data.cardinalities.values()), num_dense)
    with seeded(setting.seed):
        tables = {
            field: build_table(
                planned, shape.std, train.occurrences(column, planned.num_embeddings)
            )
            for column, (field, planned) in enumerate(plans(setting, data, shape).items())
        }
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


def run(setting: Setting, data: LabelledRows, device: str = "cpu") -> Outcome:
    """Train a click model, freeze its tables, predict the clicks of the test part.

    Args:
        setting: From a sweep.
        data: Rows of two classes with a split.
        device: Where to train.

    Returns:
        Log loss (nats), per row and in the mean, and AUC, of all rows together. The epoch is
        chosen by log loss.

    Raises:
        BudgetError: The method cannot be that small.
    """
    shape, training = sort_options(setting, ClickOptions, SupervisedOptions)
    train, valid = (ClickExamples.of(data, split) for split in ("train", "valid"))

    def trained(model: Classifier) -> Record:
        return fit_supervised(
            model.to(device),
            train,
            valid,
            lambda logits, label: -float(log_loss(logits, label).mean()),
            training,
            seed=setting.seed,
        )

    @cache
    def narrow_tables(width: int) -> list[Tensor]:
        full = replace(setting, method="full", ratio=None, nbytes=None)
        model = build_model(full, data, replace(shape, embedding_dim=width), train)
        trained(model)
        return [table.materialize() for _, _, table in model.tables()]

    def pretrain(column: int, width: int) -> Tensor:
        return narrow_tables(width)[column]

    model = build_model(setting, data, shape, train)
    for column, (_, _, table) in enumerate(model.tables()):
        known = train.occurrences(column, table.num_embeddings)
        prepare(table, known, partial(pretrain, column), seed=setting.seed)
    record = trained(model)
    model.freeze_tables()
    test = ClickExamples.of(data, "test")
    logits = predict(model, test)
    losses = log_loss(logits, test.label).numpy()
    return Outcome(
        metrics={
            "log_loss": float(losses.mean(dtype="float64")),
            "auc": auc(logits, test.label),
        },
        valid=-record.valid,
        size=Size(model.input_nbytes, size(setting, data).full_nbytes),
        output_nbytes=model.output_nbytes,
        best_epoch=record.best_epoch,
        units={"log_loss": losses},
    )


_TRAINING = SupervisedOptions(batch_size=1024, epochs=20, patience=2)

TASK = Task(
    name="clicks",
    metric="log_loss",
    accepts=LabelledRows,
    run=run,
    size=size,
    profiles={
        "fast": default_options([1e-2], ClickOptions(), _TRAINING, epochs=3, patience=1),
        "full": default_options([1e-3, 3e-3, 1e-2], ClickOptions(), _TRAINING, batch_size=256),
    },
    higher_is_better=False,
    controls=CONTROLS,
    untrained=("prior",),
    unit="row",
)
