"""The ranking task: held-out items of a user among all items, from the items before them.

Trained by a softmax over all items, or by RankNet (the task ``"pairwise"``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from memcom.budget import Plan
from memcom.collisions import equal_vectors
from memcom.collisions.abundance import information_abundance
from memcom.data import TRAIN, Interactions
from memcom.embeddings import CompressedEmbedding, Occurrences
from memcom.profiling import interleave, time_lookup
from memcom.tasks._fit import FitRecord, check_layers
from memcom.tasks._model import stored_nbytes
from memcom.tasks._run import TaskRun, default_options, mean_metrics, plan_table
from memcom.tasks.protocol import Outcome, Setting, Size, Task
from memcom.tasks.ranking.evaluation import Evaluation, HeldOut, evaluate
from memcom.tasks.ranking.model import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.tasks.ranking.references import REFERENCES, fit_reference
from memcom.tasks.ranking.training import (
    DividedHistories,
    PairwiseOptions,
    TrainingOptions,
    fit,
    ranker_learner,
)


@dataclass(frozen=True)
class RankerOptions:
    """Options of the ranker around the input embedding; see `HistoryRanker`.

    The defaults were chosen on validation: on MovieLens and ml-1m no hidden layer, with any
    dropout, beats the linear tail.

    Attributes:
        embedding_dim: Width of the vectors.
        hidden: Widths of the dense tail.
        batch_norm: Normalise the output of each hidden layer over the batch.
        dropout: Dropout probability.
        tied: Take the composed input rows as output vectors.
        std: Standard deviation of the rows at the start.
    """

    embedding_dim: int = 64
    hidden: tuple[int, ...] = ()
    batch_norm: bool = False
    dropout: float = 0.0
    tied: bool = False
    std: float = 1.0

    def __post_init__(self) -> None:
        check_layers(self)


class RankingRun(TaskRun):
    """A history ranker, trained by a softmax over all items."""

    options = (RankerOptions, TrainingOptions)
    controls = ("popular", "bias-only")
    sparse = False
    data: Interactions
    shape: RankerOptions
    training: TrainingOptions

    @classmethod
    def size(cls, setting: Setting, data: Interactions) -> Size:
        """Return the planned bytes; those of a reference are of all that it stores."""
        if setting.method in REFERENCES:
            return Size(REFERENCES[setting.method].size(setting.method, data), 0)
        return super().size(setting, data)

    def outcome(self) -> Outcome:
        """Measure a model, as `TaskRun.outcome`; a reference is computed at its whole grid."""
        name, options = self.setting.method, self.training
        if name not in REFERENCES:
            return super().outcome()
        chosen = fit_reference(
            name, self.data, k=options.k, seed=self.setting.seed, device=self.device
        )
        units, _ = self.measure(chosen.model)
        return Outcome(
            metrics=mean_metrics(units) | chosen.point,
            valid=chosen.valid,
            size=Size(stored_nbytes(chosen.model), 0),
            output_nbytes=0,
            units=units,
        )

    def plans(self) -> dict[str, Plan]:
        """Return the plan of the input embedding."""
        return {"items": plan_table(self.setting, self.data.num_items, self.shape.embedding_dim)}

    def occurrences(self, table: str) -> Occurrences:
        """Return the items of each user in the training part."""
        return self._trained

    @cached_property
    def _trained(self) -> Occurrences:
        trained = self.data.split == TRAIN
        items, users = self.data.item[trained], self.data.user[trained]
        return Occurrences(torch.from_numpy(items), torch.from_numpy(users), self.data.num_items)

    def control(self) -> Ranker:
        """Build the control: by training frequency, or by a score per item."""
        if self.setting.method == "popular":
            return MostPopular(self.data.item_counts)
        return ItemBias(self.data.num_items, item_counts=self.data.item_counts)

    def model(self, tables: dict[str, CompressedEmbedding]) -> HistoryRanker:
        """Build the untrained ranker around its input embedding."""
        return HistoryRanker(
            tables["items"],
            hidden=self.shape.hidden,
            batch_norm=self.shape.batch_norm,
            dropout=self.shape.dropout,
            tied=self.shape.tied,
            item_counts=self.data.item_counts,
        )

    def fit(self, model: Ranker) -> FitRecord:
        """Train on the training part; the score is nDCG@k on the validation part."""
        return fit(model, self.data, self.training, seed=self.setting.seed)

    def validate(self, model: Ranker) -> float:
        """Return nDCG@k on the validation part."""
        return float(self._evaluated(model, "valid").ndcg.mean())

    def _evaluated(self, model: Ranker, split: str) -> Evaluation:
        held_out = HeldOut.of(self.data, split).to(self.device)
        return evaluate(model, held_out, k=self.training.k)

    def measure(self, model: Ranker) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Rank all items for every user of the test part.

        Args:
            model: The trained ranker, its embedding frozen.

        Returns:
            nDCG@k and Recall@k per user; of the stored vectors their information abundance, and
            how many of them are different.
        """
        tested = self._evaluated(model, "test")
        others = {}
        for table in model.tables().values():
            shared = equal_vectors(table)
            others["abundance"] = information_abundance(table)
            others["num_distinct"] = float(
                self.data.num_items - int(shared.sizes.sum()) + len(shared)
            )
        return {"ndcg": tested.ndcg.numpy(), "recall": tested.recall.numpy()}, others

    @classmethod
    def time(cls, setting: Setting, data: Interactions) -> dict[str, float]:
        """Time a method against the full table, in turns, on the same ids and users.

        Absolute times are left out: they are the machine's.

        Args:
            setting: A setting with a table.
            data: Gives ids, drawn by popularity, and histories.

        Returns:
            ``lookup_time``, the median ratio of looking up 4096 ids (forward only, layer as
            stored), and ``step_time``, that of a training step (forward, loss, backward, update).

        Raises:
            BudgetError: The method cannot be that small.
            ValueError: The setting has no table.
        """
        if setting.method in (*cls.controls, *REFERENCES):
            raise ValueError(f"{setting.method} has no embedding to time")
        full = replace(setting, method="full", ratio=None, nbytes=None)
        runs = [cls(each, data) for each in (setting, full)]
        model, baseline = (run.build(run.plans()) for run in runs)
        step = _step_ratio(model, baseline, data, runs[0].training)
        lookup = time_lookup(
            model.embedding.freeze(), baseline.embedding, 4096, counts=data.item_counts + 1
        )
        return {"lookup_time": lookup.ratio, "step_time": step}


class PairwiseRun(RankingRun):
    """A history ranker, trained by RankNet."""

    options = (RankerOptions, PairwiseOptions)


def _step_ratio(
    model: Ranker, baseline: Ranker, data: Interactions, options: TrainingOptions
) -> float:
    """Median ratio of the times of a training step."""
    divided = [DividedHistories(data, options, 0, model.device) for _ in range(2)]
    of_full = ranker_learner(baseline, divided[0], options)
    of_method = ranker_learner(model, divided[1], options)
    users, generator = divided[0].users, torch.Generator().manual_seed(0)
    found = interleave(
        {"full": of_full.step, "method": of_method.step},
        lambda: users[torch.randperm(len(users), generator=generator)[: options.batch_size]],
        warm_up=2,
        least_rounds=15,
        most_rounds=15,
        same_batch=True,
    )
    return found["method"].ratio


def _task(name: str, run: type[RankingRun], **full: int) -> Task:
    defaults = [options() for options in run.options]
    return Task(
        name=name,
        metric="ndcg",
        accepts=Interactions,
        run=run.run,
        size=run.size,
        check=run.check,
        profiles={
            # Seconds per method on MovieLens: orderings of notebooks and tests, not results.
            "fast": default_options([1e-2], *defaults, epochs=25),
            "full": default_options([3e-3, 1e-2, 3e-2], *defaults, **full),
        },
        controls=run.controls,
        references=tuple(REFERENCES),
        untrained=("popular", *(n for n, each in REFERENCES.items() if not each.random)),
        label="nDCG@{k}",
        time=run.time,
        later=("std", "batch_norm", "rows", "weights", "dense", "forms"),
    )


TASK = _task("ranking", RankingRun, epochs=150)
PAIRWISE = _task("pairwise", PairwiseRun, num_samples=1024)
