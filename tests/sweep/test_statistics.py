from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from memcom.sweep import mean_interval


@pytest.mark.parametrize("n", [2, 3, 5, 21, 22, 40, 200])
def test_mean_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert mean == pytest.approx(values.mean())
    assert half == pytest.approx((high - low) / 2, rel=1e-3)


def test_one_value_has_no_interval_and_none_is_an_error() -> None:
    mean, half = mean_interval([0.25])
    assert mean == 0.25
    assert math.isnan(half)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
