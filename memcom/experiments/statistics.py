"""How sure a number is: intervals over seeds, and paired intervals over users."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# Quantiles 0.975 of Student's t with 1, 2, ... degrees of freedom; the normal one beyond.
_T975: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T975 += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Mean of a few repeated measurements and the half width of its 95 % interval.

    Args:
        values: ``(n,)``, one per seed.

    Returns:
        Mean, and Student's t times the standard error; NaN for a single value.

    Raises:
        ValueError: There are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if not n:
        raise ValueError("an interval needs at least one value, got none")
    if n == 1:
        return float(array[0]), math.nan
    t = _T975[n - 2] if n - 2 < len(_T975) else 1.96 + 2.5 / (n - 1)
    return float(array.mean()), float(t * array.std(ddof=1) / math.sqrt(n))


def relative_change(
    values: ArrayLike, reference: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Relative change of a mean against a reference measured on the same users.

    ``mean(values) / mean(reference) - 1`` with a percentile bootstrap over users. Both are drawn
    for the same users, so that what makes a user hard or easy cancels.

    Args:
        values: ``(users,)`` one value per user, averaged over seeds.
        reference: ``(users,)`` of the same users in the same order.
        draws: Number of bootstrap samples.
        seed: Of the samples.

    Returns:
        The change and its 95 % interval, as fractions: -0.04 is four per cent less. NaN where the
        reference's mean is 0.

    Raises:
        ValueError: The two are not of one length, or empty.
    """
    pair = np.stack([np.asarray(values, np.float64), np.asarray(reference, np.float64)])
    users = pair.shape[1]
    if not users:
        raise ValueError("a change needs at least one user, got none")
    if not pair[1].any():
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, 2))
    for draw in range(draws):
        weights = np.bincount(rng.integers(0, users, users), minlength=users)
        means[draw] = pair @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = means[:, 0] / means[:, 1] - 1
    low, high = np.nanpercentile(changes, [2.5, 97.5])
    return Interval(float(pair[0].mean() / pair[1].mean() - 1), float(low), float(high))
