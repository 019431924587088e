"""Ranking: model, losses, evaluation, training, and the tasks ``"ranking"`` and ``"pairwise"``."""

from __future__ import annotations

from memcom.tasks.ranking.evaluation import Evaluation, HeldOut, evaluate
from memcom.tasks.ranking.loss import (
    pairwise_loss,
    ranknet_loss,
    sampled_softmax_loss,
    softmax_loss,
)
from memcom.tasks.ranking.model import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.tasks.ranking.task import PAIRWISE, TASK
from memcom.tasks.ranking.training import PairwiseOptions, TrainingOptions, fit

__all__ = [
    "PAIRWISE",
    "TASK",
    "Evaluation",
    "HeldOut",
    "HistoryRanker",
    "ItemBias",
    "MostPopular",
    "PairwiseOptions",
    "Ranker",
    "TrainingOptions",
    "evaluate",
    "fit",
    "pairwise_loss",
    "ranknet_loss",
    "sampled_softmax_loss",
    "softmax_loss",
]
