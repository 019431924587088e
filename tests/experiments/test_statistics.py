from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from memcom.experiments import mean_interval, relative_change


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


def test_relative_change_equals_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random(300)
    values = 0.9 * reference + 0.05 * rng.random(300)
    ours = relative_change(values, reference, draws=4000)
    theirs = stats.bootstrap(
        (values, reference),
        lambda a, b, axis: a.mean(axis) / b.mean(axis) - 1,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=1,
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean() / reference.mean() - 1)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)


def test_pairing_makes_the_interval_narrow() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random(300)
    values = reference * 0.95
    paired = relative_change(values, reference)
    unpaired = relative_change(rng.permutation(values), reference)
    assert paired.high - paired.low < 1e-9 < 0.05 < unpaired.high - unpaired.low


def test_equal_values_have_changed_by_exactly_nothing() -> None:
    assert relative_change([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]) == (0, 0, 0)


def test_nothing_to_compare_with() -> None:
    assert all(math.isnan(x) for x in relative_change([1.0, 2.0], [0.0, 0.0]))
    with pytest.raises(ValueError, match="at least one user"):
        relative_change([], [])
