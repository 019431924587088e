"""Tasks a compressed table is judged by: ranking, text classification, clicks, streams.

Each task reads top to bottom in one file or folder: model, batch, loss, fit, measurement, `Task`.
"""

from __future__ import annotations

from memcom.tasks._fit import FitRecord, Learner, TrainingError
from memcom.tasks._model import TaskModel, dense_layers
from memcom.tasks.clicks import DCN, DLRM, ClickExamples, ClickModel, FieldBias
from memcom.tasks.exported import Exported, export_file
from memcom.tasks.histories import Histories
from memcom.tasks.metrics import (
    accuracy,
    auc,
    log_loss,
    ndcg_and_recall_at_k,
    ndcg_at_k,
    recall_at_k,
)
from memcom.tasks.protocol import Outcome, Setting, Size, Task, get_task, task_names
from memcom.tasks.ranking.evaluation import Evaluation, HeldOut, evaluate
from memcom.tasks.ranking.loss import (
    pairwise_loss,
    ranknet_loss,
    sampled_softmax_loss,
    softmax_loss,
)
from memcom.tasks.ranking.model import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.tasks.ranking.training import PairwiseOptions, TrainingOptions, fit
from memcom.tasks.saved import example_inputs, load_model, save_model
from memcom.tasks.streaming import Stream, StreamOptions, StreamResult, run_stream
from memcom.tasks.supervised import (
    Classifier,
    Prior,
    SupervisedOptions,
    fit_supervised,
    predict,
)
from memcom.tasks.text import TextClassifier, TextExamples

__all__ = [
    "DCN",
    "DLRM",
    "Classifier",
    "ClickExamples",
    "ClickModel",
    "Evaluation",
    "Exported",
    "FieldBias",
    "FitRecord",
    "HeldOut",
    "Histories",
    "HistoryRanker",
    "ItemBias",
    "Learner",
    "MostPopular",
    "Outcome",
    "PairwiseOptions",
    "Prior",
    "Ranker",
    "Setting",
    "Size",
    "Stream",
    "StreamOptions",
    "StreamResult",
    "SupervisedOptions",
    "Task",
    "TaskModel",
    "TextClassifier",
    "TextExamples",
    "TrainingError",
    "TrainingOptions",
    "accuracy",
    "auc",
    "dense_layers",
    "evaluate",
    "example_inputs",
    "export_file",
    "fit",
    "fit_supervised",
    "get_task",
    "load_model",
    "log_loss",
    "ndcg_and_recall_at_k",
    "ndcg_at_k",
    "pairwise_loss",
    "predict",
    "ranknet_loss",
    "recall_at_k",
    "run_stream",
    "sampled_softmax_loss",
    "save_model",
    "softmax_loss",
    "task_names",
]
