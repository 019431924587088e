"""Intervals and tests: over seeds, over users and seeds, and paired against another method.

A score varies because users differ and because seeds differ. Users are resampled: each draw takes
users with replacement, the same for all methods, so that differences are paired. Three seeds tell
little of how seeds vary, and resampling them makes it a third too small; so the relative variance
of the seeds is pooled over all rows of a table, and each draw adds an error of that variance, from
Student's t with the degrees of freedom of the pool. Percentiles of the draws give the interval. A
p-value is that of the interval, so it is over users and seeds too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from memcom._annotations import checked
from memcom._check import shown, whole

Name = TypeVar("Name", str, int)
_CHUNK = 50  # bootstrap draws at a time
SMALLEST_P = 1e-6


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
    values: Mapping[Name, np.ndarray],
    *,
    draws: int = 2000,
    seed: int = 0,
    fixed: Collection[Name] = (),
) -> dict[Name, np.ndarray]:
    """Return draws of the means over users and seeds.

    Args:
        values: By name ``(seeds, users)``, one value per seed and user. The users are the same for
            all names, the numbers of seeds may differ.
        draws: Number of draws.
        seed: Seed of the draws.
        fixed: Names in which nothing is random but the choice of users.

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
    if not values:
        return {}
    users = numbers.pop()
    of_user = np.stack([np.asarray(array, np.float64).mean(0) for array in values.values()])
    found = np.empty((len(values), draws))
    rng = np.random.default_rng([seed, 0])
    for first in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - first)
        drawn = rng.integers(0, users, (size, users)) + users * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users)
        found[:, first : first + size] = of_user @ counts.T / users
    spread, freedom = pooled_spread(values)
    for place, (name, array) in enumerate(values.items()):
        if freedom and name not in fixed:
            error = np.random.default_rng([seed, 1 + place]).standard_t(freedom, draws)
            found[place] *= 1 + spread / math.sqrt(len(array)) * error
    return dict(zip(values, found, strict=True))


def pooled_spread(values: Mapping[Name, np.ndarray]) -> tuple[float, int]:
    """Return how much a seed shifts the scores of all users alike, pooled over names.

    The variance of a name's seed means is that of the seeds plus that of the noise of single users,
    which the bootstrap over users has already: the latter is subtracted (two-way analysis of
    variance, one value per cell).

    Args:
        values: By name ``(seeds, users)``. Those with one seed, or a mean of 0, tell nothing.

    Returns:
        The standard deviation relative to the mean, and its degrees of freedom, which are 0 if no
        name has two seeds.
    """
    total, freedom = 0.0, 0
    for array in values.values():
        seeds, users = array.shape
        mean = array.mean(dtype=np.float64)
        if seeds < 2 or not mean:
            continue
        of_seed, of_user = (array.mean(axis, dtype=np.float64) / mean for axis in (1, 0))
        rest = array / mean - of_seed[:, None] - of_user + 1
        noise = (rest**2).sum() / (seeds - 1) / max(1, users - 1) / users
        total += (seeds - 1) * (of_seed.var(ddof=1) - noise)
        freedom += seeds - 1
    return math.sqrt(max(0.0, total / max(1, freedom))), freedom


def percentiles(value: float, draws: np.ndarray) -> Interval:
    """Return a value with the 95 % percentile interval of its ``(n,)`` bootstrap draws."""
    if not np.isfinite(draws).all():
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


@checked
def p_value(interval: Interval, at: float = 0.0) -> float:
    """Return the two-sided p-value of "it is ``at``" that belongs to a 95 % interval.

    Args:
        interval: An estimate with its interval, taken as normal.
        at: The value to be tested.

    Returns:
        p, at least `SMALLEST_P`: a few seeds say nothing of tails further out. NaN without ends.
    """
    from scipy import stats

    value, low, high = interval
    if math.isnan(low) or math.isnan(high):
        return math.nan
    error = (high - low) / (2 * stats.norm.ppf(0.975))
    if not error:
        return 1.0 if value == at else SMALLEST_P
    return max(SMALLEST_P, float(2 * stats.norm.sf(abs(value - at) / error)))


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
