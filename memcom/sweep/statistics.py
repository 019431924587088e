"""Intervals and tests: over seeds, over users and seeds, and paired against another method.

A score varies because users differ and because seeds differ. The bootstrap resamples both: each
draw takes users with replacement, the same for all methods so that differences are paired, and for
each method takes seeds with replacement. Percentiles give the interval. With three seeds the part
of the seeds is underestimated; Student's interval over seeds is reported beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from memcom._annotations import checked
from memcom._check import shown, whole

Name = TypeVar("Name", str, int)
_CHUNK = 50  # bootstrap draws at a time


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@checked
def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the mean of repeated measurements and the half width of its 95 % interval.

    Args:
        values: ``(n,)``, one per seed.

    Returns:
        Mean, and Student's t times the standard error; the latter is NaN for a single value.

    Raises:
        ValueError: There are no values.
    """
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"values must be (n,) with at least one value, got {array.shape}")
    if len(array) == 1:
        return float(array[0]), math.nan
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * stats.sem(array))


@checked
def bootstrap(
    values: Mapping[Name, np.ndarray], *, draws: int = 2000, seed: int = 0
) -> dict[Name, np.ndarray]:
    """Return bootstrap means over users and seeds.

    Args:
        values: By name ``(seeds, users)``, one value per seed and user. The users are the same for
            all names, the numbers of seeds may differ.
        draws: Number of bootstrap samples.
        seed: Seed of the samples.

    Returns:
        By name ``(draws,)`` float64 means. Draw d uses the same users for every name.

    Raises:
        ValueError: The numbers of users differ, or there are no users or no seeds.
    """
    whole("draws", draws, 1, 10**9)
    whole("seed", seed, 0)
    if any(array.ndim != 2 for array in values.values()):
        raise ValueError(f"values must be (seeds, users) for each name, got {shown(values)}")
    numbers = {array.shape[1] for array in values.values()}
    if len(numbers) > 1 or 0 in numbers or any(not len(array) for array in values.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in values.items())
        raise ValueError(f"values must be (seeds, users) with the same users, got {shapes}")
    means = {name: np.empty(draws) for name in values}
    if not values:
        return means
    users = numbers.pop()
    rng = np.random.default_rng([seed, 0])
    rng_of = {name: np.random.default_rng([seed, 1 + i]) for i, name in enumerate(values)}
    stacked = np.concatenate([np.asarray(array, np.float64) for array in values.values()])
    for first in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - first)
        drawn = rng.integers(0, users, (size, users)) + users * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users)
        by_run = stacked @ counts.T / users  # (all seeds of all names, size)
        row = 0
        for name, array in values.items():
            seeds = len(array)
            chosen = rng_of[name].integers(0, seeds, (seeds, size))
            of_name = by_run[row : row + seeds]
            means[name][first : first + size] = np.take_along_axis(of_name, chosen, 0).mean(0)
            row += seeds
    return means


def percentiles(value: float, draws: np.ndarray) -> Interval:
    """Return a value with the 95 % percentile interval of its ``(n,)`` bootstrap draws."""
    if not np.isfinite(draws).all():
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


@checked
def paired_tests(values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return two-sided p-values of "no difference" between paired values.

    Args:
        values: ``(users,)`` scores, averaged over seeds.
        reference: ``(users,)`` scores of the same users.

    Returns:
        p of Wilcoxon's signed-rank test and of the t test; NaN for fewer than two users.
    """
    from scipy import stats

    if values.ndim != 1 or values.shape != reference.shape:
        raise ValueError(
            f"values and reference must be (users,), got {values.shape} and {reference.shape}"
        )
    difference = np.asarray(values, np.float64) - reference
    if len(difference) < 2:
        return math.nan, math.nan
    if not difference.any():
        return 1.0, 1.0
    wilcoxon = float(stats.wilcoxon(difference).pvalue)
    if np.ptp(difference) == 0:
        return wilcoxon, 0.0
    return wilcoxon, float(stats.ttest_1samp(difference, 0.0).pvalue)


@checked
def holm(p_values: ArrayLike) -> list[float]:
    """Adjust p-values for the number of tests by Holm's step-down method.

    Args:
        p_values: ``(n,)``; NaN is no test and stays NaN.

    Returns:
        Adjusted values in the same order. Rejecting those below 0.05 keeps the family-wise error
        below 0.05.
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"p_values must be (n,), got {values.shape}")
    tests = sorted((p, index) for index, p in enumerate(values.tolist()) if not math.isnan(p))
    adjusted = [math.nan] * len(values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        adjusted[index] = largest
    return adjusted
