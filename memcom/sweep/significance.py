"""Intervals over users and seeds together, and paired tests against the full table.

A score varies because users differ and because seeds differ. The bootstrap draws both again: each
draw takes users with replacement, the same for all methods so that differences are paired, and
for each method takes seeds with replacement. Percentiles give the interval. With three seeds the
part of the seeds is underestimated; Student's interval over seeds is reported beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from memcom.sweep.statistics import Interval

_CHUNK = 50  # draws at a time


class Tests(NamedTuple):
    """Two-sided p-values of "no different from the full table", paired by user."""

    wilcoxon: float
    t: float


def bootstrap(
    values: Mapping[str, np.ndarray], *, draws: int = 2000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Means drawn again over users and seeds.

    Args:
        values: By name ``(seeds, users)``: one value per seed and user. The users are the same
            for all names, the number of seeds need not be.
        draws: Number of bootstrap samples.
        seed: Of the samples.

    Returns:
        By name ``(draws,)`` means. Draw d used the same users for every name.

    Raises:
        ValueError: The users are not of one number, or there are none, or no seeds.
    """
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
    """The 95 % interval of draws around a value."""
    if not np.isfinite(draws).all():
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def paired_tests(values: np.ndarray, reference: np.ndarray) -> Tests:
    """Wilcoxon's signed-rank test and the paired t test.

    Args:
        values: ``(n,)``, one per user.
        reference: ``(n,)`` of the same users.

    Returns:
        Two-sided p-values; 1 if the two are equal everywhere, NaN with fewer than two users.

    Raises:
        ModuleNotFoundError: SciPy is not installed.
    """
    from scipy import stats

    difference = np.asarray(values, np.float64) - np.asarray(reference, np.float64)
    if len(difference) < 2:
        return Tests(math.nan, math.nan)
    if not difference.any():
        return Tests(1.0, 1.0)
    wilcoxon = float(stats.wilcoxon(difference).pvalue)
    if np.ptp(difference) == 0:
        return Tests(wilcoxon, 0.0)
    return Tests(wilcoxon, float(stats.ttest_1samp(difference, 0.0).pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for the number of tests, by Holm's step-down method.

    Args:
        p_values: ``(n,)``; NaN is no test and stays NaN.

    Returns:
        Adjusted values in the same order: that below 0.05 means the family-wise error is.
    """
    tests = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        adjusted[index] = largest
    return adjusted
