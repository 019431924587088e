"""The ranking task: held-out items of a user among all items, from the items before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from memcom.budget import plan
from memcom.data import Interactions
from memcom.embeddings import parse_spec
from memcom.experiments.tasks import Outcome, Setting, Size, Task
from memcom.experiments.trials import CONTROLS, ModelOptions, Trial, build_ranker
from memcom.models import HistoryRanker
from memcom.training import HeldOut, TrainingOptions, evaluate, fit


def as_trial(setting: Setting, data: Interactions) -> Trial:
    """The setting as a `Trial`: options sorted into model and training, bytes into a ratio.

    Args:
        setting: From a sweep.
        data: Gives the number of items.

    Returns:
        The trial.

    Raises:
        TypeError: There is no such option.
    """
    of_model = {each.name for each in fields(ModelOptions)}
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in setting.options.items()
    }
    model = ModelOptions(**{name: v for name, v in options.items() if name in of_model})
    training: dict[str, Any] = {name: v for name, v in options.items() if name not in of_model}
    if setting.learning_rate is not None:
        training["learning_rate"] = setting.learning_rate
    ratio = setting.ratio
    if setting.nbytes is not None:
        # A hair less, so that rounding never takes a byte off the budget.
        ratio = 4 * data.num_items * model.embedding_dim / setting.nbytes * (1 - 1e-12)
    return Trial(setting.method, ratio, setting.seed, model, TrainingOptions(**training))


def size(setting: Setting, data: Interactions) -> Size:
    """Bytes of the input embedding as planned; see `memcom.plan`."""
    if setting.method in CONTROLS:
        return Size(0, 0)
    name, options = parse_spec(setting.method)
    width = as_trial(setting, data).model.embedding_dim
    planned = plan(
        name, data.num_items, width, ratio=setting.ratio, nbytes=setting.nbytes, **options
    )
    return Size(planned.nbytes, planned.full_nbytes)


def run(setting: Setting, data: Interactions, device: str = "cpu") -> Outcome:
    """Train a history ranker, freeze its embedding, rank all items for every user of the test part.

    Args:
        setting: From a sweep.
        data: Interactions with a split.
        device: Where to train.

    Returns:
        nDCG@k and Recall@k, per user and in the mean.

    Raises:
        BudgetError: The method cannot be that small.
    """
    trial = as_trial(setting, data)
    model = build_ranker(trial, data).to(device)
    trained = fit(model, data, trial.training, seed=trial.seed)
    stored = Size(0, 0)
    if isinstance(model, HistoryRanker):
        model.embedding = model.embedding.freeze()  # type: ignore[operator]
        stored = Size(model.input_nbytes, 4 * data.num_items * trial.model.embedding_dim)
    k = trial.training.k
    tested = evaluate(model, HeldOut.of(data, "test").to(device), k=k)
    units = {"ndcg": tested.ndcg.cpu().numpy(), "recall": tested.recall.cpu().numpy()}
    return Outcome(
        metrics={name: float(values.mean(dtype="float64")) for name, values in units.items()},
        valid=trained.valid_ndcg,
        size=stored,
        output_nbytes=model.output_nbytes,
        best_epoch=trained.best_epoch,
        units=units,
    )


def _options(learning_rates: list[float], **changes: Any) -> Mapping[str, Any]:
    """Every option of model and training with its default, and the grid of learning rates."""
    every = asdict(ModelOptions()) | asdict(TrainingOptions()) | changes
    del every["learning_rate"]
    every["hidden"] = list(every["hidden"])
    return {"learning_rates": learning_rates, **every}


TASK = Task(
    name="ranking",
    metric="ndcg",
    accepts=Interactions,
    run=run,
    size=size,
    profiles={
        # Seconds per method on MovieLens: orderings of notebooks and tests, not results.
        "fast": _options([1e-2], epochs=40),
        "full": _options([3e-3, 1e-2, 3e-2], epochs=150),
    },
    controls=CONTROLS,
    untrained=("popular",),
    label="nDCG@{k}",
)
