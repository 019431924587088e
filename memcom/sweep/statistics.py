"""Intervals and tests: over seeds, over users and seeds, and paired against another method.

A score varies because users differ and because seeds differ. Users are resampled: each draw takes
users with replacement, the same for all methods, so that differences are paired. Three seeds tell
little of how seeds vary, and resampling them makes it a third too small. So each method's variance
over seeds is drawn towards that of all rows of its table, and each draw adds an error of that
variance, from Student's t. Percentiles of the draws give the interval. A p-value is that of the
interval, so it is over users and seeds too.
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
SMALLEST_P = 1e-6
TAILS = 4.0  # degrees of freedom of the tails of an interval over users and seeds


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
    """Return draws of the means over users and seeds.

    Args:
        values: By name ``(seeds, users)``, one value per seed and user. The users are the same for
            all names, the numbers of seeds may differ; a single seed is taken as the only one.
        draws: Number of draws.
        seed: Seed of the draws.

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
    spreads = seed_spreads(values)
    for place, (name, array) in enumerate(values.items()):
        if name in spreads:
            spread, freedom = spreads[name]
            error = np.random.default_rng([seed, 1 + place]).standard_t(freedom, draws)
            found[place] *= 1 + spread / math.sqrt(len(array)) * error
    return dict(zip(values, found, strict=True))


def seed_spreads(values: Mapping[Name, np.ndarray]) -> dict[Name, tuple[float, float]]:
    """Return how much a seed shifts the scores of all users alike.

    The variance of the seeds' means, moderated over all names, holds the noise of single users too,
    which the bootstrap over users has already: it is subtracted (two-way analysis of variance, one
    value per cell).

    Args:
        values: By name ``(seeds, users)``.

    Returns:
        By name the standard deviation relative to the mean, and its degrees of freedom. Names with
        one seed, or a mean of 0, are left out.
    """
    shifts, noises = {}, {}
    for name, array in values.items():
        seeds, users = array.shape
        mean = array.mean(dtype=np.float64)
        if seeds < 2 or not mean:
            continue
        of_seed, of_user = (array.mean(axis, dtype=np.float64) / mean for axis in (1, 0))
        rest = array / mean - of_seed[:, None] - of_user + 1
        shifts[name] = float(of_seed.var(ddof=1)), seeds - 1
        noises[name] = (rest**2).sum() / (seeds - 1) / max(1, users - 1) / users
    if not shifts:
        return {}
    variances, freedoms = moderated(*np.array(list(shifts.values()), np.float64).T)
    return {
        name: (math.sqrt(max(0.0, variance - noises[name])), float(freedom))
        for name, variance, freedom in zip(shifts, variances, freedoms, strict=True)
    }


def moderated(variances: np.ndarray, freedoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances drawn towards what is usual among them, by as much as they agree.

    True variances are taken to be s0 d0 / chi^2(d0), with s0 and d0 fitted to the logarithms of
    those given (Smyth, "Linear Models and Empirical Bayes Methods", 2004, section 6.2,
    https://doi.org/10.2202/1544-6115.1027); the result is the mean of s0 and of its own, by degrees
    of freedom. Where they differ no more than by chance, it is their common mean.

    Args:
        variances: ``(n,)`` estimates >= 0.
        freedoms: ``(n,)`` their degrees of freedom.

    Returns:
        The variances, and their degrees of freedom: no more than all have together.
    """
    from scipy import optimize, special

    together = freedoms.sum()
    if len(variances) < 2 or not variances.any():
        return variances, freedoms
    own = np.maximum(variances, 1e-5 * variances.mean())  # a logarithm of 0 would decide all
    half = freedoms / 2
    logs = np.log(own) - special.digamma(half) + np.log(half)
    excess = logs.var(ddof=1) - special.polygamma(1, half).mean()
    if excess <= special.polygamma(1, 1e6):
        mean = (freedoms * variances).sum() / together
        return np.full_like(variances, mean), np.full_like(variances, together)
    prior = 2 * optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-3, 1e6)
    usual = math.exp(logs.mean() + special.digamma(prior / 2) - math.log(prior / 2))
    mixed = (prior * usual + freedoms * variances) / (prior + freedoms)
    return mixed, np.minimum(prior + freedoms, together)


def percentiles(value: float, draws: np.ndarray) -> Interval:
    """Return a value with the 95 % percentile interval of its ``(n,)`` bootstrap draws."""
    if not np.isfinite(draws).all():
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


@checked
def p_value(interval: Interval, at: float = 0.0, *, freedom: float = TAILS) -> float:
    """Return the two-sided p-value of "it is ``at``" that belongs to a 95 % interval.

    Args:
        interval: An estimate with its interval.
        at: The value to be tested.
        freedom: The tails are taken as those of Student's t with so many degrees of freedom. The
            default is about what a few seeds leave, and too careful where users decide.

    Returns:
        p, at least `SMALLEST_P`; below 0.05 where a symmetric interval does not hold ``at``. NaN
        without ends.
    """
    from scipy import stats

    value, low, high = interval
    if math.isnan(low) or math.isnan(high):
        return math.nan
    error = (high - low) / (2 * stats.t.ppf(0.975, freedom))
    if not error:
        return 1.0 if value == at else SMALLEST_P
    return max(SMALLEST_P, float(2 * stats.t.sf(abs(value - at) / error, freedom)))


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
