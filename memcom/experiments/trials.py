"""One trial: build, prepare, train, freeze, evaluate one ranker with one seed."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from memcom.budget import build
from memcom.data import TRAIN, Interactions
from memcom.embeddings import parse_spec
from memcom.models import HistoryRanker, ItemBias, MostPopular, Ranker
from memcom.procedures import Occurrences, learned_options, prepare
from memcom.training import HeldOut, TrainingOptions, evaluate, fit

CONTROLS = ("popular", "item-bias")


@dataclass(frozen=True)
class ModelOptions:
    """The ranker around the input embedding; see `memcom.models.HistoryRanker`.

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
    """What came out of a trial; either ``failed`` says why not, or the rest is set.

    Attributes:
        trial: The trial.
        failed: Reason of the failure, one line; empty if there was none.
        traceback: The failure in full.
        nbytes: Stored bytes of the input embedding.
        compression_ratio: Bytes of the full fp32 table over these; 0 where there is no table.
        output_nbytes: Stored bytes behind the input embedding.
        valid_ndcg: nDCG@k on the validation part, which choices are made by.
        best_epoch: Epoch the weights are from.
        ndcg: ``(users,)`` test nDCG@k of each user.
        recall: ``(users,)`` test Recall@k of each user.
        seconds: Wall-clock time.
    """

    trial: Trial
    failed: str = ""
    traceback: str = ""
    nbytes: int = 0
    compression_ratio: float = 0.0
    output_nbytes: int = 0
    valid_ndcg: float = float("-inf")
    best_epoch: int = 0
    ndcg: np.ndarray = field(default_factory=lambda: np.empty(0))
    recall: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: float = 0.0


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
    if trial.method == "item-bias":
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
    start = time.perf_counter()
    model = build_ranker(trial, data).to(device)
    if isinstance(model, HistoryRanker):

        def pretrain(width: int) -> torch.Tensor:
            narrow = replace(trial.model, embedding_dim=width)
            full = build_ranker(replace(trial, method="full", ratio=None, model=narrow), data)
            fit(full.to(device), data, trial.training, seed=trial.seed)
            return full.embedding.materialize()  # type: ignore[operator, union-attr]

        prepare(model.embedding, occurrences(data), pretrain, seed=trial.seed)  # type: ignore[arg-type]
    trained = fit(model, data, trial.training, seed=trial.seed)
    nbytes, ratio = 0, 0.0
    if isinstance(model, HistoryRanker):
        model.embedding = model.embedding.freeze()  # type: ignore[operator]
        nbytes = model.input_nbytes
        ratio = 4 * data.num_items * trial.model.embedding_dim / nbytes
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
        seconds=time.perf_counter() - start,
    )


def run_trial(trial: Trial, data: Interactions, *, threads: int = 1) -> Result:
    """`train_trial`, but nothing is raised: a failure is a result of its own.

    Args:
        trial: What to run.
        data: What to run it on.
        threads: Threads of torch meanwhile. One makes results independent of the machine's load
            and of how many trials run beside each other.

    Returns:
        The result.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return train_trial(trial, data)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Result(trial, failed=reason, traceback=traceback.format_exc())
    finally:
        torch.set_num_threads(before)


def run_trials(
    trials: Sequence[Trial],
    data: Interactions,
    *,
    jobs: int = 1,
    bar: tqdm | None = None,
) -> list[Result]:
    """Run trials, here or in worker processes; the results do not depend on which.

    Args:
        trials: What to run.
        data: Sent to each worker once.
        jobs: Worker processes; with 1 everything runs in this process.
        bar: A progress bar to advance by one per trial.

    Returns:
        The results in the order of the trials.

    Raises:
        BrokenProcessPool: A worker was killed, as by a lack of memory.
    """
    results: dict[int, Result] = {}
    for index, result in _stream(trials, data, min(jobs, len(trials))):
        results[index] = result
        if bar is not None:
            bar.set_postfix_str(result.trial.method)
            bar.update()
    return [results[index] for index in range(len(trials))]


def _stream(trials: Sequence[Trial], data: Interactions, jobs: int) -> Iterator[tuple[int, Result]]:
    if jobs <= 1:
        yield from ((index, run_trial(trial, data)) for index, trial in enumerate(trials))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(data,)) as pool:
        pending: dict[Any, int] = {pool.submit(_work, trial): i for i, trial in enumerate(trials)}
        for done in as_completed(pending):
            yield pending[done], done.result()


_data_of_worker: list[Interactions] = []


def _start(data: Interactions) -> None:
    torch.set_num_threads(1)
    _data_of_worker[:] = [data]


def _work(trial: Trial) -> Result:
    return run_trial(trial, _data_of_worker[0])


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def best_of(results: Iterable[Result]) -> Result:
    """The result with the best validation score; a failed one only if all have failed."""
    return max(results, key=lambda result: (not result.failed, result.valid_ndcg))
