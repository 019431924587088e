"""One trial: build, prepare, train, freeze, evaluate one ranker with one seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from memcom.budget import build
from memcom.collisions import equal_vectors
from memcom.collisions.abundance import information_abundance
from memcom.data import TRAIN, Interactions
from memcom.embeddings import Occurrences, learned_options, parse_spec, prepare
from memcom.tasks.evaluation import HeldOut, evaluate
from memcom.tasks.fitting import fit
from memcom.tasks.rankers import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.tasks.training_options import TrainingOptions

CONTROLS = ("popular", "bias-only")


@dataclass(frozen=True)
class ModelOptions:
    """The ranker around the input embedding; see `memcom.tasks.rankers.HistoryRanker`.

    The defaults were chosen on validation: on MovieLens and ml-1m no hidden layer, with any
    dropout, beats the linear tail.

    Attributes:
        embedding_dim: Width of the vectors.
        hidden: Widths of the dense tail.
        dropout: Dropout probability.
        tied: Whether the output vectors are the composed input rows.
    """

    embedding_dim: int = 64
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    tied: bool = False


@dataclass(frozen=True)
class Trial:
    """Everything that determines a result, but for the data.

    Attributes:
        method: A compressor such as ``"qr(operation=concat)"``, or one of `CONTROLS`.
        ratio: Compression ratio asked of the input embedding; None for ``"full"`` and controls.
        seed: Of initialisation, batches and dropout.
        model: The ranker around the embedding.
        training: How it is trained.
    """

    method: str
    ratio: float | None = None
    seed: int = 0
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True)
class Result:
    """What came out of a trial.

    Attributes:
        trial: The trial.
        nbytes: Stored bytes of the input embedding.
        compression_ratio: Bytes of the full fp32 table over these; 0 where there is no table.
        output_nbytes: Stored bytes behind the input embedding.
        valid_ndcg: nDCG@k on the validation part, which choices are made by.
        best_epoch: Epoch the weights are from.
        ndcg: ``(users,)`` test nDCG@k of each user.
        recall: ``(users,)`` test Recall@k of each user.
        abundance: Information abundance of the input embedding's vectors, as stored; NaN without.
        num_distinct: Different vectors among the items', as stored.
    """

    trial: Trial
    nbytes: int
    compression_ratio: float
    output_nbytes: int
    valid_ndcg: float
    best_epoch: int
    ndcg: np.ndarray
    recall: np.ndarray
    abundance: float
    num_distinct: int


def occurrences(data: Interactions) -> Occurrences:
    """The pairs of the training part: which items occur with which users."""
    trained = data.split == TRAIN
    ids, users = torch.from_numpy(data.item[trained]), torch.from_numpy(data.user[trained])
    return Occurrences(ids, users, data.num_items)


def build_ranker(trial: Trial, data: Interactions) -> Ranker:
    """The untrained model of a trial, the same whatever was drawn before.

    Args:
        trial: What to build.
        data: Gives the number of items, their training counts, and what the method learns from it
            before it is built.

    Returns:
        The ranker, on the CPU.

    Raises:
        BudgetError: The method cannot be that small.
        ValueError: There is no such method.
    """
    if trial.method == "popular":
        return MostPopular(data.item_counts)
    if trial.method == "bias-only":
        return ItemBias(data.num_items, item_counts=data.item_counts)
    name, options = parse_spec(trial.method)
    options |= learned_options(name, occurrences(data), head=options.get("head", 0))
    shape = trial.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        embedding = build(name, data.num_items, shape.embedding_dim, ratio=trial.ratio, **options)
        return HistoryRanker(
            embedding,
            hidden=shape.hidden,
            dropout=shape.dropout,
            tied=shape.tied,
            item_counts=data.item_counts,
        )


def train_trial(trial: Trial, data: Interactions, device: str = "cpu") -> Result:
    """Train and evaluate one model.

    The layer is trained, frozen to what is stored, and only then measured on the test part.

    Args:
        trial: What to run.
        data: What to run it on.
        device: Where to train.

    Returns:
        The result.

    Raises:
        BudgetError: The method cannot be that small.
        TrainingError: The loss became infinite or NaN.
    """
    model = build_ranker(trial, data).to(device)
    if isinstance(model, HistoryRanker):

        def pretrain(width: int) -> torch.Tensor:
            narrow = replace(trial.model, embedding_dim=width)
            full = build_ranker(replace(trial, method="full", ratio=None, model=narrow), data)
            fit(full.to(device), data, trial.training, seed=trial.seed)
            return full.embedding.materialize()  # type: ignore[operator, union-attr]

        prepare(model.embedding, occurrences(data), pretrain, seed=trial.seed)  # type: ignore[arg-type]
    trained = fit(model, data, trial.training, seed=trial.seed)
    nbytes, ratio, abundance, distinct = 0, 0.0, math.nan, 0
    if isinstance(model, HistoryRanker):
        model.embedding = model.embedding.freeze()  # type: ignore[operator]
        nbytes = model.input_nbytes
        ratio = 4 * data.num_items * trial.model.embedding_dim / nbytes
        abundance = information_abundance(model.embedding)
        shared = equal_vectors(model.embedding)  # type: ignore[arg-type]
        distinct = data.num_items - int(shared.sizes.sum()) + len(shared)
    tested = evaluate(model, HeldOut.of(data, "test").to(device), k=trial.training.k)
    return Result(
        trial,
        nbytes=nbytes,
        compression_ratio=ratio,
        output_nbytes=model.output_nbytes,
        valid_ndcg=trained.valid,
        best_epoch=trained.best_epoch,
        ndcg=tested.ndcg.double().cpu().numpy(),
        recall=tested.recall.double().cpu().numpy(),
        abundance=abundance,
        num_distinct=distinct,
    )
