"""How sure a number is: an estimate with its interval, and the interval over seeds."""

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
