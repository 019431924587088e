"""Many trials, here or in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch
from tqdm.auto import tqdm

from memcom.data import Interactions
from memcom.experiments.trials import Result, Trial, run_trial


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
