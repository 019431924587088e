"""The ranking task: held-out items of a user among all items, from the items before them.

Trained by a softmax over all items, or by RankNet (the task ``"pairwise"``).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from memcom.data import Interactions
from memcom.tasks.costs import measure
from memcom.tasks.options import (
    default_options,
    plan_table,
    planned_size,
    ratio_of,
    sort_options,
)
from memcom.tasks.pairwise import PairwiseOptions
from memcom.tasks.protocol import Outcome, Setting, Size, Task
from memcom.tasks.training_options import TrainingOptions
from memcom.tasks.trials import CONTROLS, ModelOptions, Trial, train_trial


def as_trial(
    setting: Setting, data: Interactions, training: type[TrainingOptions] = TrainingOptions
) -> Trial:
    """The setting as a `Trial`: options sorted into model and training, bytes into a ratio.

    Args:
        setting: From a sweep.
        data: Gives the number of items.
        training: Class of the training options, which says by which loss.

    Returns:
        The trial.

    Raises:
        TypeError: There is no such option.
    """
    model, effort = sort_options(setting, ModelOptions, training)
    ratio = ratio_of(setting, 4 * data.num_items * model.embedding_dim)
    return Trial(setting.method, ratio, setting.seed, model, effort)


def size(
    setting: Setting, data: Interactions, training: type[TrainingOptions] = TrainingOptions
) -> Size:
    """Bytes of the input embedding as planned; see `memcom.plan`."""
    if setting.method in CONTROLS:
        return planned_size()
    width = as_trial(setting, data, training).model.embedding_dim
    return planned_size(plan_table(setting, data.num_items, width))


def run(
    setting: Setting,
    data: Interactions,
    device: str = "cpu",
    training: type[TrainingOptions] = TrainingOptions,
) -> Outcome:
    """Train a history ranker, freeze its embedding, rank all items for every user of the test part.

    Args:
        setting: From a sweep.
        data: Interactions with a split.
        device: Where to train.
        training: Class of the training options.

    Returns:
        nDCG@k and Recall@k, per user and in the mean; of the stored vectors their information
        abundance and how many are different.

    Raises:
        BudgetError: The method cannot be that small.
    """
    result = train_trial(as_trial(setting, data, training), data, device)
    units = {"ndcg": result.ndcg.astype(np.float32), "recall": result.recall.astype(np.float32)}
    metrics = {name: float(values.mean(dtype="float64")) for name, values in units.items()}
    full = 0
    if result.nbytes:
        full = 4 * data.num_items * result.trial.model.embedding_dim
        metrics |= {"abundance": result.abundance, "num_distinct": float(result.num_distinct)}
    return Outcome(
        metrics=metrics,
        valid=result.valid_ndcg,
        size=Size(result.nbytes, full),
        output_nbytes=result.output_nbytes,
        best_epoch=result.best_epoch,
        units=units,
    )


def time(
    setting: Setting, data: Interactions, training: type[TrainingOptions] = TrainingOptions
) -> dict[str, float]:
    """Times of a lookup and of a training step over the full table's; see `measure`.

    Args:
        setting: From a sweep, with a table.
        data: Gives ids, drawn by popularity, and histories.
        training: Class of the training options.

    Returns:
        ``lookup_time`` and ``step_time``.
    """
    return measure(as_trial(setting, data, training), data)._asdict()


def _task(name: str, training: type[TrainingOptions], **full: int) -> Task:
    options = ModelOptions(), training()
    return Task(
        name=name,
        metric="ndcg",
        accepts=Interactions,
        run=partial(run, training=training),
        size=partial(size, training=training),
        profiles={
            # Seconds per method on MovieLens: orderings of notebooks and tests, not results.
            "fast": default_options([1e-2], *options, epochs=25),
            "full": default_options([3e-3, 1e-2, 3e-2], *options, **full),
        },
        controls=CONTROLS,
        untrained=("popular",),
        label="nDCG@{k}",
        time=partial(time, training=training),
    )


TASK = _task("ranking", TrainingOptions, epochs=150)
PAIRWISE = _task("pairwise", PairwiseOptions, num_samples=1024)
