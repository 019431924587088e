"""What a ranker's table costs in time, as a ratio to the full table of the same run."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from memcom.data import Interactions
from memcom.profiling import time_lookup
from memcom.tasks.fitting import Stepper
from memcom.tasks.histories import Histories
from memcom.tasks.rankers import HistoryRanker, Ranker
from memcom.tasks.training_options import TrainingOptions
from memcom.tasks.trials import Trial, build_ranker


class Costs(NamedTuple):
    """Times of one method against the full table; above 1 is slower.

    Attributes:
        lookup_time: Median ratio of looking up a batch of ids, forward only, layer as stored.
        step_time: Median ratio of a whole training step: forward, loss, backward, update.
    """

    lookup_time: float
    step_time: float


def measure(
    trial: Trial,
    data: Interactions,
    *,
    batch_size: int = 4096,
    lookups: int = 101,
    steps: int = 15,
) -> Costs:
    """Time a method and the full table in turns, on the same fresh random ids.

    Args:
        trial: The method; its ratio, seed, model and training count.
        data: Gives ids, drawn by popularity, and histories.
        batch_size: Ids per lookup.
        lookups: Pairs of lookups.
        steps: Pairs of training steps.

    Returns:
        The ratios. Absolute times are left out: they are the machine's.

    Raises:
        BudgetError: The method cannot be that small.
    """
    full = replace(trial, method="full", ratio=None)
    model, baseline = build_ranker(trial, data), build_ranker(full, data)
    if not isinstance(model, HistoryRanker) or not isinstance(baseline, HistoryRanker):
        raise ValueError(f"{trial.method} has no embedding to time")
    step = _step_ratio((model, baseline), data, trial.training, steps)
    stored = model.embedding.freeze()  # type: ignore[operator]
    timing = time_lookup(
        stored, baseline.embedding, batch_size, repeats=lookups, counts=data.item_counts + 1
    )
    return Costs(timing.ratio, step)


def _step_ratio(
    models: tuple[Ranker, Ranker], data: Interactions, options: TrainingOptions, pairs: int
) -> float:
    histories = Histories.of(data, "train")
    steppers = [Stepper(model, data, histories, options) for model in models]
    generator = torch.Generator().manual_seed(0)
    users = (histories.lengths >= 2).nonzero()[:, 0]
    times = np.empty((pairs, 2))
    for pair in range(-2, pairs):  # two to warm up
        batch = users[torch.randperm(len(users), generator=generator)[: options.batch_size]]
        for which in (0, 1) if pair % 2 else (1, 0):
            start = time.perf_counter()
            steppers[which].step(batch)
            if pair >= 0:
                times[pair, which] = time.perf_counter() - start
    return float(np.median(times[:, 0] / times[:, 1]))
