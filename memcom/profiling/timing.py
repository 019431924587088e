"""Time of several ways to do one thing, taken in turns in one run: ratios with intervals.

Clock speed drifts, caches keep state between calls, and means are sensitive to outliers. So all
candidates take turns in a new random order every round; a ratio is taken to the baseline's time of
the *same* round; and the interval of a median comes from order statistics, which assume no
distribution.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from memcom._annotations import checked
from memcom._check import whole

Candidate = Callable[[Any], object]
"""A function of a batch, to be timed."""


@dataclass(frozen=True)
class Timing:
    """Time of one candidate beside the baseline of the same run.

    Attributes:
        rounds: Rounds that were timed.
        median: Median seconds per call.
        median_interval: Interval that holds the true median with at least 95 % confidence.
        baseline_median: Median seconds per call of the baseline.
        ratio: Median of the ratios to the baseline's time of the round.
        interval: Interval that holds the true median ratio with at least 95 % confidence.
    """

    rounds: int
    median: float
    median_interval: tuple[float, float]
    baseline_median: float
    ratio: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.ratio:.2f} times the baseline ({low:.2f} to {high:.2f}, 95 %): "
            f"{self.median * 1e6:,.0f} µs against {self.baseline_median * 1e6:,.0f} µs, "
            f"median of {self.rounds} interleaved rounds"
        )


@checked
def median_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval for the median from order statistics.

    Args:
        values: `(n,)` independent measurements.
        confidence: Wanted coverage, below 1.

    Returns:
        The narrowest symmetric pair of order statistics that covers the median that often.

    Raises:
        ValueError: If `n` is too small for this confidence (6 for 95 %).
    """
    from scipy.stats import quantile_test

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}")
    if np.ndim(values) != 1:
        raise ValueError(f"values must be (n,), got {np.shape(values)}")
    low, high = quantile_test(values, p=0.5).confidence_interval(confidence)
    if not low <= high:
        raise ValueError(
            f"{np.size(values)} values cannot give a {confidence:.0%} interval for the median"
        )
    return float(low), float(high)


@checked
def interleave(
    candidates: Mapping[str, Candidate],
    batches: Sequence[Any] | Callable[[], Any],
    *,
    seconds: float = math.inf,
    warm_up: int = 3,
    least_rounds: int = 7,
    most_rounds: int = 400,
    same_batch: bool = False,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time all candidates in turns.

    The garbage collector is off meanwhile. A GPU is waited for before the clock starts and stops.

    Args:
        candidates: Functions of a batch by name; the first one is the baseline. What they return is
            freed after the clock has stopped.
        batches: Batches to draw from at random, or a function that makes a new one; neither is
            timed. Every call gets another batch, so none finds its rows in the cache.
        seconds: Stop when this much time has been spent.
        warm_up: Rounds that are not counted.
        least_rounds: Rounds to time even if `seconds` have passed, at least 6.
        most_rounds: Rounds to time at most.
        same_batch: Give all candidates of a round one batch, where batches differ in their work.
        seed: Seed of the order and of the choice of batches.

    Returns:
        A `Timing` for each candidate, in their order.

    Raises:
        ValueError: If `least_rounds` is too small for an interval, or above `most_rounds`.
    """
    if not candidates:
        raise ValueError("candidates must name at least one function")
    if not callable(batches) and not len(batches):
        raise ValueError("batches must hold at least one batch")
    whole("warm_up", warm_up, 0, 10**6)
    if not 6 <= least_rounds <= most_rounds:
        raise ValueError(
            f"least_rounds must be 6 to most_rounds={most_rounds}, got {least_rounds}; "
            "fewer than 6 give no interval"
        )
    choose = random.Random(seed)
    draw = batches if callable(batches) else lambda: choose.choice(batches)
    names = list(candidates)

    def one_round() -> list[float]:
        spent = {}
        shared = draw() if same_batch else None
        for name in choose.sample(names, len(names)):
            spent[name] = _seconds(candidates[name], shared if same_batch else draw())
        return [spent[name] for name in names]

    with _no_garbage_collection():
        for _ in range(warm_up):
            one_round()
        times: list[list[float]] = []
        start = time.perf_counter()
        while len(times) < most_rounds:
            if len(times) >= least_rounds and time.perf_counter() - start > seconds:
                break
            times.append(one_round())
    by_candidate = np.array(times).T
    baseline = by_candidate[0]
    return {name: _timing(spent, baseline) for name, spent in zip(names, by_candidate, strict=True)}


def _timing(spent: np.ndarray, baseline: np.ndarray) -> Timing:
    ratios = spent / baseline
    return Timing(
        rounds=len(spent),
        median=float(np.median(spent)),
        median_interval=median_interval(spent),
        baseline_median=float(np.median(baseline)),
        ratio=float(np.median(ratios)),
        interval=median_interval(ratios),
    )


def _seconds(candidate: Candidate, batch: Any) -> float:
    """Return the seconds of one call, with the time that a GPU needs to finish it."""
    on_gpu = isinstance(batch, Tensor) and batch.is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = candidate(batch)
    if on_gpu:
        torch.cuda.synchronize()
    stop = time.perf_counter()
    del result
    return stop - start


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
