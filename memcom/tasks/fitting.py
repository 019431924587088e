"""Training of a ranker: random parts of the histories, early stopping on validation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from memcom.data import Interactions
from memcom.embeddings import follow
from memcom.tasks.evaluation import HeldOut, evaluate
from memcom.tasks.histories import Histories
from memcom.tasks.loop import Record, run_epochs
from memcom.tasks.rankers import Ranker
from memcom.tasks.stepper import Stepper
from memcom.tasks.training_options import TrainingOptions


def fit(
    model: Ranker,
    data: Interactions,
    options: TrainingOptions | None = None,
    *,
    seed: int = 0,
    progress: bool = False,
    **changes: Any,
) -> Record:
    """Train a ranker on the training part; stop on the validation part; never see the test part.

    The options say by which loss: `TrainingOptions` by a softmax over all items,
    `memcom.tasks.PairwiseOptions` by RankNet. A table that becomes small while it trains (see
    `memcom.embeddings`) follows its schedule, and only epochs in which it keeps to its budget can
    be the best.

    The same seed gives the same weights on a CPU, with the same number of threads. Batches and
    held-out parts depend on the seed only, so that models can be compared on equal samples.

    Args:
        model: Trained in place, on the device it is on; ends with the weights of its best epoch.
        data: Interactions with training and validation parts.
        options: How to train; the defaults if None.
        seed: Of batches, held-out parts, samples and dropout. (The model's own initialisation
            comes before and is the caller's.)
        progress: Show a progress bar.
        **changes: Replace single options, such as ``epochs=20``.

    Returns:
        The training record; its score is nDCG@k.

    Raises:
        TrainingError: The loss became infinite or NaN.
        ValueError: There are no histories to train on, or the sizes do not fit.
    """
    options = replace(options or TrainingOptions(), **changes)
    if model.num_items != data.num_items:
        raise ValueError(
            f"the model ranks {model.num_items} items, {data.name} has {data.num_items}"
        )
    valid = HeldOut.of(data, "valid").to(next(model.parameters()).device)
    histories = Histories.of(data, "train")
    users = (histories.lengths >= 2).nonzero()[:, 0]
    if not len(users):
        raise ValueError(f"{data.name}: no user has two training items, nothing to learn from")

    def score() -> float:
        return float(evaluate(model, valid, k=options.k).ndcg.mean())

    stepper = Stepper(model, data, histories, options, seed)
    procedures = follow(
        model,
        options.epochs * -(-len(users) // options.batch_size),
        optimizer=stepper.optimizer,
        reward=score,
    )

    def epoch() -> float:
        order = users[torch.randperm(len(users), generator=stepper.generator)]
        losses = []
        for batch in order.split(options.batch_size):
            losses.append(stepper.step(batch))
            procedures.step()
        return float(torch.stack(losses).mean())

    try:
        return run_epochs(
            model,
            epoch,
            score,
            epochs=options.epochs,
            patience=options.patience,
            evaluate_every=options.evaluate_every,
            eligible=lambda: procedures.within_budget,
            seed=seed,
            progress=progress,
        )
    finally:
        procedures.close()
